from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from microlith.graph.minimum_cut import Network

NODES = range(6)


@given(edges=st.dictionaries(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), st.integers(0, 9), max_size=14))
def test_against_every_division(edges):
    network = Network()
    for (tail, head), capacity in edges.items():
        network.add(tail, head, capacity)

    def price(side):
        return sum(capacity for (tail, head), capacity in edges.items() if tail in side and head not in side)

    others = [node for node in NODES if node not in (0, 5)]
    choices = [{0, *some} for count in range(5) for some in itertools.combinations(others, count)]
    least = min(map(price, choices))
    network.add(0, 5, 0)
    found = network.source_side(0, 5)
    assert price(found) == least
    assert all(found <= side for side in choices if price(side) == least)
