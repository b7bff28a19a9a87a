"""The files of an artifact: C library, headers, self-test, build file, model and manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from microlith.compile.candidates import Part
from microlith.compile.ecosystems import ecosystem_files
from microlith.compile.emit import ABI, Emitted, emit
from microlith.compile.emit_header import header
from microlith.compile.emit_selftest import Vector, selftest_files, template
from microlith.compile.manifest import (
    Compiler,
    EntryPoint,
    Manifest,
    PackageKind,
    Segment,
    StateTensor,
    StoredConst,
    Tensor,
)
from microlith.compile.plan import Planned
from microlith.device.profile import Device
from microlith.device.support import board_header, support_files
from microlith.kernels import header_text, headers_needed
from microlith.program.types import ITEM_BYTES, Entry, Program, StateSlot, View


@dataclass(frozen=True)
class Package:
    """An artifact in memory.

    Attributes:
        files: content by path within the artifact.
        manifest: what ``manifest.json`` holds.
        planned: the Program and how it was planned.
        instances: C symbols of the kernels' instances, by what :class:`~microlith.compile.candidates.Candidate` calls
            their part.
    """

    files: Mapping[str, bytes]
    manifest: Manifest
    planned: Planned
    instances: Mapping[Part, str]


def package(
    planned: Planned,
    device: Device,
    model_bytes: bytes,
    vectors: Sequence[Vector],
    *,
    title: str,
    tolerance: float,
    compiler: Compiler | None,
    packages: tuple[PackageKind, ...] = ("c",),
) -> Package:
    """Everything but evidence, recipe and report, which need the artifact to run.

    Args:
        planned: what to emit.
        device: what it is for.
        model_bytes: the graph that it was compiled from.
        vectors: golden vectors for the self-test.
        title: what the library computes, for comments.
        tolerance: for float outputs of the self-test, absolute.
        compiler: what the figures are obtained with.
        packages: build systems to package the library for.
    """
    emitted = emit(planned.program, device)
    library = _library(emitted, planned.program, device, title)
    artifact_hash = _hash_of(library)
    texts = library | selftest_files(planned.program, vectors, artifact_hash, tolerance)
    texts |= {f"selftest/{name}": text for name, text in _board_files(device).items()}
    texts |= ecosystem_files(
        packages,
        planned.program,
        device,
        library,
        vectors,
        artifact_hash=artifact_hash,
        tolerance=tolerance,
        title=title,
    )
    files = {path: text.encode() for path, text in sorted(texts.items())} | {"model.onnx": model_bytes}
    manifest = _manifest(planned.program, emitted, device, artifact_hash, compiler, packages, files)
    files["manifest.json"] = (manifest.model_dump_json(indent=1) + "\n").encode()
    return Package(files, manifest, planned, {("code", *key): name for key, name in emitted.instances.items()})


def _board_files(device: Device) -> dict[str, str]:
    """Start-up code, linker script and board helper; on a host, a board helper over the C library."""
    if device.is_host:
        return {"ml_board_host.c": template("ml_board_host.c", {}), "ml_board.h": board_header()}
    return support_files(device)


def _library(emitted: Emitted, program: Program, device: Device, title: str) -> dict[str, str]:
    flags = " -mavx2" if "avx2" in device.isas else ""
    texts = dict(emitted.files)
    texts[f"include/{program.name}.h"] = header(program, title)
    texts["CMakeLists.txt"] = template("CMakeLists.txt", {"NAME": program.name, "FLAGS": flags})
    for name in sorted({needed for chosen in emitted.kernels for needed in headers_needed(chosen)}):
        texts[f"src/{name}"] = header_text(name)
    return texts


def _hash_of(texts: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for path, text in sorted(texts.items()):
        digest.update(f"{path}\0{len(text)}\0{text}".encode())
    return digest.hexdigest()


def _manifest(
    program: Program,
    emitted: Emitted,
    device: Device,
    artifact_hash: str,
    compiler: Compiler | None,
    packages: tuple[PackageKind, ...],
    files: Mapping[str, bytes],
) -> Manifest:
    stored = program.storage.values()
    blob = hashlib.sha256(b"".join(np.ascontiguousarray(item.values).tobytes() for item in stored)).hexdigest()
    segment = Segment(name="weights", offset=0, bytes=sum(item.bytes for item in stored), sha256=blob)
    return Manifest(
        name=program.name,
        abi=ABI,
        artifact_hash=artifact_hash,
        device=device,
        requantization=program.requantization,
        entries=tuple(_entry(program, entry) for entry in program.entries),
        spaces=dict(program.spaces),
        segments=(segment,) if program.storage else (),
        consts=tuple(
            StoredConst(
                id=item.const,
                segment=item.segment,
                offset=item.offset,
                bytes=item.bytes,
                sha256=hashlib.sha256(np.ascontiguousarray(item.values).tobytes()).hexdigest(),
                packing=item.packing,
                codec=item.codec,
            )
            for item in stored
        ),
        layers=tuple(layer.symbol for layer in emitted.layers),
        toolchain=compiler,
        states=tuple(_state(program, slot) for slot in program.states),
        packages=packages,
        files={path: hashlib.sha256(content).hexdigest() for path, content in files.items()},
    )


def _entry(program: Program, entry: Entry) -> EntryPoint:
    return EntryPoint(
        name=entry.name,
        inputs=tuple(_tensor(program, program.view(name)) for name in entry.inputs),
        outputs=tuple(_tensor(program, program.view(name)) for name in entry.outputs),
    )


def _state(program: Program, slot: StateSlot) -> StateTensor:
    held = _tensor(program, program.view(slot.view))
    fields = held.model_dump(exclude={"name", "space"})
    return StateTensor(input=held.name, output=slot.output, **fields)


def _tensor(program: Program, view: View) -> Tensor:
    buffer = program.buffers[view.buffer]
    return Tensor(
        name=view.source,
        dtype=view.dtype,
        shape=view.shape,
        scale=None if view.qparams is None else float(view.qparams.scale),
        zero_point=None if view.qparams is None else int(view.qparams.zero_point),
        space=buffer.space,
        offset=program.offsets[buffer.id] + view.offset,
        bytes=view.size * ITEM_BYTES[view.dtype],
    )
