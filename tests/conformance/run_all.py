"""Runs every case and writes docs/conformance.md: a program; --update writes the table of refused cases too."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from conformance_cases import all_cases
from conformance_run import run_cases
from conformance_table import PAGE, faults, page, read_table, write_table


def main() -> int:
    """0 where every case is passed, or refused as the table says."""
    warnings.simplefilter("ignore")
    cases = all_cases()
    with tempfile.TemporaryDirectory() as directory:
        found = run_cases(cases, Path(directory))
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
