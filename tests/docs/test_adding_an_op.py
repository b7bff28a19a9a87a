"""What CONTRIBUTING.md says adds an op does add it: its files and its one line, in a copy of the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text().partition("### an op\n")[2].partition("\n### ")[0]
NEW = re.findall(r"^(\S+):\n\n```\w+\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^The line of `(\w+)` in `(\S+)`:\n\n```\w+\n(.*\n)```", re.MULTILINE)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources and tests with the op."""
    root: Path = tmp_path_factory.mktemp("copy")
    unwanted = shutil.ignore_patterns("__pycache__", "corpus")
    for name in ("src", "tests", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", root)
    for path, content in NEW:
        assert not (root / path).exists()
        (root / path).write_text(content)
    ((table, path, line),) = LINE.findall(TEXT)
    before = (root / path).read_text()
    assert before.count(f"\n{table} = (\n") == 1
    (root / path).write_text(before.replace(f"\n{table} = (\n", f"\n{table} = (\n{line}"))
    return root


def run(copy: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_files_and_one_line():
    assert [Path(path).suffix for path, _ in NEW] == [".py", ".h", ".py"]
    assert len(LINE.findall(TEXT)) == 1


def test_the_op_runs_quantizes_and_compiles(copy):
    checks = ("every_kernel_has_a_name", "headers_are_free_standing", "compiled_equals_reference", "is_refused")
    printed = run(
        copy,
        *(
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/ops/test_bend.py",
            "tests/kernels/test_descriptors.py",
        ),
        *("-k", " or ".join(checks)),
    )
    assert re.search(r"\b4 passed", printed)


def test_the_op_is_documented(copy):
    run(copy, "tests/docs/operators_page.py")
    page = (copy / "docs" / "operators.md").read_text()
    assert (
        "| Bend | com.example | yes | yes | no: it has no form there | Bend: ``x / (1 + strength * |x|)``. |".replace(
            "|x|", "/x/"
        )
        in page
    )


def test_the_new_files_are_as_the_others(copy):
    files = [path for path, _ in NEW if path.endswith(".py")]
    for arguments in (("check",), ("format", "--check")):
        run(copy, "-m", "ruff", *arguments, *files)
