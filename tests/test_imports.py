"""What importing microlith and asking it for help may load: start-up time is part of the interface."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

HELP = """
import contextlib, sys
sys.argv = ["microlith", *{arguments}]
from microlith.cli.main import run
with contextlib.suppress(SystemExit):
    run()
assert sys.modules["microlith.cli.main"]
"""
PRINT_MODULES = """
import json, sys
print()
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
TERMINAL = {
    "typer",
    "click",
    "rich",
    "shellingham",
    "markdown_it",
    "mdurl",
    "pygments",
    "annotated_doc",
    "typing_extensions",
}
# Typer checks the values of a command's options with these.
VALUES = {"pydantic", "pydantic_core", "annotated_types", "typing_inspection"}


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after ``code``."""
    done = subprocess.run([sys.executable, "-c", code + PRINT_MODULES], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def third_party(code: str) -> set[str]:
    """Packages of installed distributions, microlith aside, that ``code`` loads."""
    installed = {name for name, owners in packages_distributions().items() if owners != ["microlith"]}
    return (loaded_after(code) - loaded_after("")) & installed


def test_import_microlith_loads_no_other_package():
    assert third_party("import microlith\n") == set()


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [(["--help"], TERMINAL), (["optimize", "--help"], TERMINAL | VALUES), (["check", "--help"], TERMINAL | VALUES)],
)
def test_help_loads_what_draws_on_the_terminal_and_nothing_else(arguments, allowed):
    loaded = third_party(HELP.format(arguments=arguments))
    assert "typer" in loaded
    assert loaded <= allowed


def test_a_command_loads_sympy_only_where_a_shape_has_a_name():
    code = """
import sys
from microlith.cli.deferred import defer
defer()
import microlith.api, onnx_ir
assert "sympy.core" not in sys.modules
assert str(onnx_ir.SymbolicDim("N") + 1) == "N + 1"
assert "sympy.core" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
