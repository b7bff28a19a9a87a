"""docs/operators.md is what the code says, and the code supports what it must."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import operators_page

from microlith.compile.lower import HANDLERS
from microlith.graph.opset import oldest_opset
from microlith.ops import OPS


def test_the_page_is_current():
    assert operators_page.PAGE.read_text() == operators_page.page(), "run make docs"


def test_every_handler_is_of_an_op_that_loads():
    assert set(HANDLERS) <= set(OPS)


def test_how_many_ops_there_are():
    compiled = [name for name in OPS if name in HANDLERS]
    assert len(compiled) >= 120
    assert sum(map(operators_page.is_integer, compiled)) >= 60


def test_the_oldest_opset():
    assert oldest_opset("Not") == 1
    assert oldest_opset("Add") == 7
    assert oldest_opset("Clip") == 1
    assert oldest_opset("Swish") == 24
