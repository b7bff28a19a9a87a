"""Runs every case and writes docs/conformance.md: a program; --update writes the table of refused cases too."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from conformance_cases import all_cases
from conformance_run import Outcome, run_cases
from conformance_table import PAGE, faults, page, read_table, write_table

PART = 100


def _part(start: int) -> dict[str, Outcome]:
    with tempfile.TemporaryDirectory() as directory:
        return run_cases(all_cases()[start : start + PART], Path(directory))


def main() -> int:
    """0 where every case is passed, or refused as the table says."""
    warnings.simplefilter("ignore")
    cases = all_cases()
    found: dict[str, Outcome] = {}
    # Forked, so that the cases are made once.
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork")) as pool:
        for part in pool.map(_part, range(0, len(cases), PART)):
            found |= part
            print(f"{len(found)} of {len(cases)} cases", file=sys.stderr)
    if "--update" in sys.argv[1:]:
        write_table(found)
    text = page(cases, found)
    PAGE.write_text(text)
    print("\n".join(line for line in text.splitlines() if line.startswith(("| cases", "| direct |", "| expanded"))))
    wrong = faults(found, read_table())
    wrong += [f"{name} is in the table and no case" for name in read_table() if name not in found]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
