"""Layout arithmetic: which order of bytes a tensor has, and when two orders are the same.

A layout is a permutation: ``layout[i]`` is the graph axis that physical axis ``i`` holds. Axes of extent 1 do not move
any byte, so layouts are compared without them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Layout = tuple[int, ...]


def identity(rank: int) -> Layout:
    """The graph's own order."""
    return tuple(range(rank))


def channels_last(rank: int) -> Layout:
    """N, spatial axes, C for a graph order of N, C, spatial axes."""
    return (0, *range(2, rank), 1) if rank >= 3 else identity(rank)


def physical_shape(shape: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """Graph shape in physical order."""
    return tuple(shape[axis] for axis in layout)


def graph_shape(shape: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """Physical shape in graph order."""
    result = [0] * len(shape)
    for extent, axis in zip(shape, layout, strict=True):
        result[axis] = extent
    return tuple(result)


def same_bytes(shape: Sequence[int], first: Layout, second: Layout) -> bool:
    """Whether a tensor of that graph shape has the same bytes in both layouts."""
    return [axis for axis in first if shape[axis] != 1] == [axis for axis in second if shape[axis] != 1]


def transposed(layout: Layout, perm: Sequence[int]) -> Layout:
    """The layout of the transposed tensor when no byte moves: result axis ``j`` is source axis ``perm[j]``."""
    inverse = {source: result for result, source in enumerate(perm)}
    return tuple(inverse[axis] for axis in layout)


def reshaped(before: Sequence[int], after: Sequence[int], layout: Layout) -> Layout | None:
    """The layout in which the bytes of a tensor are its reshaped form; None where they are in no order of its axes.

    Args:
        before: shape that is reshaped, in graph order.
        after: shape of the result.
        layout: of the bytes.
    """
    groups = _groups(before, after)
    if groups is None:
        return None
    owner = {axis: index for index, (sources, _) in enumerate(groups) for axis in sources}
    moving = [axis for axis in layout if before[axis] != 1]
    order = list(dict.fromkeys(owner[axis] for axis in moving))
    wanted = [axis for index in order for axis in groups[index][0] if before[axis] != 1]
    if moving != wanted:
        return None
    rest = [index for index in range(len(groups)) if index not in order]
    return tuple(axis for index in (*rest, *order) for axis in groups[index][1])


def gathered(before: Sequence[int], after: Sequence[int], layout: Layout) -> Layout:
    """The order of bytes nearest to ``layout`` in which a tensor can be reshaped without moving any."""
    groups = _groups(before, after)
    if groups is None:
        return identity(len(before))
    ranks = {axis: place for place, axis in enumerate(layout)}
    filled = [sources for sources, _ in groups if sources]
    filled.sort(key=lambda sources: max((ranks[axis] for axis in sources if before[axis] != 1), default=-1))
    return tuple(axis for sources in filled for axis in sources)


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]] | None:
    """Which axes of a shape become which of another, in the smallest groups; None for a tensor without elements."""
    if 0 in before or 0 in after:
        return None
    groups: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        first, second = (i, i + 1) if i < len(before) else (i, i), (j, j + 1) if j < len(after) else (j, j)
        (i, k), (j, m) = first, second
        while (left := math.prod(before[i:k])) != (right := math.prod(after[j:m])):
            k, m = (k + 1, m) if left < right else (k, m + 1)
        groups.append((tuple(range(i, k)), tuple(range(j, m))))
        i, j = k, m
    return groups
