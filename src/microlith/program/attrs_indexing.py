"""Typed attributes of the ops of a Program that read or write where indices or tables say.

Sizes, steps and strides are elements. ``(outer, count, inner)`` are the extents before, along and after an axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reduction = Literal["none", "add", "mul", "min", "max"]


@dataclass(frozen=True)
class Remap:
    """``remap``: y[i0, i1, i2, i3, r] = x[sum of the axes' offsets + r]; const ``table`` holds the offsets of all axes.

    Attributes:
        sizes: of the four axes.
        run: elements that lie together.
        value: what stands where an offset is negative (an integer as stored, or a float).
    """

    sizes: tuple[int, int, int, int]
    run: int
    value: float | int


@dataclass(frozen=True)
class Trilu:
    """``trilu``: one triangle of each matrix, bounded by diagonal ``k``; elsewhere ``value``."""

    matrices: int
    rows: int
    columns: int
    k: int
    upper: bool
    value: float | int


@dataclass(frozen=True)
class Gather:
    """``gather``: operands ``data`` and ``indices``; const ``places`` holds size and stride of the indexed axes.

    Attributes:
        outer: parts of the data that are read alike.
        count: slices read from each part.
        inner: elements of a slice.
        data_step: from part to part.
        index_step: from the indices of a part to those of the next; 0 where they are the same.
        depth: indices that name a slice.
    """

    outer: int
    count: int
    inner: int
    data_step: int
    index_step: int
    depth: int


@dataclass(frozen=True)
class GatherElements:
    """``gather_elements``: operands ``data`` and ``indices``; const ``axes`` holds size of y and stride of the data.

    Attributes:
        count: elements of the result.
        size: of the indexed axis of the data.
        stride: of that axis; 0 stands in ``axes`` for it.
        rank: number of axes.
    """

    count: int
    size: int
    stride: int
    rank: int


@dataclass(frozen=True)
class Scatter:
    """``scatter``: operands ``indices`` and ``updates``; y is there already; const ``places`` as in ``gather``."""

    count: int
    inner: int
    depth: int
    reduction: Reduction


@dataclass(frozen=True)
class ScatterElements:
    """``scatter_elements``: operands ``indices`` and ``updates``; y is there already; const ``axes`` holds size of the
    updates and stride of y; the rest as in ``gather_elements``."""

    count: int
    size: int
    stride: int
    rank: int
    reduction: Reduction


@dataclass(frozen=True)
class ReverseSequence:
    """``reverse_sequence``: operands data and lengths; a step of a sequence has ``inner`` elements."""

    batch: int
    steps: int
    inner: int
    batch_stride: int
    step_stride: int


@dataclass(frozen=True)
class OneHot:
    """``one_hot``: operands ``indices`` and a pair of ``values``: y[o, d, i] is the second where the index is d or
    d - depth, else the first."""

    outer: int
    depth: int
    inner: int


@dataclass(frozen=True)
class ArgSelect:
    """``arg_select``: places of the ``k`` greatest or least elements along the middle axis, in order.

    Attributes:
        outer: before the axis.
        count: along it.
        inner: after it.
        k: places wanted.
        largest: the greatest, or the least.
        last: of equal elements the last comes first.
    """

    outer: int
    count: int
    inner: int
    k: int
    largest: bool = True
    last: bool = False


@dataclass(frozen=True)
class NonMaxSuppression:
    """``non_max_suppression`` (float): boxes (images, count, 4) and scores (images, classes, count).

    Attributes:
        images: with boxes of their own.
        classes: with scores of their own.
        count: boxes of an image.
        limit: boxes chosen of a class of an image at most, no more than ``count``; y has room for that many of each.
        overlap: intersection over union above which a box goes.
        threshold: score to be exceeded; None for no such condition.
        center: boxes are centre, width and height, and not two corners.
    """

    images: int
    classes: int
    count: int
    limit: int
    overlap: float
    threshold: float | None
    center: bool


@dataclass(frozen=True)
class CumulativeSum:
    """``cumulative_sum``: along the middle axis of (outer, count, inner)."""

    outer: int
    count: int
    inner: int
    exclusive: bool
    reverse: bool


@dataclass(frozen=True)
class Resample:
    """``resample`` (float): y[o, c, i] = base[c] + sum of weights[c, t] * x[o, places[c, t], i] over ``taps``.

    Consts ``places``, ``weights`` and ``base``; x has ``count`` rows and y has ``size``.
    """

    outer: int
    count: int
    size: int
    inner: int
    taps: int


@dataclass(frozen=True)
class GridSample:
    """``grid_sample`` (float): images N,H,W,C and a grid N,OH,OW,2.

    Attributes:
        taps: 1 nearest, 2 linear, 4 cubic.
        padding: 0 zeros, 1 border, 2 reflection.
        align_corners: whether -1 and 1 are the centres of the outermost elements.
    """

    taps: int
    padding: int
    align_corners: bool
