"""The choice over all calls at once: against every combination, under limits of flash and RAM."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from microlith.compile.candidates import Candidate, Choices
from microlith.compile.choose import Goal, choose, flash_bytes, trades
from microlith.program.types import OpCall

SIZES = {"a": 700, "b": 300, "c": 900, "d": 450}


def candidate(
    code: str, cycles: float, const_bytes: int, scratch: int = 0, const: str = "", stores_more: bool = False
) -> Candidate:
    parts = {("code", code): SIZES[code], ("const", const or object()): const_bytes}
    kernel = SimpleNamespace(name=code, rounds_more=False, stores_more=stores_more)
    call = OpCall("conv2d", None, (), (), kernel=code, schedule="default")
    return Candidate(call, kernel, cycles, False, None, const_bytes, parts, scratch)  # type: ignore[arg-type]


def drawn(rng: np.random.Generator, count: int) -> list[Choices]:
    layers = []
    for _ in range(count):
        codes = rng.permutation(list(SIZES))[: rng.integers(1, 4)]
        made = [
            candidate(str(code), float(rng.integers(1, 100)), int(rng.integers(100, 2000)), int(rng.integers(0, 50)))
            for code in codes
        ]
        layers.append(Choices(OpCall("conv2d", None, (), ()), tuple(made), {}))
    return layers


def no_peak(chosen: object) -> tuple[int, int]:
    raise AssertionError("RAM is not limited")


def cycles(chosen: tuple[Candidate, ...]) -> float:
    return sum(item.cycles for item in chosen)


@pytest.mark.parametrize("seed", range(6))
def test_no_combination_is_better(seed: int) -> None:
    layers = drawn(np.random.default_rng(seed), 5)
    every = list(product(*(layer.candidates for layer in layers)))
    least, most = (pick(map(flash_bytes, every)) for pick in (min, max))
    for limit in (least, (least + most) // 2, (3 * least + most) // 4, most):
        chosen = choose(layers, Goal("speed", flash_bytes=limit), no_peak)
        assert flash_bytes(chosen) <= limit
        assert cycles(chosen) == min(cycles(found) for found in every if flash_bytes(found) <= limit)
    smallest = choose(layers, Goal("size"), no_peak)
    assert flash_bytes(smallest) == least
    assert cycles(smallest) == min(cycles(found) for found in every if flash_bytes(found) == least)
    assert choose(layers, Goal("speed", flash_bytes=least - 1), no_peak) == smallest


def test_shared_code_is_paid_once() -> None:
    """Two calls that share an instance outweigh the faster instances of their own."""
    layers = [
        Choices(OpCall("", None, (), ()), (candidate(own, 9, 10), candidate("a", 10, 10)), {}) for own in ("c", "d")
    ]
    assert [item.name for item in choose(layers, Goal("speed", flash_bytes=800), no_peak)] == ["a", "a"]
    assert [item.name for item in choose(layers, Goal("speed"), no_peak)] == ["c", "d"]


def test_balanced_takes_a_quarter_more_constants_and_no_more() -> None:
    def layer(const_bytes: int) -> list[Choices]:
        made = (candidate("a", 50, 4000), candidate("b", 10, const_bytes))
        return [Choices(OpCall("", None, (), ()), made, {})]

    assert choose(layer(5256), Goal(), no_peak)[0].name == "b"
    assert choose(layer(5257), Goal(), no_peak)[0].name == "a"
    assert choose(layer(5257), Goal("speed"), no_peak)[0].name == "b"


def test_weights_of_more_bytes_are_for_speed_and_are_offered_with_their_price() -> None:
    plain, wide = candidate("b", 50, 100), candidate("d", 10, 200, stores_more=True)
    layers = [Choices(OpCall("", None, (), ()), (plain, wide), {})]
    for opt, chosen in (("size", plain), ("balanced", plain), ("speed", wide)):
        (found,) = choose(layers, Goal(opt), no_peak)  # type: ignore[arg-type]
        assert found.name == chosen.name
        (trade,) = trades(layers, (found,))
        assert (trade.kernel, trade.cycles, trade.taken) == ("d", 40, opt == "speed")
        assert trade.flash_bytes == 100 + SIZES["d"] - SIZES["b"]


def test_ram_takes_the_scratch_where_the_peak_is() -> None:
    def peak(chosen: tuple[Candidate, ...]) -> tuple[int, int]:
        alive = [100 + chosen[0].scratch_bytes, 40 + chosen[1].scratch_bytes]
        return max(alive), alive.index(max(alive))

    layer = Choices(OpCall("", None, (), ()), (candidate("a", 10, 10, 60), candidate("b", 30, 10, 20)), {})
    for limit, names in ((160, ["a", "a"]), (159, ["b", "a"]), (99, ["b", "a"])):
        chosen = choose([layer, layer], Goal("speed", ram_bytes=limit), peak)  # type: ignore[arg-type]
        assert [item.name for item in chosen] == names


def test_trades_give_the_price_with_all_else_as_it_is() -> None:
    fast, slow = candidate("c", 10, 4000, 8), candidate("a", 50, 1000, 2)
    other = candidate("c", 5, 100)
    layers = [Choices(OpCall("", None, (), ()), items, {}) for items in ((slow, fast), (other,))]
    (offer,) = trades(layers, (slow, other))
    # The code of c is there already, for the other call; that of a would no longer be needed.
    assert (offer.kernel, offer.against, offer.taken) == ("c", "a", False)
    assert (offer.cycles, offer.flash_bytes, offer.scratch_bytes) == (40, 3000 - SIZES["a"], 6)
    (paid,) = trades(layers, (fast, other))
    assert (paid.kernel, paid.against, paid.taken) == ("c", "a", True)
    assert (paid.cycles, paid.flash_bytes, paid.scratch_bytes) == (40, 3000 - SIZES["a"], 6)
