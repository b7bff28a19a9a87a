"""The C of accepted mutants, under UBSan and in guarded arenas, on random inputs against the reference.

``python -m fuzz.compiled_mutants --files FOLDER``, such as what ``python -m fuzz --accepted FOLDER`` leaves. The code
runs in this very process, which may crash.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

import compiled
from fuzz.mutants import mutant
from fuzz.sandbox import examine
from fuzz.target import host
from microlith.api import load
from microlith.compile.pipeline import FLOAT_BOUND, random_feeds
from microlith.search.prepare import optimize_graph

_INPUTS = 3
_EXTERNAL = b"data.bin"  # of the sandbox's folder, which these files have left


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


def run_batch(paths: Sequence[Path], folder: Path) -> int:
    """Build one library of all models and run each; the number of results that were compared."""
    graphs: dict[str, ir.Model] = {f"m{i}": optimize_graph(load(path))[0] for i, path in enumerate(paths)}
    library = compiled.Library(folder, graphs, host())
    compared = 0
    for name, graph in graphs.items():
        print(name, paths[int(name[1:])].name, file=sys.stderr, flush=True)  # the last line tells whose code crashed
        for feeds in random_feeds(graph, _INPUTS, seed=7):
            for found, wanted in zip(library.run(name, feeds), compiled.reference(graph, feeds), strict=True):
                _compare(found, wanted)
                compared += 1
    return compared


def _compare(found: compiled.Array, wanted: compiled.Array) -> None:
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    if np.issubdtype(wanted.dtype, np.floating):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=FLOAT_BOUND * float(np.abs(wanted).max(initial=1e-6)))
    else:
        np.testing.assert_array_equal(found, wanted)


def main() -> None:
    """Run, and print how much was compared."""
    parser = argparse.ArgumentParser(prog="compiled_mutants", description=__doc__)
    parser.add_argument("--files", type=Path, help="folder of models; mutants of a run where it is not given")
    parser.add_argument("--seed", type=int, default=0, help="number of the run")
    parser.add_argument("--count", type=int, default=20, help="models at most")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = sorted(arguments.files.iterdir()) if arguments.files else []
        given = [path for path in files if _EXTERNAL not in path.read_bytes()][: arguments.count]
        paths = given or accepted_mutants(arguments.seed, arguments.count, folder)
        print(f"{len(paths)} models, {run_batch(paths, folder / 'built')} results compared")


if __name__ == "__main__":
    main()
