"""The result line of a self-test."""

from __future__ import annotations

import pytest

from microlith.core.errors import InputError
from microlith.verify.board_log import check_log, parse_log

HASH = "0123456789abcdef"
LINE = f"microlith-selftest name=net hash={HASH} vectors=2 mismatches=0 cycles=123456"


def test_the_last_line_counts_and_others_are_passed_over() -> None:
    log = f"boot\r\n{LINE.replace('123456', '1')}\r\nnoise\r\n{LINE}\r\n"
    result = parse_log(log)
    assert (result.name, result.hash, result.vectors, result.cycles) == ("net", HASH, 2, 123456)
    assert result.passed


@pytest.mark.parametrize(
    "line", [LINE.replace("mismatches=0", "mismatches=3"), LINE + " error=1", LINE.replace("vectors=2", "vectors=0")]
)
def test_results_that_are_no_success(line: str) -> None:
    assert not parse_log(line).passed


@pytest.mark.parametrize("log", ["", "hello", LINE.replace("cycles=123456", "cycles="), LINE.replace(HASH, "xyz")])
def test_logs_without_a_result_are_refused(log: str) -> None:
    with pytest.raises(InputError, match="no line that begins"):
        parse_log(log)


def test_log_of_another_artifact_is_refused() -> None:
    assert check_log(LINE, HASH + "f" * 48).passed
    with pytest.raises(InputError, match="not of this one"):
        check_log(LINE, "f" * 64)
