"""Calls of the kernels that read or write where tables or indices say, with what NumPy makes of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kernels.cases_s8 import Rng
from kernels.harness import Array, Case, context, view
from microlith.kernels import kernel
from microlith.program.attrs_indexing import (
    ArgSelect,
    CumulativeSum,
    Gather,
    GatherElements,
    GridSample,
    NonMaxSuppression,
    OneHot,
    Reduction,
    Remap,
    Resample,
    ReverseSequence,
    Scatter,
    ScatterElements,
    Trilu,
)
from microlith.program.types import NUMPY

# One type for each width; the kernels look at no more.
WIDTHS = {"x8": "u8", "x16": "u16", "x32": "f32", "x64": "s64"}
ORDERED = ("f32", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64")
FAR = (-(2**40), -9, -1, 0, 2, 9, 2**40)


def values(rng: Rng, shape: tuple[int, ...], dtype: str) -> Array:
    """Small numbers, so that sums and products of them stay exact in every type."""
    return rng.integers(0, 7, shape).astype(NUMPY[dtype])


def indices(rng: Rng, shape: tuple[int, ...], dtype: str) -> Array:
    """Indices far outside of every axis among others."""
    limits = np.iinfo(NUMPY[dtype])
    return np.clip(rng.choice(FAR, shape), limits.min, limits.max).astype(NUMPY[dtype])


def inside(index: int, size: int) -> int:
    """What an index means."""
    return min(max(index + size if index < 0 else index, 0), size - 1)


def remap(rng: Rng, prefix: str, dtype: str) -> Case:
    """A table with and without places outside."""
    x = values(rng, (3, 4, 5), dtype)
    rows, columns = [2, -1, 0, 0], [1, 3, 3, -1, 0]
    expected = np.full((4, 5, 5), 9, x.dtype)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if row >= 0 and column >= 0:
                expected[i, j] = x[row, column]
    offsets = [[0], [0], [row * 20 if row >= 0 else -1 for row in rows], [c * 5 if c >= 0 else -1 for c in columns]]
    table = np.concatenate([np.array(item, np.int32) for item in offsets])
    attrs = Remap((1, 1, 4, 5), 5, 9)
    ctx = context("remap", attrs, [view("x", x.shape, dtype)], view("y", expected.shape, dtype), {"table": table})
    return Case(f"remap {dtype}", kernel(f"{prefix}_remap__portable"), ctx, (x,), expected)


def trilu(rng: Rng, prefix: str, dtype: str, k: int, *, upper: bool) -> Case:
    """A triangle with another value beside it."""
    x = values(rng, (2, 4, 5), dtype)
    keep = np.triu(np.ones((4, 5), bool), k) if upper else np.tril(np.ones((4, 5), bool), k)
    expected = np.where(keep, x, np.asarray(9, x.dtype))
    ctx = context("trilu", Trilu(2, 4, 5, k, upper, 9), [view("x", x.shape, dtype)], view("y", x.shape, dtype))
    return Case(f"trilu {k} {upper} {dtype}", kernel(f"{prefix}_trilu__portable"), ctx, (x,), expected)


def gather(rng: Rng, prefix: str, dtype: str, index: str, *, constant: bool = False) -> Case:
    """Pairs of indices into two of four axes; the data may be a constant."""
    x, where = values(rng, (2, 3, 4, 5), dtype), indices(rng, (2, 6, 2), index)
    expected = np.stack([[x[b, inside(i, 3), inside(j, 4)] for i, j in where[b].tolist()] for b in range(2)])
    attrs = Gather(2, 6, 5, 60, 12, 2)
    places = np.array([[3, 20], [4, 5]], np.int32)
    reads = [view("x", x.shape, dtype), view("i", where.shape, index)]
    consts = {"places": places} | ({"data": x} if constant else {})
    ctx = context("gather", attrs, reads[constant:], view("y", expected.shape, dtype), consts)
    inputs = (where,) if constant else (x, where)
    return Case(f"gather {dtype} {index} {constant}", kernel(f"{prefix}_gather__portable"), ctx, inputs, expected)


def gather_elements(rng: Rng, prefix: str, dtype: str, index: str) -> Case:
    """The middle one of three axes."""
    x, where = values(rng, (3, 4, 5), dtype), indices(rng, (2, 6, 5), index)
    expected = np.empty(where.shape, x.dtype)
    for (a, b, c), given in np.ndenumerate(where):
        expected[a, b, c] = x[a, inside(int(given), 4), c]
    attrs = GatherElements(where.size, 4, 5, 3)
    consts = {"axes": np.array([[2, 20], [6, 0], [5, 1]], np.int32)}
    reads = [view("x", x.shape, dtype), view("i", where.shape, index)]
    ctx = context("gather_elements", attrs, reads, view("y", expected.shape, dtype), consts)
    name = f"{prefix}_gather_elements__portable"
    return Case(f"gather_elements {dtype} {index}", kernel(name), ctx, (x, where), expected)


def _combined(before: Array, after: Array, how: Reduction) -> Array:
    with np.errstate(over="ignore"):
        return {"none": lambda a, b: b, "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}[how](
            before, after
        )


def _found(shape: tuple[int, ...], dtype: str, initial: int) -> Array:
    """What a result holds before the call, every byte the same."""
    size = int(np.prod(shape)) * np.dtype(NUMPY[dtype]).itemsize
    return np.frombuffer(bytes([initial]) * size, NUMPY[dtype]).reshape(shape).copy()


def scatter(rng: Rng, name: str, dtype: str, index: str, how: Reduction, initial: int) -> Case:
    """Six rows into five, two of them into the same."""
    updates = values(rng, (6, 5), dtype)
    where = np.array([0, 1, -2, 2**31 - 1, 3, 2], NUMPY[index]).reshape(6, 1)
    expected = _found((5, 5), dtype, initial)
    for given, update in zip(where[:, 0].tolist(), updates, strict=True):
        expected[inside(given, 5)] = _combined(expected[inside(given, 5)], update, how)
    reads = [view("i", where.shape, index), view("u", updates.shape, dtype)]
    consts = {"places": np.array([[5, 5]], np.int32)}
    ctx = context("scatter", Scatter(6, 5, 1, how), reads, view("y", (5, 5), dtype), consts)
    return Case(f"scatter {dtype} {index} {how}", kernel(name), ctx, (where, updates), expected)


def scatter_elements(rng: Rng, name: str, dtype: str, index: str, how: Reduction, initial: int) -> Case:
    """Along the first of two axes."""
    updates, where = values(rng, (3, 4), dtype), indices(rng, (3, 4), index)
    expected = _found((3, 5), dtype, initial)
    for (a, b), given in np.ndenumerate(where):
        place = inside(int(given), 3), b
        expected[place] = _combined(expected[place], updates[a, b], how)
    attrs = ScatterElements(12, 3, 5, 2, how)
    reads = [view("i", where.shape, index), view("u", updates.shape, dtype)]
    consts = {"axes": np.array([[3, 0], [4, 1]], np.int32)}
    ctx = context("scatter_elements", attrs, reads, view("y", (3, 5), dtype), consts)
    return Case(f"scatter_elements {dtype} {index} {how}", kernel(name), ctx, (where, updates), expected)


def reverse_sequence(rng: Rng, prefix: str, dtype: str, index: str) -> Case:
    """Sequences of four steps along the first axis; lengths outside of them are cut."""
    x, lengths = values(rng, (4, 5, 3), dtype), np.array([3, 0, 4, 9, -1], NUMPY[index])
    expected = x.copy()
    for sequence, length in enumerate(np.clip(lengths, 0, 4).tolist()):
        expected[:length, sequence] = x[:length, sequence][::-1]
    reads = [view("x", x.shape, dtype), view("n", lengths.shape, index)]
    ctx = context("reverse_sequence", ReverseSequence(5, 4, 3, 3, 15), reads, view("y", x.shape, dtype))
    name = f"{prefix}_reverse_sequence__portable"
    return Case(f"reverse {dtype} {index}", kernel(name), ctx, (x, lengths), expected)


def one_hot(rng: Rng, prefix: str, dtype: str, index: str) -> Case:
    """A new axis of four between two; an index outside points nowhere, a float loses its fraction."""
    pair = np.array([3, 5], NUMPY[dtype])
    floats = index == "f32"
    where = rng.choice([-1e20, -4.9, -1.5, 0.5, 3.5, 4.0, np.nan], (2, 3)) if floats else indices(rng, (2, 3), index)
    where = where.astype(NUMPY[index])
    expected = np.full((2, 4, 3), 3, pair.dtype)
    for (o, i), given in np.ndenumerate(where):
        if -5 < given < 4 and -4 <= int(given) < 4:
            expected[o, int(given), i] = 5
    reads = [view("i", where.shape, index), view("v", (2,), dtype)]
    ctx = context("one_hot", OneHot(2, 4, 3), reads, view("y", expected.shape, dtype))
    return Case(f"one_hot {dtype} {index}", kernel(f"{prefix}_one_hot__portable"), ctx, (where, pair), expected)


def arg_select(rng: Rng, dtype: str, k: int, *, largest: bool, last: bool) -> Case:
    """Many equal elements along the middle axis."""
    x = values(rng, (2, 9, 3), dtype)
    expected = np.empty((2, k, 3), np.int64)
    for o in range(2):
        for i in range(3):
            line = x[o, :, i].tolist()
            order = sorted(range(9), key=lambda c: (-line[c] if largest else line[c], -c if last else c))
            expected[o, :, i] = order[:k]
    attrs = ArgSelect(2, 9, 3, k, largest, last)
    ctx = context("arg_select", attrs, [view("x", x.shape, dtype)], view("y", expected.shape, "s64"))
    return Case(f"arg {dtype} {k} {largest} {last}", kernel(f"{dtype}_arg_select__portable"), ctx, (x,), expected)


def cumulative_sum(rng: Rng, dtype: str, *, exclusive: bool, reverse: bool) -> Case:
    """Sums along the middle axis; those of integers wrap around."""
    x = values(rng, (2, 5, 3), dtype) if dtype == "f32" else rng.integers(2**30, 2**31, (2, 5, 3)).astype(NUMPY[dtype])
    expected = np.zeros_like(x)
    for step in range(5):
        steps = range(step + exclusive, 5) if reverse else range(step + (not exclusive))
        expected[:, step] = x[:, list(steps)].sum(axis=1, dtype=x.dtype)
    attrs = CumulativeSum(2, 5, 3, exclusive, reverse)
    ctx = context("cumulative_sum", attrs, [view("x", x.shape, dtype)], view("y", x.shape, dtype))
    name = f"{dtype}_cumulative_sum__portable"
    return Case(f"cumulative {dtype} {exclusive} {reverse}", kernel(name), ctx, (x,), expected)


def chosen_boxes(*, center: bool, thresholded: bool) -> Case:
    """Unit squares in a row, each covering half of the one before; scores rise, and two of them are equal."""
    scores = np.array([[[0.1, 0.4, 0.4, 0.2, np.nan], [0.9, 0.1, 0.1, 0.1, 0.8]]], np.float32)
    corner = np.arange(5, dtype=np.float32) / 2
    if center:
        boxes = np.stack([corner, corner * 0, corner * 0 + 1, corner * 0 + 1], axis=-1)
    else:
        boxes = np.stack([corner * 0, corner + 1, corner * 0 + 1, corner], axis=-1)
    kept = [[0, 0, 1], [0, 0, 3]] + [[0, 1, 0], [0, 1, 4]] + ([] if thresholded else [[0, 1, 2]])
    kept += [[-1, -1, -1]] * (6 - len(kept))
    expected = np.array(kept, np.int64)
    attrs = NonMaxSuppression(1, 2, 5, 3, 0.25, 0.15 if thresholded else None, center)
    reads = [view("b", (1, 5, 4), "f32"), view("s", scores.shape, "f32")]
    ctx = context("non_max_suppression", attrs, reads, view("y", expected.shape, "s64"))
    name = f"boxes {center} {thresholded}"
    return Case(name, kernel("f32_non_max_suppression__portable"), ctx, (boxes[None], scores), expected)


def resample(rng: Rng, taps: int) -> Case:
    """Weighted sums of rows."""
    x = rng.normal(size=(2, 4, 3)).astype(np.float32)
    places, weights = rng.integers(0, 4, (6, taps)).astype(np.int32), rng.normal(size=(6, taps)).astype(np.float32)
    base = rng.normal(size=6).astype(np.float32)
    products = x.astype(np.float64)[:, places] * weights.reshape(1, 6, taps, 1)
    expected = products.sum(axis=2) + base.reshape(1, 6, 1)
    consts = {"places": places, "weights": weights, "base": base}
    ctx = context(
        "resample", Resample(2, 4, 6, 3, taps), [view("x", x.shape, "f32")], view("y", (2, 6, 3), "f32"), consts
    )
    bound = (taps + 2) * np.finfo(np.float32).eps * (np.abs(products).sum(axis=2) + np.abs(base).reshape(1, 6, 1))
    return Case(f"resample {taps}", kernel("f32_resample__portable"), ctx, (x,), expected, bound)


def grid_far(taps: int, padding: int, *, align: bool) -> Case:
    """Places far outside, and none at all: nothing but the image may be read, and the borders are what is found."""
    x = np.full((1, 3, 4, 2), 2.5, np.float32)
    grid = np.array([[1e30, -1e30], [np.inf, np.nan], [-7.25, 3.5]], np.float32).reshape(1, 1, 3, 2)
    expected = np.full((1, 1, 3, 2), 0.0 if padding == 0 else 2.5)
    attrs = GridSample(taps, padding, align)
    reads = [view("x", x.shape, "f32"), view("g", grid.shape, "f32")]
    ctx = context("grid_sample", attrs, reads, view("y", expected.shape, "f32"))
    bound = np.full(expected.shape, 1e-5)
    return Case(f"grid {taps} {padding} {align}", kernel("f32_grid_sample__portable"), ctx, (x, grid), expected, bound)


def indexing_cases(initial: int) -> tuple[Case, ...]:
    """Calls of every kernel, whose results hold ``initial`` in every byte before."""
    rng = np.random.default_rng(22)
    return (*_by_width(rng, initial), *_by_type(rng, initial))


def _by_width(rng: Rng, initial: int) -> Iterator[Case]:
    for prefix, dtype in WIDTHS.items():
        yield remap(rng, prefix, dtype)
        yield trilu(rng, prefix, dtype, 1, upper=True)
        yield trilu(rng, prefix, dtype, -2, upper=False)
        yield gather(rng, prefix, dtype, "s64", constant=True)
        yield one_hot(rng, prefix, dtype, "f32")
        for index in ("s32", "s64"):
            yield gather(rng, prefix, dtype, index)
            yield gather_elements(rng, prefix, dtype, index)
            yield reverse_sequence(rng, prefix, dtype, index)
            yield one_hot(rng, prefix, dtype, index)
            yield scatter(rng, f"{prefix}_scatter__portable", dtype, index, "none", initial)
            yield scatter_elements(rng, f"{prefix}_scatter_elements__portable", dtype, index, "none", initial)


def _by_type(rng: Rng, initial: int) -> Iterator[Case]:
    reductions: tuple[Reduction, ...] = ("add", "mul", "min", "max")
    for dtype in ("f32", "s32", "s64"):
        for how in reductions:
            yield scatter(rng, f"{dtype}_scatter_{how}__portable", dtype, "s64", how, initial)
            yield scatter_elements(rng, f"{dtype}_scatter_elements_{how}__portable", dtype, "s32", how, initial)
        for exclusive in (False, True):
            for reverse in (False, True):
                yield cumulative_sum(rng, dtype, exclusive=exclusive, reverse=reverse)
    for dtype in ORDERED:
        yield arg_select(rng, dtype, 4, largest=True, last=False)
        yield arg_select(rng, dtype, 9, largest=False, last=False)
        yield arg_select(rng, dtype, 1, largest=True, last=True)
        yield arg_select(rng, dtype, 3, largest=False, last=True)
    for center in (False, True):
        yield chosen_boxes(center=center, thresholded=False)
        yield chosen_boxes(center=center, thresholded=True)
    for taps in (1, 2, 4, 7):
        yield resample(rng, taps)
    for taps in (1, 2, 4):
        for padding in range(3):
            yield grid_far(taps, padding, align=False)
            yield grid_far(taps, padding, align=True)
