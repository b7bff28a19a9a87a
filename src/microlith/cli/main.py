"""``microlith``: commands, options, and what becomes of an error."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import NoReturn

from microlith.core.errors import ExitCode, MicrolithError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    # A terminal that cannot show a character gets a question mark, not an error.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        _invoke(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except MicrolithError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; nothing is half-written, and what was scored or counted is kept", 130)
    except BrokenPipeError:
        # The reader of a pipe has seen enough; nothing more can be written to it, not even by the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
    except Exception as error:
        _usage_or_bug(error)
    sys.exit(ExitCode.OK)


def _invoke(arguments: list[str]) -> None:
    """Parse and run a command; its errors come out as they are, which typer's own ``main`` would not let them."""
    import typer.main

    from microlith.cli.commands import app
    from microlith.cli.deferred import defer

    defer()
    with typer.main.get_command(app).make_context("microlith", list(arguments)) as context:
        context.command.invoke(context)


def _usage_or_bug(error: Exception) -> NoReturn:
    import typer

    if isinstance(error, typer.Exit):
        sys.exit(error.exit_code)
    # typer carries a parser of its own or uses click, by its version; the base class of usage errors is this one.
    usage = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    if isinstance(error, usage):
        error.show(file=sys.stderr)  # type: ignore[attr-defined]
        sys.exit(ExitCode.USER)
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f": {error.filename}" if error.filename else ""
        _fail(f"the system refuses: {error.strerror}{where}", ExitCode.USER)
    traceback.print_exc()
    _fail("this is a bug in microlith; please report it with the lines above", ExitCode.BUG)


def _fail(message: str, code: int) -> NoReturn:
    from microlith.report.format import clean_lines
    from microlith.report.names import shorten_in

    print(f"microlith: {shorten_in(clean_lines(message))}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    run()
