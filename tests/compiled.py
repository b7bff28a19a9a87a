"""Many compiled models in one shared library, called through ctypes: ``import compiled``."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.compile.package import Package
from microlith.compile.pipeline import compile_graph
from microlith.device.profile import Device
from microlith.device.toolchain import find_toolchain
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.reference import Reference
from microlith.graph.state import caller_outputs
from microlith.program.types import NUMPY
from microlith.quant.schemes import Scheme
from microlith.quant.types import Requantization
from microlith.techniques.ptq import observe, quantize

Array = NDArray[np.generic]


def prepared(model: onnx.ModelProto) -> ir.Model:
    """A float model after the graph passes, verified after each."""
    graph = ir.from_proto(model)
    run_passes(graph, DEFAULT_PASSES, verify=True)
    return graph


def quantized(
    graph: ir.Model, feeds: Sequence[Mapping[str, Array]], mode: Requantization = "float", scheme: Scheme | None = None
) -> ir.Model:
    """The graph quantized with these inputs as calibration set."""
    return quantize(graph, observe(graph, feeds), scheme or Scheme(), mode)


Build = Callable[[Sequence[Path], Sequence[Path], Path], None]
"""Builds a shared library from sources and folders of headers."""


@dataclass(frozen=True)
class Member:
    """One model of a library: its graph and its package."""

    graph: ir.Model
    package: Package


class Library:
    """Models compiled for one host profile, linked into one shared library under their own names."""

    def __init__(
        self, directory: Path, graphs: Mapping[str, ir.Model | Member], device: Device, build: Build | None = None
    ) -> None:
        self.members: dict[str, Member] = {}
        self._arenas: dict[str, Array] = {}
        sources: list[Path] = []
        includes: list[Path] = []
        for name, graph in graphs.items():
            member = graph if isinstance(graph, Member) else Member(graph, compile_graph(graph, device, name=name))
            root = directory / name
            for path, content in member.package.files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
            sources += [root / "src" / f"{name}.c", root / "src" / f"{name}_weights.c"]
            includes += [root / "include", root / "src"]
            self.members[name] = member
        out = directory / "library.so"
        if build is None:
            find_toolchain(device).compile_shared(sources, includes, out, sanitize=True)
        else:
            build(sources, includes, out)
        self._library = ctypes.CDLL(str(out))

    def run(self, name: str, feeds: Mapping[str, Array]) -> list[Array]:
        """Outputs of one inference."""
        return Instance(self, name).run(feeds)

    def call(self, name: str, function: str, *arguments: object) -> int:
        """The status that a function of a model returns."""
        called = getattr(self._library, f"{name}_{function}")
        called.restype = ctypes.c_int32
        return int(called(*arguments))

    def pointer(self, name: str, function: str, context: object) -> int:
        """The address that a function of a model returns."""
        called = getattr(self._library, f"{name}_{function}")
        called.restype = ctypes.c_void_p
        return int(called(context))


class Guarded:
    """Aligned memory that must not be touched on either side, and must not read as zeros inside."""

    def __init__(self, size: int) -> None:
        self._bytes = np.full(size + 64, 0xA5, np.uint8)
        self._start = 16 - self._bytes.ctypes.data % 16 + 16
        self._end = self._start + size
        begin = self._bytes.ctypes.data
        self.address = ctypes.c_void_p(begin + self._start)
        poison, unpoison = (
            getattr(ctypes.CDLL(None), f"__asan_{what}_memory_region", None) for what in ("poison", "unpoison")
        )
        if poison is not None:  # under the address sanitizer, reading outside ends the process too
            for place, count in ((begin, self._start), (begin + self._end, self._bytes.size - self._end)):
                poison(ctypes.c_void_p(place), ctypes.c_size_t(count))
            weakref.finalize(self._bytes, unpoison, ctypes.c_void_p(begin), ctypes.c_size_t(self._bytes.size))

    def check(self) -> None:
        """Fail where something was written outside."""
        assert (self._bytes[: self._start] == 0xA5).all()
        assert (self._bytes[self._end :] == 0xA5).all()


class Instance:
    """A context of one model, with an arena, and a state where it keeps one; an arena may be another instance's."""

    def __init__(self, library: Library, name: str, arena: Guarded | None = None) -> None:
        self._library, self._name = library, name
        manifest = library.members[name].package.manifest
        self._entry = manifest.entries[0]
        size = manifest.spaces["arena"]
        self.arena = arena or Guarded(size)
        self._state = Guarded(manifest.spaces["state"]) if manifest.states else None
        self._context = (ctypes.c_uint8 * 256)()
        state = () if self._state is None else (self._state.address,)
        assert library.call(name, "init", self._context, self.arena.address, ctypes.c_size_t(size), *state) == 0

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Outputs of one inference."""
        for index, tensor in enumerate(self._entry.inputs):
            content = np.ascontiguousarray(feeds[tensor.name], NUMPY[tensor.dtype])
            place = self._library.pointer(self._name, f"input_{index}", self._context)
            ctypes.memmove(place, content.ctypes.data, content.nbytes)
        assert self._library.call(self._name, "run", self._context) == 0
        results = []
        for index, tensor in enumerate(self._entry.outputs):
            raw = ctypes.string_at(self._library.pointer(self._name, f"output_{index}", self._context), tensor.bytes)
            results.append(np.frombuffer(raw, NUMPY[tensor.dtype]).reshape(tensor.shape))
        self.arena.check()
        if self._state is not None:
            self._state.check()
        return results

    def reset(self) -> None:
        """Take the state back to where it starts."""
        self._library.call(self._name, "reset", self._context)


def reference(graph: ir.Model, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs of the NumPy reference that are no states, in the graph's order."""
    found = Reference(graph).run(feeds)
    return [found[str(value.name)] for value in caller_outputs(graph)]
