"""Node cases of ONNX, compiled to C and run: a part that a rule chooses; ``make conformance`` runs all."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from conformance_cases import Case, all_cases
from conformance_run import Outcome, compare, run_cases
from conformance_table import PAGE, faults, general, read_table

EVERY = 20


def chosen() -> tuple[Case, ...]:
    """The first case of every op, and every twentieth."""
    cases = all_cases()
    first = {case.op: case for case in reversed(cases) if not case.expanded}
    names = {case.name for case in (*first.values(), *cases[::EVERY])}
    return tuple(case for case in cases if case.name in names)


@pytest.mark.filterwarnings("ignore")
def test_every_case_is_passed_or_refused_as_the_table_says(tmp_path):
    cases = chosen()
    found = run_cases(cases, tmp_path)
    assert set(found) == {case.name for case in cases}
    assert faults(found, read_table()) == []


@pytest.mark.filterwarnings("ignore")
def test_the_table_names_cases_and_the_page_counts_them():
    names = {case.name: case for case in all_cases()}
    table = read_table()
    assert set(table) <= set(names)
    assert all(table.values())
    direct = sum(not names[name].expanded for name in table)
    counted = next(line for line in PAGE.read_text().splitlines() if line.startswith("| direct |"))
    _, _, total, passed, refused, wrong, crashed, hung, _ = counted.split("|")
    assert (int(refused), int(wrong), int(crashed), int(hung)) == (direct, 0, 0, 0)
    assert int(total) == int(passed) + int(refused) == sum(not case.expanded for case in names.values())
    assert int(passed) >= 800


@pytest.fixture(scope="module")
def relu() -> Case:
    return next(case for case in all_cases() if case.name == "test_relu")


def test_what_is_compared(relu):
    (right,) = relu.expected
    assert compare(relu, [right]).status == "passed"
    assert compare(relu, [right * np.float32(1 + relu.rtol / 2)]).status == "passed"
    assert compare(relu, [right * np.float32(1 + relu.rtol * 2)]).status == "wrong"
    assert compare(relu, [right.astype(np.float64)]).status == "wrong"
    assert compare(relu, [right[:1]]).status == "wrong"
    assert compare(relu, []).status == "wrong"


def test_what_is_against_the_rules():
    found = {
        "a": Outcome("a", "passed"),
        "b": Outcome("b", "refused", "why"),
        "c": Outcome("c", "wrong", "how"),
        "d": Outcome("d", "passed"),
        "e": Outcome("e", "refused", "why"),
    }
    told = faults(found, {"d": "an old reason", "e": "why"})
    assert [line.split()[0] for line in told] == ["b", "c", "d"]


def test_general_reasons():
    assert general("op Foo of node x_1 gives 'y' (2, 3), 4 of them") == "op Foo of node ... gives ... ..., N of them"


def test_a_case_that_ends_its_process_is_found(relu, tmp_path, monkeypatch):
    import conformance_run

    worker = tmp_path / "worker.py"
    worker.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(conformance_run, "WORKER", worker)
    assert run_cases([relu], tmp_path / "run")["test_relu"].status == "crashed"
    worker.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(conformance_run, "CASE_LIMIT_S", 0)
    monkeypatch.setattr(conformance_run, "_limit", lambda seconds: __import__("contextlib").nullcontext())
    assert run_cases([relu], tmp_path / "again")["test_relu"].status == "hung"
