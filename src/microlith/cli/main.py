"""``microlith``: commands, options, and what becomes of an error."""

from __future__ import annotations

import os
import sys
import traceback

from microlith.core.errors import ExitCode, MicrolithError


def run(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    from microlith.cli.commands import app

    try:
        app(args=arguments, prog_name="microlith", standalone_mode=False)
    except MicrolithError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; what was computed so far is kept, and the same command goes on from there", 130)
    except BrokenPipeError:
        # The reader of a pipe has seen enough; nothing more can be written to it, not even by the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
    except SystemExit:
        raise
    except Exception as error:
        _usage_or_bug(error)


def _usage_or_bug(error: Exception) -> None:
    import click

    if isinstance(error, click.exceptions.Abort):
        _fail("interrupted", ExitCode.INTERRUPTED)
    if isinstance(error, click.exceptions.Exit):
        sys.exit(error.exit_code)
    if isinstance(error, click.ClickException):
        error.show(file=sys.stderr)
        sys.exit(ExitCode.USER)
    traceback.print_exc()
    _fail("this is a bug in microlith; please report it with the lines above", ExitCode.BUG)


def _fail(message: str, code: int) -> None:
    from microlith.report.format import clean_lines

    print(f"microlith: {clean_lines(message)}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    run()
