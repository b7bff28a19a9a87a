"""Many compiled models in one shared library, called through ctypes: ``import compiled``."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class Member:
    """One model of a library: its graph and its package."""

    graph: ir.Model
    package: Package


class Library:
    """Models compiled for one host profile, linked into one shared library under their own names."""

    def __init__(self, directory: Path, graphs: Mapping[str, ir.Model], device: Device) -> None:
        self.members: dict[str, Member] = {}
        self._arenas: dict[str, Array] = {}
        sources: list[Path] = []
        includes: list[Path] = []
        for name, graph in graphs.items():
            package = compile_graph(graph, device, name=name)
            root = directory / name
            for path, content in package.files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
            sources += [root / "src" / f"{name}.c", root / "src" / f"{name}_weights.c"]
            includes += [root / "include", root / "src"]
            self.members[name] = Member(graph, package)
        out = directory / "library.so"
        find_toolchain(device).compile_shared(sources, includes, out, sanitize=True)
        self._library = ctypes.CDLL(str(out))

    def run(self, name: str, feeds: Mapping[str, Array]) -> list[Array]:
        """Outputs of one inference."""
        manifest = self.members[name].package.manifest
        entry = manifest.entries[0]
        size = manifest.spaces["arena"]
        # Bytes that the library must not touch on either side, and must not read as zeros inside.
        guarded = np.full(size + 64, 0xA5, np.uint8)
        start = 16 - guarded.ctypes.data % 16 + 16
        context = (ctypes.c_uint8 * 256)()
        arena = ctypes.c_void_p(guarded.ctypes.data + start)
        assert self._call(name, "init", context, arena, ctypes.c_size_t(size)) == 0
        for index, tensor in enumerate(entry.inputs):
            content = np.ascontiguousarray(feeds[tensor.name], NUMPY[tensor.dtype])
            ctypes.memmove(self._pointer(name, f"input_{index}", context), content.ctypes.data, content.nbytes)
        assert self._call(name, "run", context) == 0
        results = []
        for index, tensor in enumerate(entry.outputs):
            raw = ctypes.string_at(self._pointer(name, f"output_{index}", context), tensor.bytes)
            results.append(np.frombuffer(raw, NUMPY[tensor.dtype]).reshape(tensor.shape))
        assert (guarded[:start] == 0xA5).all()
        assert (guarded[start + size :] == 0xA5).all()
        return results

    def _call(self, name: str, function: str, *arguments: object) -> int:
        called = getattr(self._library, f"{name}_{function}")
        called.restype = ctypes.c_int32
        return int(called(*arguments))

    def _pointer(self, name: str, function: str, context: object) -> int:
        called = getattr(self._library, f"{name}_{function}")
        called.restype = ctypes.c_void_p
        return int(called(context))


def reference(graph: ir.Model, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs of the NumPy reference, in the graph's order."""
    found = Reference(graph).run(feeds)
    return [found[str(value.name)] for value in graph.graph.outputs]
