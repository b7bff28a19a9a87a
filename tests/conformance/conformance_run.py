"""Runs cases through the loader, the passes, the compiler and C on this machine, and says what came of each."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from conformance_cases import Array, Case

from microlith.compile.package import Package
from microlith.compile.pipeline import compile_graph
from microlith.core.errors import MicrolithError, ToolchainError
from microlith.device.load import device
from microlith.device.toolchain import find_toolchain
from microlith.graph.load import load_model
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes

Status = Literal["passed", "refused", "wrong", "crashed", "hung"]

CASE_LIMIT_S = 20
"""For loading and compiling to C, and again for running."""

BATCH = 150
WORKER = Path(__file__).with_name("conformance_worker.py")


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        case: its name.
        status: ``passed``, or what stood in the way.
        reason: of everything but ``passed``, in one line.
    """

    case: str
    status: Status
    reason: str = ""


@dataclass(frozen=True)
class _Compiled:
    case: Case
    symbol: str
    package: Package


def run_cases(cases: Sequence[Case], directory: Path) -> dict[str, Outcome]:
    """An outcome for every case, by name; what ends the process that runs the C code is an outcome too."""
    found: dict[str, Outcome] = {}
    for start in range(0, len(cases), BATCH):
        part = directory / f"batch_{start}"
        part.mkdir(parents=True)
        found |= _run_batch(cases[start : start + BATCH], part)
    return found


def _run_batch(cases: Sequence[Case], directory: Path) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    ready: list[_Compiled] = []
    for number, case in enumerate(cases):
        made = _to_c(case, number, directory)
        if isinstance(made, Outcome):
            found[case.name] = made
        else:
            ready.append(made)
    return found | _build_and_run(ready, directory / "all")


def _build_and_run(ready: Sequence[_Compiled], directory: Path) -> dict[str, Outcome]:
    """Outcomes of cases in C; where the C compiler refuses them together, the halves are tried by themselves."""
    if not ready:
        return {}
    directory.mkdir()
    try:
        library = _build(ready, directory)
    except ToolchainError as error:
        if len(ready) == 1:
            return {ready[0].case.name: Outcome(ready[0].case.name, "crashed", _line(error.what))}
        half = len(ready) // 2
        first = _build_and_run(ready[:half], directory / "0")
        return first | _build_and_run(ready[half:], directory / "1")
    return _run(ready, library, directory)


# ---- from a case to C


