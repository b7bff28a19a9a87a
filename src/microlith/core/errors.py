"""The errors of the whole project: one base class, one exit code each."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    BUG = 1
    USER = 2
    BUDGET_UNMET = 3
    VERIFICATION_FAILED = 4
    INTERRUPTED = 130


_LONGEST = 2000


def _abridged(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"


def _message(what: str | None, node: str | None, hint: str | None) -> str:
    where = f" (node {node})" if node else ""
    advice = f"\n  {hint}" if hint else ""
    return f"{what}{where}{advice}"


class MicrolithError(Exception):
    """Base of every error that is raised on purpose.

    Args:
        what: what was got and what was expected, in one sentence.
        node: name and op of the graph node concerned, if one is.
        hint: what the user can do about it, as an imperative sentence.
    """

    exit_code = ExitCode.USER

    def __init__(self, what: str, *, node: str | None = None, hint: str | None = None) -> None:
        self.what = what
        self.node = node
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        return _message(self.what, self.node, self.hint)


class InputError(MicrolithError):
    """A file, an argument or data that cannot be used as given."""


class ModelError(InputError):
    """A model that cannot be used as it is: malformed, incomplete, or one that contradicts itself.

    Whatever the content of a model file makes loading, checking, quantizing or compiling refuse is one of these. Names
    in a file can be of any length, so what is too long for a message is cut in its middle.
    """

    def __str__(self) -> str:
        return _message(*(None if text is None else _abridged(text) for text in (self.what, self.node, self.hint)))


class UnsupportedError(ModelError):
    """A well-formed model, or step for it, that this version cannot do; the reason is the message."""


class ToolchainError(MicrolithError):
    """A compiler is missing, or refused the sources."""


class RunError(MicrolithError):
    """A compiled artifact crashed, faulted or hung while it ran."""


class BudgetUnmetError(MicrolithError):
    """No artifact meets the budget; the message says which line and by how much."""

    exit_code = ExitCode.BUDGET_UNMET


class TimeLimitError(RunError):
    """A compiled artifact ran for longer than it was given, without a fault."""


class VerificationError(MicrolithError):
    """Two executors that must agree do not."""

    exit_code = ExitCode.VERIFICATION_FAILED
