"""Every command that README.md and the README.md of an example show is run, and prints what they say it prints.

A ``console`` fence holds commands after ``$ `` and, below each, its output. Output is compared as doctest does with
ELLIPSIS and NORMALIZE_WHITESPACE: ``...`` stands for what differs from run to run, such as times. A command without
output below it must only succeed. A ``python`` fence must run. All run in one directory, in order.

Commands of ``make``, ``git`` and ``pip`` set up what these tests run in: they are not run from here.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
EXAMPLE = ROOT / "examples" / "streaming" / "README.md"
FENCE = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETUP = ("make", "git", "pip", "cd")
COMPARE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Shown:
    """A command or a script, and the output shown below it (empty: not compared)."""

    argv: tuple[str, ...]
    output: str
    title: str


def shown(text: str) -> list[Shown]:
    """What the fences of a document show, in order."""
    found = []
    for language, body in FENCE.findall(text):
        if language == "python":
            found.append(Shown((sys.executable, "-c", body), "", body.strip().splitlines()[0]))
            continue
        for block in re.split(r"^\$ ", body.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            command, _, output = block.partition("\n")
            if command.split()[0] not in SETUP:
                found.append(Shown(("bash", "-euc", command), output, command))
    return found


def environment() -> dict[str, str]:
    """Variables of a command that is shown: 100 columns wide, and the commands of this interpreter first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1"}


@pytest.mark.mcu
@pytest.mark.parametrize("document", [README, EXAMPLE], ids=["README", "streaming"])
def test_every_command_runs_and_prints_what_is_shown(tmp_path, document):
    commands = shown(document.read_text())
    assert commands, f"{document} shows no command"
    for script in document.parent.glob("*.py"):
        shutil.copy(script, tmp_path)
    for command in commands:
        done = subprocess.run(command.argv, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, f"{command.title}\n{done.stdout}\n{done.stderr}"
        missing = missing_lines(command.output, done.stdout)
        assert missing == [], (
            f"{command.title}\nprinted\n{done.stdout}\nTo show that: python tests/docs/refresh_readme.py"
        )


def missing_lines(shown_output: str, printed: str) -> list[str]:
    """The shown lines from the first one on that is not printed where it should be; none where all is as shown."""
    lines = shown_output.strip().splitlines()
    for count in range(len(lines) + 1):
        rest = "" if count == len(lines) or not lines else "\n..."
        start = "\n".join(lines[:count]) + rest
        if count and not doctest.OutputChecker().check_output(start + "\n", printed, COMPARE):
            return lines[count - 1 :]
    return []


def test_commands_and_their_output_are_told_apart():
    text = "```console\n$ make demo\n$ echo a \\\n  b\na b\n$ true\n```\n\n```python\nprint(1)\n```\n```sh\n$ no\n```\n"
    assert [(command.title, command.output) for command in shown(text)] == [
        ("echo a    b", "a b\n"),
        ("true", ""),
        ("print(1)", ""),
    ]


@pytest.mark.parametrize(
    ("shown_output", "printed", "missing"),
    [
        ("", "anything", []),
        ("a  b\n", "a b\n", []),
        ("a\n...\nd\n", "a\nb\nc\nd\n", []),
        ("took ... s", "took 3.1 s\n", []),
        ("a\nb\nc", "a\nx\nc\n", ["b", "c"]),
        ("a", "a\nb", ["a"]),
    ],
)
def test_output_is_compared_but_for_what_an_ellipsis_stands_for(shown_output, printed, missing):
    assert missing_lines(shown_output, printed) == missing
