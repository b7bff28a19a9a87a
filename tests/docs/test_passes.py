"""docs/passes.md is what the code says, and everything it names exists."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import passes_page

NAMES = {item.name for passes in passes_page.tuples().values() for item in passes}
ROWS = [row for _, rows in passes_page.DONE for row in rows]


def test_the_page_is_current():
    assert passes_page.PAGE.read_text() == passes_page.page(), "run make docs"


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_is_done_has_a_pass_and_a_test(row):
    _, by, test = row
    assert by == (passes_page.LOWERING,) or set(by) <= NAMES
    path, _, name = test.partition("::")
    assert re.search(rf"^def {name}\(", (passes_page.ROOT / path).read_text(), re.MULTILINE)


def test_every_pass_states_its_algebra_and_is_named_by_a_test():
    folder = passes_page.ROOT / "tests" / "graph" / "passes"
    tested = " ".join(path.read_text() for path in folder.glob("test_*.py"))
    for passes in passes_page.tuples().values():
        for item in passes:
            assert sys.modules[type(item).__module__].__doc__, item.name
            # What a model goes through when it is loaded is tested by loading.
            assert item in passes_page.SIMPLIFY or re.search(rf"\b{item.name}\b", tested), item.name
