"""Layout arithmetic: which order of bytes a tensor has, and when two orders are the same.

A layout is a permutation: ``layout[i]`` is the graph axis that physical axis ``i`` holds. Axes of extent 1 do not move
any byte, so layouts are compared without them.
"""

from __future__ import annotations

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