def _to_c(case: Case, number: int, directory: Path) -> _Compiled | Outcome:
    symbol = f"case_{number}"
    path = directory / f"{symbol}.onnx"
    path.write_bytes(case.model.SerializeToString())
    try:
        with _limit(CASE_LIMIT_S):
            shapes = {name: array.shape for name, array in case.feeds.items() if isinstance(array, np.ndarray)}
            model = load_model(path, shapes)
            run_passes(model, DEFAULT_PASSES)
            package = compile_graph(model, device("host").model_copy(update={"isas": ("portable",)}), name=symbol)
    except MicrolithError as error:
        if type(error).__name__ in ("VerificationError",):
            return Outcome(case.name, "crashed", _line(f"{type(error).__name__}: {error.what}"))
        return Outcome(case.name, "refused", _line(error.what))
    except TimeoutError:
        return Outcome(case.name, "hung", f"loading and compiling took more than {CASE_LIMIT_S} s")
    except Exception as error:
        # Anything that is no error of ours is a finding, whatever it is, and must not end the run.
        return Outcome(case.name, "crashed", _line(f"{type(error).__name__}: {error}"))
    return _Compiled(case, symbol, package)


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    def stop(signum: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _build(ready: Sequence[_Compiled], directory: Path) -> Path:
    """One shared library of them all, as one translation unit: the kernels are then read once.

    Without optimization, which takes a tenth of the time; tests/compile runs every kernel with it, and with checks for
    undefined behaviour.
    """
    headers = directory / "src"
    headers.mkdir()
    units = []
    for item in ready:
        for path, content in item.package.files.items():
            if path.startswith(("src/", "include/")):
                (headers / Path(path).name).write_bytes(content)
        units += [f"{item.symbol}.c", f"{item.symbol}_weights.c"]
    source = headers / "all.c"
    source.write_text("".join(f'#include "{unit}"\n' for unit in units))
    out = directory / "library.so"
    host = device("host").model_copy(update={"isas": ("portable",)})
    find_toolchain(host, opt="-O0").compile_shared([source], [headers], out)
    return out


# ---- running


def _run(ready: Sequence[_Compiled], library: Path, directory: Path) -> dict[str, Outcome]:
    """Run what is left in a process of its own until every case has an outcome; one that ends it is left out."""
    found: dict[str, Outcome] = {}
    left = list(ready)
    while left:
        results, ended, said = _run_process(left, library, directory)
        for item in left[: len(results)]:
            found[item.case.name] = compare(item.case, results[item.case.name])
        left = left[len(results) :]
        if left:
            found[left[0].case.name] = Outcome(
                left[0].case.name, "hung" if ended is None else "crashed", _why(ended, said)
            )
            left = left[1:]
    return found


def _why(ended: int | None, said: str) -> str:
    if ended is None:
        return f"running took more than {CASE_LIMIT_S} s"
    return _line(f"the process that ran it ended with {ended}: {said[-200:]}")


def _run_process(
    left: Sequence[_Compiled], library: Path, directory: Path
) -> tuple[dict[str, list[Array]], int | None, str]:
    """The outputs by case of those that ran through, how the process ended (None if it was ended), what it said."""
    job, out = directory / "job.pickle", directory / "results.pickle"
    tasks = []
    for item in left:
        entry = item.package.manifest.entries[0]
        inputs = [(tensor.name, tensor.dtype) for tensor in entry.inputs]
        outputs = [(tensor.dtype, tensor.shape, tensor.bytes) for tensor in entry.outputs]
        feeds = {name: np.ascontiguousarray(array) for name, array in item.case.feeds.items()}
        arena = item.package.manifest.spaces.get("arena", 0)
        tasks.append((item.case.name, item.symbol, arena, inputs, outputs, feeds))
    job.write_bytes(pickle.dumps(tasks))
    out.write_bytes(b"")
    command = [sys.executable, str(WORKER), str(library), str(job), str(out), str(CASE_LIMIT_S)]
    try:
        done = subprocess.run(command, timeout=CASE_LIMIT_S * 3 + len(left), capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return _read(out), None, ""
    return _read(out), None if done.returncode == -signal.SIGALRM else done.returncode, done.stderr


def _read(path: Path) -> dict[str, list[Array]]:
    results: dict[str, list[Array]] = {}
    with path.open("rb") as stream:
        while True:
            try:
                name, arrays = pickle.load(stream)
            except (EOFError, pickle.UnpicklingError):
                return results
            results[name] = arrays


def compare(case: Case, results: Sequence[Array]) -> Outcome:
    """Passed or wrong: types and shapes equal, integers equal, floats within the tolerance of the case."""
    if len(results) != len(case.expected):
        return Outcome(case.name, "wrong", f"{len(results)} outputs, expected {len(case.expected)}")
    for index, (got, want) in enumerate(zip(results, case.expected, strict=True)):
        if case.op == "NonMaxSuppression" and isinstance(want, np.ndarray):
            want = _with_unused(want, got)
        reason = _difference(got, want, case)
        if reason:
            return Outcome(case.name, "wrong", _line(f"output {index}: {reason}"))
    return Outcome(case.name, "passed")


def _with_unused(want: Array, got: Array) -> Array:
    """The rows expected, then -1 as far as there is room: how many rows count depends on data."""
    rows = max(len(got) - len(want), 0)
    return np.concatenate([want, np.full((rows, *want.shape[1:]), -1, want.dtype)])


def _difference(got: Array, want: Any, case: Case) -> str | None:
    if not isinstance(want, np.ndarray | np.generic):
        return f"expected a {type(want).__name__}"
    want = np.asarray(want)
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype} {got.shape}, expected {want.dtype} {want.shape}"
    if want.dtype.kind in "biu":
        return None if np.array_equal(got, want) else f"{int((got != want).sum())} of {want.size} integers differ"
    try:
        np.testing.assert_allclose(got, want, rtol=case.rtol, atol=case.atol)
    except AssertionError as error:
        return str(error)
    return None


def _line(text: str) -> str:
    return " ".join(text.split())[:240]


def describe_model(model: onnx.ModelProto) -> str:
    """Its ops, for a reader of a failure."""
    return ", ".join(node.op_type for node in model.graph.node)
