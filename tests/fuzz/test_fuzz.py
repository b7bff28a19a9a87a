"""Hostile models end in success or in an orderly refusal; nothing is written elsewhere, nothing takes forever.

What the fuzzer once found is in ``corpus``. The runs are in processes of their own, which must not be forked from one
with threads.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import models
from fuzz.mutants import FORMATS, Format, mutant, rebuild

TESTS = Path(__file__).parent.parent


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=600, check=False)


def test_corpus() -> None:
    done = _run("fuzz", "--replay", "fuzz/corpus")
    assert done.returncode == 0, done.stdout + done.stderr


def test_thousands_of_nodes(tmp_path: Path) -> None:
    count = 1000
    nodes = [onnx.helper.make_node("Sigmoid", [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    onnx.save(models.make_model(nodes, {"v0": [1, 4]}, {f"v{count}": [1, 4]}), tmp_path / "long.onnx")
    done = _run("fuzz", "--replay", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 accepted" in done.stdout


def test_mutants(tmp_path: Path) -> None:
    done = _run("fuzz", "--count", "120", "--seed", "20", "--corpus", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("120 mutants")
    assert " 0 accepted" not in done.stdout
    assert " 0 refused" not in done.stdout


def test_what_misbehaves_is_found() -> None:
    done = _run("fuzz.broken")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    endings = {name: ending for name, (ending, _) in found.items()}
    assert endings == dict.fromkeys(found, "finding") | {"succeeds": "accepted", "refuses": "refused"}
    assert "ZeroDivisionError" in found["divides_by_zero"][1]
    assert "SIGSEGV" in found["crashes"][1]
    assert "_TooLongError" in found["hangs"][1]


def test_a_mutant_is_its_numbers() -> None:
    assert [mutant(1, index) for index in range(20)] == [mutant(1, index) for index in range(20)]
    assert mutant(1, 0) != mutant(2, 0)


@pytest.mark.parametrize(("form", "name"), [(form, name) for form in FORMATS for name in (*form.structured, *form.raw)])
def test_every_mutation_changes_something(form: Format, name: str) -> None:
    seeds = form.seeds()
    quantized = [data for data in seeds if b"microlith." in data]
    for seed in (seeds[0], seeds[-1], *quantized[:1]):
        unchanged = form.serialize(form.parse(seed))
        if any(rebuild(form, seed, [(name, number)]) not in (seed, unchanged) for number in range(20)):
            return
    pytest.fail(f"{name} changed nothing")


def test_c_of_mutants() -> None:
    done = _run("fuzz.compiled_mutants", "--seed", "3", "--count", "6")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("6 models")
