"""The cheapest way to divide a network in two.

Source: Ford and Fulkerson, Maximal Flow Through a Network, Canadian Journal of Mathematics 8, 1956; shortest augmenting
paths after Edmonds and Karp, Journal of the ACM 19(2), 1972.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

UNBOUNDED = 1 << 62


class Network:
    """A directed network with capacities; add edges, then ask for the cut once."""

    def __init__(self) -> None:
        self._left: dict[Hashable, dict[Hashable, int]] = {}

    def add(self, tail: Hashable, head: Hashable, capacity: int) -> None:
        """An edge; capacities of parallel edges add up."""
        out = self._left.setdefault(tail, {})
        out[head] = min(UNBOUNDED, out.get(head, 0) + capacity)
        self._left.setdefault(head, {}).setdefault(tail, 0)

    def source_side(self, source: Hashable, sink: Hashable) -> set[Hashable]:
        """Of all cheapest cuts, the smallest set that holds ``source``; uses the network up."""
        self._left.setdefault(source, {})
        while True:
            parent = self._search(source, sink)
            if sink not in parent:
                return set(parent)
            path = [sink]
            while path[-1] != source:
                path.append(parent[path[-1]])
            steps = list(zip(path[1:], path, strict=False))
            flow = min(self._left[tail][head] for tail, head in steps)
            for tail, head in steps:
                self._left[tail][head] -= flow
                self._left[head][tail] += flow

    def _search(self, source: Hashable, sink: Hashable) -> dict[Hashable, Hashable]:
        parent: dict[Hashable, Hashable] = {source: source}
        queue = deque([source])
        while queue:
            tail = queue.popleft()
            for head, capacity in self._left[tail].items():
                if capacity > 0 and head not in parent:
                    parent[head] = tail
                    if head == sink:
                        return parent
                    queue.append(head)
        return parent
