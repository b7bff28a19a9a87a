"""The order of calls: dependencies hold, and the peak is never above the given order's."""

from __future__ import annotations

from microlith.compile.order import order_calls
from microlith.program.types import Buffer, Lifetime, OpCall, View, contiguous


def _buffer(name: str, size: int) -> Buffer:
    return Buffer(name, size, 1, "arena", Lifetime(0, 0))


def _view(name: str, size: int) -> View:
    return View(name, name, 0, (size,), contiguous((size,)), (0,), "s8")


def _order(sizes: dict[str, int], calls: list[tuple[str, str, str]], outputs: list[str]) -> list[str]:
    """``calls`` are (name, operands separated by blanks, result)."""
    views = {name: _view(name, size) for name, size in sizes.items()}
    buffers = {name: _buffer(name, size) for name, size in sizes.items()}
    ops = [OpCall(name, None, tuple(reads.split()), (write,)) for name, reads, write in calls]
    return [ops[index].op for index in order_calls(ops, views, buffers, outputs).order]


def test_branch_that_frees_most_is_finished_first() -> None:
    sizes = {"x": 10, "big": 100, "small": 5, "other": 100, "tiny": 5, "y": 10}
    calls = [
        ("widen_a", "x", "big"),
        ("widen_b", "x", "other"),
        ("shrink_a", "big", "small"),
        ("shrink_b", "other", "tiny"),
        ("join", "small tiny", "y"),
    ]
    order = _order(sizes, calls, ["y"])
    assert order in (
        ["widen_a", "shrink_a", "widen_b", "shrink_b", "join"],
        ["widen_b", "shrink_b", "widen_a", "shrink_a", "join"],
    )


def test_given_order_stays_where_greed_would_cost_more() -> None:
    sizes = {"x": 4, "a": 4, "y": 4}
    assert _order(sizes, [("first", "x", "a"), ("second", "a", "y")], ["y"]) == ["first", "second"]


def test_calls_that_assemble_one_buffer_keep_their_order() -> None:
    sizes = {"x": 8, "y": 16}
    calls = [("fill", "", "y"), ("copy", "x", "y"), ("copy_again", "x", "y")]
    assert _order(sizes, calls, ["y"]) == ["fill", "copy", "copy_again"]
