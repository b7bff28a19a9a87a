"""How long ``microlith compile`` takes: the first time, again with all built, and the first time with ``--tune``.

    python benchmarks/compile_time.py MODEL... [--device stm32l4r5] [--repeat 3]

Seconds of wall time and of processor time, the least of the repetitions, in processes of their own. The compiler's own
run-time libraries, which it builds once for each core, and the emulator's hooks are there before; nothing else is in
the cache before the first time, and no count before tuning.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HEADS = ("model", "first", "first, CPU", "again", "again, CPU", "first with --tune", "first with --tune, CPU")
HOOKS = "from microlith.device.build_hooks import build_hooks; build_hooks()"


@dataclass(frozen=True)
class Seconds:
    """Of one run, or the least of several."""

    wall: float
    cpu: float


class Runner:
    """Compiles with a cache of its own.

    Args:
        place: an empty directory.
        device: what for.
    """

    def __init__(self, place: Path, device: str) -> None:
        self._place, self._device = place, device
        self._cache = place / "cache" / "microlith"
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}

    def forget(self) -> None:
        """Empty the cache of everything but the compiler's own libraries and the hooks."""
        for path in (*self._cache.glob("build/*"), *self._cache.glob("tuning"), *self._cache.glob("code_bytes")):
            if path.name != "zig":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        subprocess.run([sys.executable, "-c", HOOKS], env=self._environment, check=True)

    def run(self, model: Path, *options: str) -> Seconds:
        """Compile once."""
        words = ["compile", str(model), "--device", self._device, "-o", str(self._place / "out"), "-q", *options]
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "microlith.cli.main", *words]
        subprocess.run(command, env=self._environment, stdout=subprocess.DEVNULL, check=True)
        wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        return Seconds(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def least(runs: Sequence[Seconds]) -> tuple[str, str]:
    """Wall and processor time, as text."""
    return f"{min(run.wall for run in runs):.2f}", f"{min(run.cpu for run in runs):.2f}"


def row(runner: Runner, model: Path, repeat: int) -> str:
    """A row of the table, as Markdown."""
    first, again, tuned = [], [], []
    for _ in range(repeat):
        runner.forget()
        first.append(runner.run(model))
        again.append(runner.run(model))
        runner.forget()
        tuned.append(runner.run(model, "--tune"))
    return "| " + " | ".join((model.stem, *least(first), *least(again), *least(tuned))) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--device", default="stm32l4r5")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        runner = Runner(Path(place), given.device)
        runner.run(given.models[0])
        print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|", flush=True)
        for model in given.models:
            print(row(runner, model, given.repeat), flush=True)


if __name__ == "__main__":
    main()
