"""The result line that the self-test prints, from the emulator or from a real board."""

from __future__ import annotations

import re
from dataclasses import dataclass

from microlith.core.errors import InputError

_LINE = re.compile(
    r"microlith-selftest name=(?P<name>[a-z][a-z0-9_]*) hash=(?P<hash>[0-9a-f]{16}) vectors=(?P<vectors>\d{1,9}) "
    r"mismatches=(?P<mismatches>\d{1,10}) cycles=(?P<cycles>\d{1,10})(?P<error> error=1)?\s*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class SelftestResult:
    """What a self-test said.

    Attributes:
        name: of the library.
        hash: first 16 hexadecimal digits of the artifact's hash.
        vectors: golden vectors that it holds.
        mismatches: output elements that differ.
        cycles: of the last vector by the core's counter; 0 where there is none.
        failed: whether the library refused to run.
    """

    name: str
    hash: str
    vectors: int
    mismatches: int
    cycles: int
    failed: bool

    @property
    def passed(self) -> bool:
        """Whether every vector ran and gave what it should."""
        return not self.failed and self.mismatches == 0 and self.vectors > 0


def parse_log(text: str) -> SelftestResult:
    """The last result line of a log; other lines are passed over.

    Raises:
        InputError: there is none.
    """
    found = list(_LINE.finditer(text.replace("\r", "")))
    if not found:
        raise InputError(
            "the log has no line that begins with 'microlith-selftest name='",
            hint="Run out/selftest on the board and save what it prints.",
        )
    last = found[-1]
    return SelftestResult(
        last["name"],
        last["hash"],
        int(last["vectors"]),
        int(last["mismatches"]),
        int(last["cycles"]),
        last["error"] is not None,
    )


def check_log(text: str, artifact_hash: str) -> SelftestResult:
    """The result of a log that belongs to this artifact.

    Raises:
        InputError: there is no result line, or it is another artifact's.
    """
    result = parse_log(text)
    if not artifact_hash.startswith(result.hash):
        raise InputError(
            f"the log is of artifact {result.hash}, not of this one ({artifact_hash[:16]})",
            hint="Build and run the selftest directory of this artifact.",
        )
    return result
