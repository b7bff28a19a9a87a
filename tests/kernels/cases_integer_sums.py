"""Calls of the kernels of layers that quantize while they run, with their meaning in NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from kernels.cases_s8 import Rng
from kernels.harness import Array, Case, context, view
from microlith.kernels import kernel
from microlith.program.attrs import Convert
from microlith.program.neural_attrs import ConvNd, Volume
from microlith.program.types import NUMPY
from microlith.quant.volumes import VolumeGeometry, correlate

ONES, NONE = (1, 1, 1), (0, 0, 0)


def integer_sum_cases() -> tuple[Case, ...]:
    """All calls."""
    rng = np.random.default_rng(31)
    return (*_convolutions(rng), *_quantizations(rng))


def _convolutions(rng: Rng) -> Iterator[Case]:
    plain = Volume(ONES, ONES, ONES, NONE)
    yield _conv(rng, "u8", (1, 33, 1, 5), 7, plain, 1, (1, 1, 5))
    yield _conv(rng, "s8", (2, 4, 5, 6), 6, Volume((1, 3, 2), (1, 2, 1), (1, 1, 2), (0, 1, 1), (0, 1, 1)), 2, (1, 3, 6))
    yield _conv(rng, "u8", (1, 3, 4, 5), 4, Volume((1, 2, 3), ONES, ONES, (0, 0, 1), (0, 0, 1)), 1, (1, 3, 5), None)
    yield _conv(rng, "s8", (1, 2, 3, 3), 3, plain, 1, (1, 3, 3), None, weight_zeros=False)
    yield _conv(rng, "u8", (1, 4, 5, 5), 4, Volume((1, 3, 3), ONES, ONES, (0, 3, 1)), 4, (1, 6, 4), "read")


def _conv(
    rng: Rng,
    dtype: str,
    shape: tuple[int, ...],
    filters: int,
    volume: Volume,
    groups: int,
    output: tuple[int, int, int],
    zero: str | None = "const",
    *,
    weight_zeros: bool = True,
) -> Case:
    info = np.iinfo(NUMPY[dtype])
    x = rng.integers(info.min, info.max, shape, info.dtype, endpoint=True)
    weights = rng.integers(-128, 127, (filters, shape[1] // groups, *volume.kernel[1:]), np.int8, endpoint=True)
    zeros = rng.integers(-128, 127, filters, endpoint=True).astype(np.int32)
    x_zero = rng.integers(info.min, info.max, 1, info.dtype, endpoint=True)
    two = (volume.kernel[1:], volume.stride[1:], volume.dilation[1:], volume.before[1:], volume.after[1:])
    geometry = VolumeGeometry(*two, shape[2:], output[1:])
    differences = weights.astype(np.float64) - (zeros.reshape(-1, 1, 1, 1) if weight_zeros else 0)
    moved = x.astype(np.float64) - (0 if zero is None else int(x_zero[0]))
    expected = np.moveaxis(correlate(moved, differences, geometry, groups), 1, -1).astype(np.int32)
    consts: dict[str, Array] = {"weights": np.ascontiguousarray(np.moveaxis(weights, 1, -1))}
    images = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    reads, inputs = [view("x", images.shape, dtype)], [images]
    if weight_zeros:
        consts["weight_zero"] = zeros
    if zero == "const":
        consts["x_zero"] = x_zero
    elif zero == "read":
        reads.append(view("x_zero", (1,), dtype))
        inputs.append(x_zero)
    attrs = ConvNd(volume, groups, False, ("x",) if zero is None else ("x", "x_zero"))
    ctx = context("conv_integer", attrs, reads, view("y", expected.shape, "s32"), consts)
    label = f"conv_integer {dtype} {shape} {groups} {zero} {weight_zeros}"
    return Case(label, kernel("x8_conv_integer__portable"), ctx, tuple(inputs), np.ascontiguousarray(expected))


def _quantizations(rng: Rng) -> Iterator[Case]:
    for low, high in ((-3.0, 1.0), (0.5, 7.0), (-9.0, -2.0), (0.0, 0.0)):
        x = rng.uniform(low, high, 301).astype(np.float32)
        least, greatest = min(x.min(), np.float32(0)), max(x.max(), np.float32(0))
        scale = (greatest - least) / np.float32(255) or np.float32(1)
        zero = np.rint(-least / scale)
        expected = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8)
        ctx = context("dynamic_quantize", Convert(), [view("x", x.shape, "f32")], view("y", x.shape, "u8"))
        others = (view("scale", (1,), "f32"), view("zero", (1,), "u8"))
        writes = (*ctx.call.writes, "scale", "zero")
        ctx = dataclasses.replace(ctx, call=dataclasses.replace(ctx.call, writes=writes), writes=(*ctx.writes, *others))
        name = f"dynamic_quantize {low} {high}"
        yield Case(name, kernel("f32_dynamic_quantize_u8__portable"), ctx, (x,), expected)
