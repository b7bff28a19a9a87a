"""What one sees before anything runs."""

from __future__ import annotations

import re

import pytest

import microlith
from cli.running import Cli
from microlith.cli.apply import OTHERS
from microlith.cli.commands import ORDER
from microlith.techniques import TECHNIQUES

APPLY = ("ptq", "recipe", *(name for name, *_ in OTHERS))


def test_microlith_alone_shows_help(cli: Cli) -> None:
    alone, asked = cli(), cli("--help")
    assert (alone.code, alone.err) == (0, "")
    assert alone.out == asked.out
    positions = [re.search(rf"^  {name} ", alone.out, re.MULTILINE) for name in ORDER]
    assert all(positions)
    assert [match.start() for match in positions if match] == sorted(match.start() for match in positions if match)


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"microlith {microlith.__version__}\n"


@pytest.mark.parametrize(
    "command", [*([name] for name in ORDER if name != "apply"), *(["apply", name] for name in APPLY)]
)
def test_every_command_has_a_short_page_with_examples(cli: Cli, command: list[str]) -> None:
    page = cli(*command, "--help")
    assert (page.code, page.err) == (0, "")
    assert f"Usage: microlith {' '.join(command)}" in page.out
    examples = page.out.partition("Examples:\n")[2].splitlines()
    assert examples and all(line.startswith(f"    microlith {' '.join(command)}") for line in examples)
    assert len(page.out.splitlines()) < 100


def test_apply_alone_lists_the_techniques(cli: Cli) -> None:
    page = cli("apply")
    assert page.code == 0
    assert all(re.search(rf"^  {name} ", page.out, re.MULTILINE) for name in APPLY)
    assert set(APPLY) == {"recipe", *(item.name for item in TECHNIQUES)}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["optimise"], "Did you mean 'optimize'?"),
        (["apply", "equalise"], "Did you mean 'equalize'?"),
        (["check", "net.onnx", "--device", "nrf52480"], "Did you mean nrf52840"),
        (["check", "net.onnx", "--devce", "nrf52840"], "--device"),
    ],
)
def test_a_close_match_is_named(cli: Cli, words: list[str], hint: str) -> None:
    done = cli(*words)
    assert (done.code, done.out) == (2, "")
    assert hint in done.err
