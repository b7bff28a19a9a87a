"""Artifacts that were written before: opened, run, and verified again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.compile.manifest import Manifest, Tensor, read_manifest
from microlith.compile.pipeline import random_feeds
from microlith.core.details import CheckRow
from microlith.core.errors import InputError, VerificationError
from microlith.core.evidence import Evidence, EvidenceSet
from microlith.device.emulator import Emulator
from microlith.device.host import HostRunner
from microlith.device.toolchain import Toolchain
from microlith.graph.export import restore
from microlith.graph.load import load_model
from microlith.program.types import NUMPY
from microlith.quant.integer_move import quantize
from microlith.quant.types import QArray, QParams
from microlith.search.artifact import (
    Feeds,
    Progress,
    Tools,
    build_package,
    check_compiled,
    no_progress,
    outside_checks,
)
from microlith.verify.agreement import Runner, from_bytes
from microlith.verify.board_log import SelftestResult, check_log
from microlith.verify.figures import context_of
from microlith.verify.workbench import Workbench, read_files

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Opened:
    """An artifact directory whose files are those that were written.

    Attributes:
        directory: where it is.
        manifest: what it consists of.
        files: content by path.
        model: the graph that was compiled.
    """

    directory: Path
    manifest: Manifest
    files: dict[str, bytes]
    model: ir.Model

    @classmethod
    def read(cls, directory: Path) -> Opened:
        """Open an artifact.

        Raises:
            InputError: it is none, or a file was changed since it was written.
        """
        manifest = read_manifest(directory)
        files = read_files(directory, manifest)
        model = load_model(directory / "model.onnx")
        restore(model)
        return cls(directory, manifest, files, model)


@dataclass(frozen=True)
class OutputArray:
    """One output of an inference.

    Attributes:
        name: of the graph value.
        stored: as the C array holds it.
        real: as real numbers; the same for floats.
    """

    name: str
    stored: Array
    real: Array


def infer(
    opened: Opened,
    inputs: Sequence[Array],
    *,
    emulate: bool,
    compiler: str | None = None,
    reset_each: bool = False,
) -> list[OutputArray]:
    """One inference through the artifact; where it keeps state, the steps of one sequence.

    Args:
        opened: the artifact.
        inputs: one array an input, in the type of the C array or, where that is quantized, as floats. Where the
            artifact keeps state, an array may have a leading axis of steps more than the input, or instead of its
            batch of 1; the outputs then have a leading axis of steps before their own shape.
        emulate: run the device's own code in the emulator, rather than the graph's code for this machine.
        compiler: see :func:`microlith.device.toolchain.find_toolchain`.
        reset_each: start every step from the initial state, rather than from what the step before has left.

    Raises:
        InputError: number, shape or type of the inputs do not fit; or ``reset_each`` without state.
    """
    entry = opened.manifest.entries[0]
    if len(inputs) != len(entry.inputs):
        raise InputError(f"{len(inputs)} inputs were given, and the artifact has {len(entry.inputs)}")
    if reset_each and not opened.manifest.states:
        raise InputError("the artifact keeps no state to reset", hint="Leave out --reset-each.")
    given, stacked = _steps(opened.manifest, inputs)
    if emulate and opened.manifest.device.is_host:
        raise InputError("the artifact is for a host, which is not emulated", hint="Leave out --emulate.")
    tools = Tools.find(opened.manifest.device, compiler, required=emulate or opened.manifest.device.is_host)
    if emulate:
        assert tools.target is not None, "it was required"
        with (
            Workbench(opened.files, opened.manifest, tools.target) as bench,
            Emulator(bench.selftest(), tools.device) as run,
        ):
            return _outputs(opened.manifest, run, given, stacked=stacked, reset_each=reset_each)
    files, manifest, toolchain = for_this_machine(opened, tools)
    with Workbench(files, manifest, toolchain) as bench, HostRunner(bench.shared_library()) as runner:
        return _outputs(opened.manifest, runner, given, stacked=stacked, reset_each=reset_each)


def for_this_machine(opened: Opened, tools: Tools) -> tuple[dict[str, bytes], Manifest, Toolchain]:
    """The artifact, or the same graph compiled again, as code for this machine.

    Raises:
        ToolchainError: there is no compiler.
    """
    if opened.manifest.device.is_host:
        assert tools.target is not None, "it was required"
        return opened.files, opened.manifest, tools.target
    desk = Tools.for_this_machine()
    assert desk.target is not None, "it was required"
    package = build_package(opened.model, desk, opened.manifest.name)
    return dict(package.files), package.manifest, desk.target


def _steps(manifest: Manifest, inputs: Sequence[Array]) -> tuple[list[list[bytes]], bool]:
    """The inputs of every step, and whether the arrays have an axis of steps."""
    tensors = manifest.entries[0].inputs
    stacked = bool(manifest.states) and any(
        _has_steps(tensor, array) for tensor, array in zip(tensors, inputs, strict=True)
    )
    if not stacked:
        return [[_fitted(tensor, array).tobytes() for tensor, array in zip(tensors, inputs, strict=True)]], False
    counts = {len(array) if _has_steps(tensor, array) else 1 for tensor, array in zip(tensors, inputs, strict=True)}
    if len(counts) != 1 or counts == {0}:
        raise InputError(f"the inputs have {sorted(counts)} steps, expected one number above 0")
    steps = [
        [_fitted(tensor, array[index]).tobytes() for tensor, array in zip(tensors, inputs, strict=True)]
        for index in range(counts.pop())
    ]
    return steps, True


def _has_steps(tensor: Tensor, array: Array) -> bool:
    """Whether an array has an axis of steps: one more than the tensor, or in the place of a batch of 1."""
    if array.shape in (tensor.shape, tensor.shape[1:]):
        return False
    return array.shape[1:] == tensor.shape or (tensor.shape[:1] == (1,) and array.shape[1:] == tensor.shape[1:])


def _fitted(tensor: Tensor, array: Array) -> Array:
    wanted = np.dtype(NUMPY[tensor.dtype])
    if array.shape == tensor.shape[1:]:
        array = array[None]
    if array.shape != tensor.shape:
        raise InputError(f"the input {tensor.name} has shape {tensor.shape}, and the array has {array.shape}")
    if array.dtype == wanted:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
        raise InputError(f"the input {tensor.name} takes {wanted}, and the array holds {array.dtype}")
    if tensor.scale is None or tensor.zero_point is None:
        if wanted != np.float32:
            raise InputError(f"the input {tensor.name} takes {wanted} as it is, and the array holds {array.dtype}")
        return np.ascontiguousarray(array, np.float32)
    qparams = QParams.per_tensor(tensor.scale, tensor.zero_point, wanted.name)
    return np.ascontiguousarray(quantize(np.asarray(array, np.float32), qparams))


def _outputs(
    manifest: Manifest, runner: Runner, given: Sequence[list[bytes]], *, stacked: bool, reset_each: bool
) -> list[OutputArray]:
    found = []
    for index, step in enumerate(given):
        if index and reset_each:
            runner.reset()
        found.append(runner.infer(step))
    results = []
    for tensor, contents in zip(manifest.entries[0].outputs, zip(*found, strict=True), strict=True):
        steps = [from_bytes(tensor, content) for content in contents]
        stored = np.stack(steps) if stacked else steps[0]
        real = stored
        if tensor.scale is not None and tensor.zero_point is not None:
            qparams = QParams.per_tensor(tensor.scale, tensor.zero_point, stored.dtype.name)
            real = QArray(stored, qparams).dequantize()  # type: ignore[arg-type]
        results.append(OutputArray(tensor.name, stored, real))
    return results


def verify(
    opened: Opened,
    *,
    samples: Sequence[Feeds] = (),
    count: int = 20,
    compiler: str | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> tuple[CheckRow, ...]:
    """Reference, C on this machine, C on the emulated device and ONNX Runtime, on the same inputs.

    Args:
        opened: the artifact.
        samples: inputs, batch 1; random ones where none are given.
        count: number of random inputs.
        compiler: see :func:`microlith.device.toolchain.find_toolchain`.
        seed: of the random inputs.
        progress: called with what is being compared, samples done, and their number.
    """
    tools = Tools.find(opened.manifest.device, compiler, required=True)
    chosen = list(samples) or random_feeds(opened.model, count, seed)
    rows = check_compiled(
        opened.model, opened.files, opened.manifest, tools, chosen, emulated_samples=len(chosen), progress=progress
    )
    return (*rows, *outside_checks(opened.model, chosen[:4]))


def with_board_log(opened: Opened, evidence: EvidenceSet, text: str) -> tuple[SelftestResult, EvidenceSet]:
    """The result line of a real board, and the evidence with its figures as measured ones.

    Raises:
        InputError: the log has no result line, or another artifact's.
        VerificationError: the board's outputs differ from the golden ones.
    """
    result = check_log(text, opened.manifest.artifact_hash)
    if not result.passed:
        raise VerificationError(
            f"on the board {result.mismatches} output values differ from the golden ones over {result.vectors} vectors"
            + (", and the library refused to run" if result.failed else ""),
            hint="Check the compiler flags: no -ffast-math, -ffp-contract=off.",
        )
    context = context_of(opened.manifest) | {"source": "board log"}
    measured = [Evidence("board_bit_exact", 1.0, 1.0, 1.0, result.vectors, "1", "measured", context)]
    device = opened.manifest.device
    if result.cycles:
        measured.append(Evidence.exact("cycles", result.cycles, "cycles", "measured", context))
        if device.clock_hz is not None:
            clocked = context | {"clock_hz": f"{device.clock_hz:.0f}"}
            measured.append(Evidence.exact("latency_s", result.cycles / device.clock_hz, "s", "measured", clocked))
    replaced = {item.metric for item in measured}
    kept = tuple(item for item in evidence.items if item.metric not in replaced)
    return result, EvidenceSet(kept + tuple(measured))
