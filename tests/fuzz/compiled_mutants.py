"""The C of accepted mutants, under sanitizers and in guarded arenas, on random and on extreme inputs.

``python -m fuzz.compiled_mutants --files FOLDER --asan``, with what ``python -m fuzz --accepted FOLDER`` leaves. Every
model is compiled as it is given and quantized. Results on random inputs are compared with the reference; extreme ones
(infinities, NaN, the ends of integer types) must not end the process. UBSan is always on, and with ``--asan`` the
address sanitizer of gcc too. Batches run in processes of their own, so that a crash ends one batch.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

import compiled
from fuzz.mutants import mutant
from fuzz.sandbox import examine
from fuzz.target import forms, host
from microlith.api import load
from microlith.compile.package import Package
from microlith.compile.pipeline import FLOAT_BOUND, compile_graph, random_feeds
from microlith.core.errors import ModelError

_INPUTS = 3
_EXTERNAL = b"data.bin"  # of the sandbox's folder, which these files have left
_LARGEST_ELEMENTS = 1 << 20  # of all inputs and outputs; larger models are run by the other fuzzers
_SANITIZED = (
    "gcc", "-std=c99", "-O1", "-g", "-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
    "-shared", "-fPIC",
)  # fmt: skip


def accepted_mutants(run: int, count: int, folder: Path) -> list[Path]:
    """The first ``count`` mutants of a run that are accepted, as files."""
    found, index = [], 0
    while len(found) < count:
        made = mutant(run, index)
        if _EXTERNAL not in made.data and examine(made.data, made.format.suffix).ending == "accepted":
            path = folder / f"{index}{made.format.suffix}"
            path.write_bytes(made.data)
            found.append(path)
        index += 1
    return found


def run_batch(paths: Sequence[Path], folder: Path, build: compiled.Build | None) -> tuple[int, int]:
    """Build one library of all models and run each; how many graphs there were, and how many results were compared."""
    members: dict[str, compiled.Member] = {}
    for number, path in enumerate(paths):
        for form, graph in forms(load(path)):
            name = f"m{number}_{form}"
            package = _package(graph, name)
            if package:
                members[name] = compiled.Member(graph, package)
    library = compiled.Library(folder, members, host(), build)
    compared = 0
    for name, member in members.items():
        graph = member.graph
        place = paths[int(name[1:].partition("_")[0])].name
        print(name, place, file=sys.stderr, flush=True)  # the last line tells whose code crashed
        for feeds in random_feeds(graph, _INPUTS, seed=7):
            instance = compiled.Instance(library, name)
            for found, wanted in zip(instance.run(feeds), compiled.reference(graph, feeds), strict=True):
                _compare(found, wanted)
                compared += 1
        for feeds in _extremes(graph):
            compiled.Instance(library, name).run(feeds)
    return len(members), compared


def _package(graph: ir.Model, name: str) -> Package | None:
    size = sum(int(np.prod(value.shape)) for value in (*graph.graph.inputs, *graph.graph.outputs))
    if size > _LARGEST_ELEMENTS:
        return None
    try:
        return compile_graph(graph, host(), name=name)
    except ModelError:  # the form that is given compiles, or the mutant would not be among the accepted
        return None


def _extremes(graph: ir.Model) -> Iterator[Mapping[str, compiled.Array]]:
    floats = (np.nan, np.inf, -np.inf, 3e38, -3e38)
    for pick in range(len(floats)):
        feeds = dict(next(iter(random_feeds(graph, 1, seed=pick))))
        for name, array in feeds.items():
            if np.issubdtype(array.dtype, np.floating):
                feeds[name] = np.full_like(array, floats[pick])
            elif array.dtype != np.bool_:
                info = np.iinfo(array.dtype)
                feeds[name] = np.full_like(array, (info.min, info.max, 0, info.max // 2, info.min)[pick])
        yield feeds


def _compare(found: compiled.Array, wanted: compiled.Array) -> None:
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    if np.issubdtype(wanted.dtype, np.floating):
        finite = np.isfinite(wanted)  # a power of a negative number is not
        np.testing.assert_array_equal(found[~finite], wanted[~finite])
        bound = FLOAT_BOUND * float(np.abs(wanted[finite]).max(initial=1e-6))
        np.testing.assert_allclose(found[finite], wanted[finite], rtol=0, atol=bound)
    else:
        np.testing.assert_array_equal(found, wanted)


def build_for_asan(sources: Sequence[Path], includes: Sequence[Path], out: Path) -> None:
    """Build with gcc for the address sanitizer, whose library must be loaded before Python."""
    command = [*_SANITIZED, *(f"-I{path}" for path in includes), *map(str, sources), "-o", str(out)]
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    subprocess.run(command, check=True, env=plain)


def _middle(text: str) -> str:
    """What names the model, and what is said of it."""
    lines = text.splitlines()
    return "\n".join([line for line in lines if line.startswith("m")][-1:] + lines[-60:])[:4000]


def _in_batches(paths: Sequence[Path], size: int) -> int:
    """Run every batch in a process of its own under ASan; the number of batches that failed."""
    # ASan looks for what throws C++ exceptions when it starts, and other libraries of the process throw them.
    preload = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    environment = {**os.environ, "LD_PRELOAD": " ".join(preload), "ASAN_OPTIONS": "detect_leaks=0"}
    failed = graphs = compared = 0
    for start in range(0, len(paths), size):
        names = [str(path) for path in paths[start : start + size]]
        command = [sys.executable, "-m", "fuzz.compiled_mutants", "--batch", *names]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            failed += 1
            print(f"batch from {start}: exit status {done.returncode}\n{_middle(done.stderr)}", flush=True)
        else:
            more = [int(word) for word in done.stdout.split()]
            graphs, compared = graphs + more[0], compared + more[1]
    print(f"{len(paths)} models, {graphs} graphs, {compared} results compared under ASan and UBSan, {failed} failures")
    return failed


def main() -> int:
    """Run, and print how much was compared."""
    parser = argparse.ArgumentParser(prog="compiled_mutants", description=__doc__)
    parser.add_argument("--files", type=Path, help="folder of models; mutants of a run where it is not given")
    parser.add_argument("--seed", type=int, default=0, help="number of the run")
    parser.add_argument("--count", type=int, default=20, help="models at most")
    parser.add_argument("--asan", action="store_true", help="with the address sanitizer, which needs gcc")
    parser.add_argument("--batch", type=Path, nargs="+", help="models of one batch, in a process under ASan")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.batch:
            print(*run_batch(arguments.batch, folder, build_for_asan))
            return 0
        files = sorted(arguments.files.iterdir()) if arguments.files else []
        given = [path for path in files if _EXTERNAL not in path.read_bytes()][: arguments.count]
        paths = given or accepted_mutants(arguments.seed, arguments.count, folder)
        if arguments.asan:
            return 1 if _in_batches(paths, 25) else 0
        graphs, compared = run_batch(paths, folder / "built", None)
        print(f"{len(paths)} models, {graphs} graphs, {compared} results compared under UBSan")
    return 0


if __name__ == "__main__":
    sys.exit(main())
