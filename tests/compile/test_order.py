"""The order of calls: dependencies hold, and the peak is never above the given order's."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.compile import order as ordering
from microlith.compile.arena import Overlap
from microlith.compile.order import Need, order_calls
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


def _schedule(
    sizes: list[int], edges: list[tuple[int, ...]]
) -> tuple[list[OpCall], dict[str, View], dict[str, Buffer]]:
    """Calls of which each writes one tensor and reads those of earlier ones."""
    views = {f"t{index}": _view(f"t{index}", size) for index, size in enumerate(sizes)}
    buffers = {name: _buffer(name, view.size) for name, view in views.items()}
    ops = [
        OpCall(f"op{index}", None, tuple(f"t{item}" for item in reads), (f"t{index}",))
        for index, reads in enumerate(edges)
    ]
    return ops, views, buffers


@st.composite
def _networks(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, ...]], list[tuple[int, int]]]:
    count = draw(st.integers(1, 6))
    sizes = draw(st.lists(st.integers(1, 50), min_size=count, max_size=count))
    edges = [
        tuple(sorted(draw(st.sets(st.integers(0, index - 1), max_size=3)))) if index else () for index in range(count)
    ]
    over = [(index, item) for index, reads in enumerate(edges) for item in reads if draw(st.booleans())]
    return sizes, edges, over


def _peak(sizes: list[int], edges: list[tuple[int, ...]], over: list[tuple[int, int]], order: Sequence[int]) -> int:
    """Most live bytes, counted anew for each step."""
    worst = 0
    last = len(sizes) - 1
    for position, index in enumerate(order):
        done, later = set(order[:position]), set(order[position + 1 :])
        wanted = {item for user in later for item in edges[user]} | {last}
        live = {item for item in done if item in wanted or item in edges[index]} | {index}
        dying = [item for item in edges[index] if item not in wanted and (index, item) in over]
        shared = min(sizes[index], sum(min(sizes[index], sizes[item]) for item in dying))
        worst = max(worst, sum(sizes[item] for item in live) - shared)
    return worst


@settings(deadline=None, max_examples=200)
@given(_networks())
def test_no_order_peaks_lower(network: tuple[list[int], list[tuple[int, ...]], list[tuple[int, int]]]) -> None:
    sizes, edges, over = network
    ops, views, buffers = _schedule(sizes, edges)
    pairs = [
        tuple(Overlap(f"t{out}", f"t{into}", 0) for out, into in over if out == index) for index in range(len(ops))
    ]
    found = order_calls(ops, views, buffers, [f"t{len(ops) - 1}"], needs=[Need(overlaps=item) for item in pairs])
    possible = [
        order
        for order in itertools.permutations(range(len(ops)))
        if all(order.index(item) < order.index(index) for index, reads in enumerate(edges) for item in reads)
    ]
    assert found.order in possible
    # A tensor that nobody reads is freed with the call that writes it.
    assert found.peak_bytes == found.bound_bytes == min(_peak(sizes, edges, over, order) for order in possible)


def test_a_search_that_is_cut_short_tells_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [10, *[100, 5] * 6, 10]
    edges: list[tuple[int, ...]] = [()]
    for index in range(6):
        edges += [(0,), (2 * index + 1,)]
    edges.append(tuple(range(2, 13, 2)))
    ops, views, buffers = _schedule(sizes, edges)
    whole = order_calls(ops, views, buffers, ["t13"])
    monkeypatch.setattr(ordering, "WORK", 30)
    short = order_calls(ops, views, buffers, ["t13"])
    assert whole.bound_bytes == whole.peak_bytes
    assert short.bound_bytes <= whole.peak_bytes <= short.peak_bytes


@pytest.mark.parametrize("reads", [lambda index: (index - 1,), lambda index: (0,), lambda index: (0, index - 1)])
def test_work_grows_with_the_calls_and_not_with_their_square(
    reads: Callable[[int], tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 3000
    edges = [(), *(reads(index) for index in range(1, count))]
    ops, views, buffers = _schedule([4] * count, edges)
    steps = Counter[str]()
    step = ordering._Schedule.step

    def counted(self: ordering._Schedule, done: int, live: int, index: int) -> tuple[int, int]:
        steps["taken"] += 1
        return step(self, done, live, index)

    monkeypatch.setattr(ordering._Schedule, "step", counted)
    found = order_calls(ops, views, buffers, [f"t{index}" for index in range(count)])
    assert found.peak_bytes == 4 * count
    assert steps["taken"] < 12 * count
