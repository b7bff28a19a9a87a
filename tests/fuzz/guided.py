"""Coverage-guided fuzzing of the bytes of a model: ``python -m fuzz.guided onnx --seconds 900``, or ``tflite``.

Needs atheris (the extra ``fuzz``), which finds its way through the loader by coverage, on top of the seeds of the other
fuzzer. A finding is whatever is neither success nor an orderly refusal. An exception is kept in the corpus, once for
each place, and the run goes on; a crash, an input of more than 10 s or one that makes the process grow by more than
1 GB ends it, and libFuzzer leaves the input in the working directory. Other options are handed on to libFuzzer.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["microlith.graph", "microlith.ops", "microlith.core", "microlith.quant"]):
    from fuzz.__main__ import CORPUS, file_name
    from fuzz.sandbox import MEMORY_LIMIT_BYTES, TIME_LIMIT_S, place
    from fuzz.target import refusal
    from microlith.core.errors import ModelError
    from microlith.graph.load import load_model

from fuzz.seeds import SEEDS

_LONGEST_BYTES = 20_000


@dataclass
class Run:
    """One run: what was tried, how it ended, and where findings go.

    Attributes:
        path: of the file that is loaded, over and over.
        corpus: folder for what breaks.
    """

    path: Path
    corpus: Path
    inputs: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    places: set[str] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)

    def one_input(self, data: bytes) -> None:
        """Load it."""
        self.path.write_bytes(data)
        began = time.monotonic()
        self.inputs += 1
        try:
            load_model(self.path)
            self.accepted += 1
        except ModelError as error:
            try:
                refusal(error)
            except AssertionError as complaint:
                self.keep(data, place(error), str(complaint))
        except Exception as error:
            self.keep(data, place(error), f"{type(error).__name__}: {error}")
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def keep(self, data: bytes, where: str, what: str) -> None:
        """Write a finding into the corpus, where it is at a new place."""
        if where in self.places:
            return
        self.places.add(where)
        self.corpus.mkdir(parents=True, exist_ok=True)
        file = self.corpus / file_name(data, where, self.path.suffix)
        file.write_bytes(data)
        print(f"finding: {where}: {what[:500]} -> {file.name}", file=sys.stderr, flush=True)

    def summary(self) -> str:
        """The figures of the run."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        return (
            f"{self.inputs:,} inputs of {self.path.suffix} in {time.monotonic() - self.started:.0f} s: "
            f"{self.accepted:,} accepted, the slowest {self.slowest_s:.1f} s, at most {peak} MB resident, "
            f"findings at {len(self.places)} places"
        )


def main() -> None:
    """Write the seeds, then hand over to libFuzzer, which ends the process."""
    parser = argparse.ArgumentParser(prog="fuzz.guided", description=__doc__)
    parser.add_argument("kind", choices=sorted(SEEDS))
    parser.add_argument("--seconds", type=int, default=900, help="of the run")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="folder for what breaks")
    parser.add_argument("--summary", type=Path, help="file for the figures, which are printed too")
    arguments, options = parser.parse_known_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for index, data in enumerate(SEEDS[arguments.kind]()):
        (folder / f"seed{index}").write_bytes(data)
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
    run = Run(scratch / f"model.{arguments.kind}", arguments.corpus)
    limits = [f"-timeout={TIME_LIMIT_S}", f"-rss_limit_mb={_resident_mb() + (MEMORY_LIMIT_BYTES >> 20)}"]
    total = [f"-max_len={_LONGEST_BYTES}", "-print_final_stats=1"]

    def one_input(data: bytes) -> None:
        run.one_input(data)
        if time.monotonic() - run.started >= arguments.seconds:
            text = run.summary()
            print(text, flush=True)
            if arguments.summary:
                arguments.summary.write_text(f"{text}\n")
            os._exit(1 if run.places else 0)  # libFuzzer would end the process without a word of ours

    atheris.Setup([sys.argv[0], str(folder), *limits, *total, *options], one_input)
    atheris.Fuzz()


def _resident_mb() -> int:
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * resource.getpagesize() >> 20


if __name__ == "__main__":
    main()
