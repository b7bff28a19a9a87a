"""Bytes of the code of each call's candidates, linked for the device, and kept for later runs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from microlith.compile.candidates import Candidate, Part
from microlith.compile.lower import lower
from microlith.compile.plan import layer_choices
from microlith.compile.trial import IDLE, trial
from microlith.core.kept import Kept
from microlith.core.random import generator
from microlith.device.elf import symbols
from microlith.device.toolchain import Toolchain
from microlith.kernels import header_text, headers_needed
from microlith.program.types import Program
from microlith.verify.workbench import Workbench

_MOST_CALLS = 48


def linked_code_bytes(model: ir.Model, toolchain: Toolchain, directory: Path | None = None) -> dict[Part, int]:
    """Bytes of every instance that a call could use, linked with the others; without those that the compiler inlines.

    Args:
        model: through the graph passes.
        toolchain: for the device.
        directory: where sizes are kept; the user's cache by default.
    """
    program, layers = layer_choices(lower(model, "trial"), toolchain.device)
    candidates = {item.instance: item for layer in layers for item in layer.candidates}
    keys = {part: _content_key(item) for part, item in candidates.items()}
    kept = Kept("code_bytes", tools_key(toolchain), 1, directory)
    figures = kept.load()
    missing = [item for part, item in candidates.items() if keys[part] not in figures]
    for begin in range(0, len(missing), _MOST_CALLS):
        linked = _linked(program, missing[begin : begin + _MOST_CALLS], toolchain)
        found = {keys[part]: (float(size),) for part, size in linked.items() if part in keys}
        kept.add(found)
        figures |= found
    return {part: int(figures[key][0]) for part, key in keys.items() if key in figures}


def tools_key(toolchain: Toolchain) -> str:
    """A hash of what code depends on beside its sources."""
    device = toolchain.device
    words = (toolchain.name, toolchain.version, toolchain.flags, device.core, device.fpu)
    return hashlib.sha256(repr(words).encode()).hexdigest()[:32]


def _content_key(item: Candidate) -> str:
    digest = hashlib.sha256(repr(item.instance).encode())
    for name in headers_needed(item.kernel):
        digest.update(header_text(name).encode())
    return digest.hexdigest()


def _linked(program: Program, items: Sequence[Candidate], toolchain: Toolchain) -> dict[Part, int]:
    made = trial(program, items, toolchain.device, generator(0, "code_sizes"))
    with Workbench(made.package.files, made.package.manifest, toolchain) as bench:
        table = symbols(bench.runner(IDLE))
    return {part: table[name].bytes for part, name in made.package.instances.items() if name in table}
