"""The planner against the independent checker and the live-bytes bound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.compile.arena import Overlap, Pin, plan_arena
from microlith.compile.check_plan import check_plan
from microlith.program.types import Buffer, Lifetime, Program


def _program(buffers: list[Buffer], **plan: object) -> Program:
    return Program("net", (), {item.id: item for item in buffers}, {}, {}, **plan)


@st.composite
def _buffers(draw: st.DrawFn) -> list[Buffer]:
    count = draw(st.integers(1, 12))
    items = []
    for index in range(count):
        first = draw(st.integers(-1, 8))
        last = draw(st.integers(first, 9))
        align = draw(st.sampled_from([1, 4, 16]))
        items.append(Buffer(f"b{index}", draw(st.integers(1, 200)), align, "arena", Lifetime(first, last)))
    return items


@settings(deadline=None, max_examples=100)
@given(_buffers(), st.data())
def test_plans_are_sound_and_not_below_the_bound(buffers: list[Buffer], data: st.DataObject) -> None:
    pairs = [
        Overlap(out.id, into.id, data.draw(st.sampled_from([-24, 0, 8])), data.draw(st.sampled_from([1, 4, 12, 40])))
        for out in buffers
        for into in buffers
        if out is not into and into.lifetime.last == out.lifetime.first and data.draw(st.booleans())
    ]
    plan = plan_arena(buffers, overlaps=pairs)
    check_plan(_program(buffers, offsets=plan.offsets, spaces=plan.spaces), pairs)
    assert plan.spaces["arena"] >= plan.bounds["arena"]


def test_buffers_of_one_step_lie_apart_and_dead_ones_are_reused() -> None:
    buffers = [
        Buffer("a", 100, 16, "arena", Lifetime(-1, 0)),
        Buffer("b", 60, 16, "arena", Lifetime(0, 1)),
        Buffer("c", 100, 16, "arena", Lifetime(1, 2)),
    ]
    plan = plan_arena(buffers)
    assert plan.offsets == {"a": 64, "b": 0, "c": 64}
    assert plan.bounds["arena"] == 164
    assert plan.spaces["arena"] == 164


def test_spaces_are_planned_apart() -> None:
    buffers = [Buffer("a", 10, 1, "fast", Lifetime(0, 1)), Buffer("b", 20, 1, "slow", Lifetime(0, 1))]
    plan = plan_arena(buffers)
    assert plan.spaces == {"fast": 10, "slow": 20}
    assert plan.offsets == {"a": 0, "b": 0}


def test_pins_hold() -> None:
    buffers = [Buffer("a", 16, 4, "arena", Lifetime(0, 1)), Buffer("b", 16, 4, "arena", Lifetime(0, 1))]
    plan = plan_arena(buffers, pins=[Pin("a", 8)])
    assert plan.offsets == {"a": 8, "b": 24}


@pytest.mark.parametrize(
    ("offsets", "used", "message"),
    [
        ({"a": 0, "b": 8}, 64, "share bytes"),
        ({"a": 0, "b": 50}, 64, "outside"),
        ({"a": 2, "b": 32}, 64, "aligned"),
    ],
)
def test_checker_sees_wrong_plans(offsets: dict[str, int], used: int, message: str) -> None:
    buffers = [Buffer("a", 16, 4, "arena", Lifetime(0, 1)), Buffer("b", 16, 2, "arena", Lifetime(1, 2))]
    with pytest.raises(AssertionError, match=message):
        check_plan(_program(buffers, offsets=offsets, spaces={"arena": used}), [])


def test_checker_holds_an_overlap_to_its_lead() -> None:
    buffers = [Buffer("out", 16, 1, "arena", Lifetime(1, 2)), Buffer("in", 16, 1, "arena", Lifetime(0, 1))]
    pair = [Overlap("out", "in", 4)]
    check_plan(_program(buffers, offsets={"out": 0, "in": 4}, spaces={"arena": 20}), pair)
    with pytest.raises(AssertionError, match="share bytes"):
        check_plan(_program(buffers, offsets={"out": 0, "in": 3}, spaces={"arena": 20}), pair)


def test_planner_and_checker_hold_an_overlap_to_its_multiple() -> None:
    buffers = [
        Buffer("before", 20, 1, "arena", Lifetime(0, 1)),
        Buffer("in", 48, 16, "arena", Lifetime(0, 1)),
        Buffer("out", 48, 16, "arena", Lifetime(1, 2)),
    ]
    pair = [Overlap("out", "in", -48, 12)]
    plan = plan_arena(buffers, overlaps=pair, pins=[Pin("before", 0)])
    assert plan.offsets["in"] == plan.offsets["out"]
    near = {"before": 100, "in": 0, "out": 16}
    with pytest.raises(AssertionError, match="share bytes"):
        check_plan(_program(buffers, offsets=near, spaces={"arena": 128}), pair)
    check_plan(_program(buffers, offsets=near | {"out": 48}, spaces={"arena": 128}), pair)
