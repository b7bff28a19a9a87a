"""Runs mutants and keeps what breaks: ``PYTHONPATH=tests python -m fuzz --count 10000``."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.mutants import FORMATS, Mutant, mutant, rebuild, with_zoo
from fuzz.sandbox import Outcome, examine

CORPUS = Path(__file__).parent / "corpus"


def minimized(found: Mutant, place: str) -> bytes:
    """The bytes with as few of the mutant's steps as end at the same place."""
    steps = list(found.steps)
    for step in found.steps:
        fewer = [item for item in steps if item != step]
        if fewer and examine(rebuild(found.format, found.seed, fewer), found.format.suffix).place == place:
            steps = fewer
    return rebuild(found.format, found.seed, steps)


def file_name(data: bytes, place: str, suffix: str) -> str:
    """Name of a finding in the corpus: what it is, and what tells it from others."""
    kind = "".join(char if char.isalnum() else "_" for char in place.split(" at ")[0])[:40]
    return f"{kind.lower()}-{hashlib.sha256(data).hexdigest()[:10]}{suffix}"


def keep(found: Mutant, outcome: Outcome, folder: Path) -> Path:
    """Write a finding into the corpus, under the name of what it is."""
    data = minimized(found, outcome.place)
    path = folder / file_name(data, outcome.place, found.format.suffix)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@dataclass
class Summary:
    """Counts of endings, and which inputs ended where they should not."""

    endings: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)
    slowest_s: float = 0.0
    largest_mb: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, name: str, outcome: Outcome) -> bool:
        """Count it; whether it is a finding at a new place."""
        self.endings[outcome.ending] += 1
        self.slowest_s = max(self.slowest_s, outcome.seconds)
        self.largest_mb = max(self.largest_mb, outcome.resident_mb)
        if outcome.ending != "finding":
            return False
        self.places.setdefault(outcome.place, []).append(name)
        return len(self.places[outcome.place]) == 1

    def print(self, what: str) -> int:
        """Print it, and return the exit code."""
        seconds, endings = time.monotonic() - self.started, self.endings
        print(
            f"{endings.total()} {what} in {seconds:.0f} s: {endings['accepted']} accepted, {endings['refused']} "
            f"refused, {endings['finding']} findings at {len(self.places)} places; the slowest took "
            f"{self.slowest_s:.1f} s of processor time, the largest {self.largest_mb} MB"
        )
        for place, names in sorted(self.places.items(), key=lambda item: -len(item[1])):
            print(f"  {len(names)} x {place}: {', '.join(names[:10])}")
        return 1 if self.places else 0


def replay(paths: Iterable[Path]) -> int:
    """Run files, such as those of the corpus."""
    summary = Summary()
    for path in paths:
        outcome = examine(path.read_bytes(), path.suffix)
        summary.add(path.name, outcome)
        print(f"{path.name}: {outcome.ending}: {outcome.what}")
    return summary.print("files")


def run(arguments: argparse.Namespace) -> int:
    """Run mutants."""
    summary = Summary()
    formats = [item for item in FORMATS if arguments.format in ("both", item.suffix[1:])]
    if arguments.zoo:
        formats = [with_zoo(item) for item in formats]
    for index in range(arguments.first, arguments.first + arguments.count):
        found = mutant(arguments.seed, index, formats)
        outcome = examine(found.data, found.format.suffix)
        if summary.add(str(index), outcome):
            path = keep(found, outcome, arguments.corpus)
            steps = ", ".join(name for name, _ in found.steps)
            print(f"{index}: {outcome.what}\n    {outcome.place}\n    {steps} -> {path.name}", flush=True)
        elif outcome.ending == "accepted" and arguments.accepted:
            arguments.accepted.mkdir(parents=True, exist_ok=True)
            (arguments.accepted / f"{arguments.seed}-{index}{found.format.suffix}").write_bytes(found.data)
    return summary.print("mutants")


def main() -> int:
    """Run, print a summary, and return 1 where something was found."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="mutants to run")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant of the run")
    parser.add_argument("--seed", type=int, default=0, help="number of the run")
    parser.add_argument("--format", choices=("onnx", "tflite", "both"), default="both", help="of the mutants, in turn")
    parser.add_argument("--zoo", action="store_true", help="start from the zoo's networks too, which needs torch")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="folder for what breaks")
    parser.add_argument("--accepted", type=Path, help="folder for mutants that are accepted")
    parser.add_argument("--replay", type=Path, help="run the files of this folder instead")
    arguments = parser.parse_args()
    return replay(sorted(arguments.replay.iterdir())) if arguments.replay else run(arguments)


if __name__ == "__main__":
    sys.exit(main())
