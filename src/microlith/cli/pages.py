"""What help pages have in common."""

from __future__ import annotations

import typer


def examples(*commands: str) -> str:
    """The end of a help page; the first line keeps the line breaks."""
    return "\b\nExamples:\n" + "\n".join(f"  microlith {command}" for command in commands)


def help_if_alone(context: typer.Context) -> None:
    """Print the help page of a group that is called without a command."""
    if context.invoked_subcommand is None:
        print(context.get_help())
