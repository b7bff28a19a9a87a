"""The integer meaning of ops in torch: from integers carried in float64 to the integers of the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microlith.ops.base import Op, Output
from microlith.ops.reduce import ReduceAttrs, is_of_image
from microlith.quant.factors import (
    IMAGE_MEAN_GROUP,
    PROBABILITY_BITS,
    SUM_HEADROOM_BITS,
    average_pool_requant,
    image_mean_offset,
    image_mean_requant,
    linear_requant,
    mean_is_division,
    mean_requant,
    mul_requant,
    part,
    softmax_requant,
    sum_requant,
)
from microlith.quant.integer_move import quantize
from microlith.quant.lut import exp_table, float_exp_table
from microlith.quant.requantize import FloatRequant
from microlith.quant.types import QParams
from microlith.train.forms import FORMS
from microlith.train.forms.base import Function, Site
from microlith.train.forms.windows import geometry_of, sums
from microlith.train.integers import carried, centered, lookup, requantized, saturated, scaling

_STORED_OFFSET = 128


@dataclass(frozen=True, eq=False)
class Integers:
    """An integer unit.

    Attributes:
        op: its op.
        attrs: of the node.
        site: where it is called.
        qparams: of the operands; None for data that is no quantized tensor.
        output: what it must deliver.
    """

    op: Op[Any]
    attrs: Any
    site: Site
    qparams: Sequence[QParams | None]
    output: Output

    @property
    def x(self) -> QParams:
        """Of the first operand."""
        found = self.qparams[0]
        assert found is not None, "the first operand of an op with arithmetic is quantized"
        return found

    @property
    def y(self) -> QParams:
        """Of the result."""
        return self.output.qparams

    def centered(self, index: int) -> Callable[[Tensor], Tensor]:
        """An operand less its zero point."""
        qparams = self.qparams[index]
        assert qparams is not None, "operands of arithmetic are quantized"
        return centered(qparams, len(self.site.shapes[index]))


def exact_function(unit: Integers) -> Function:
    """From operands in graph order to the result, or to a tuple of results where the form of the op gives one."""
    kind = unit.op.op_type
    if kind in _ARITHMETIC:
        return _ARITHMETIC[kind](unit)
    if unit.op.tables is not None:
        table = lookup(unit.op.tables(unit.attrs, unit.x, unit.output), unit.x)
        return lambda x: table(carried(x))
    return _moved(unit)


def _moved(unit: Integers) -> Function:
    """Ops that move, choose or compare: their float form, on integers with the meaning of the result."""
    form, attrs = FORMS[unit.op.op_type], unit.attrs
    least = float(np.clip(unit.y.zero_point, unit.output.low, unit.output.high))
    if unit.op.op_type == "Pad":
        attrs, least = replace(attrs, value=_filled(attrs.value, unit.output)), 0.0
    elif unit.op.op_type == "Resize":
        attrs, least = (
            replace(attrs, how=replace(attrs.how, extrapolation=_filled(attrs.how.extrapolation, unit.output))),
            0.0,
        )
    function = form.build(attrs, unit.site)
    steps = [None if q is None else requantized(q, unit.output) for q in unit.qparams]
    if unit.op.op_type == "TopK":
        # The order is that of the integers given, before others become equal.
        return lambda x: _first(function(carried(x)), requantized(unit.x, unit.output))

    def moved(*operands: Tensor) -> Any:
        # What the form fills with is 0: it stands for the zero point.
        ready = [x if step is None else step(carried(x)) - least for x, step in zip(operands, steps, strict=True)]
        found = function(*ready)
        return (found[0] + least, *found[1:]) if form.several else found + least

    return moved


def _first(found: tuple[Tensor, ...], step: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    return step(found[0]), *found[1:]


def _filled(value: float, output: Output) -> float:
    integer = quantize(np.asarray(value, np.float32), output.qparams)
    return float(np.clip(integer, output.low, output.high))


def _along(size: int, axis: int, rank: int) -> tuple[int, ...]:
    shape = [1] * rank
    shape[axis] = size
    return tuple(shape)


def _linear(unit: Integers) -> Function:
    """Products with weights: channels along axis 1 of convolutions, along the last of matrix products."""
    weights = unit.qparams[1]
    assert weights is not None, "weights are quantized"
    how = linear_requant(unit.x, weights, unit.y, unit.output.requantization)
    rank, axis = len(unit.site.results[0]), 1 if unit.op.op_type.startswith("Conv") else -1
    size = how.scale.size if isinstance(how, FloatRequant) else how.multiplier.size
    scale = scaling(how, _along(size, axis, rank) if size > 1 else ())
    product = FORMS[unit.op.op_type].build(unit.attrs, unit.site)
    of_x, of_w = unit.centered(0), unit.centered(1)

    def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        operands = (of_x(x), of_w(w)) if bias is None else (of_x(x), of_w(w), carried(bias))
        return saturated(scale(product(*operands)), unit.output)

    return linear


def _sum(unit: Integers, sign: int) -> Function:
    a, b = unit.qparams
    assert a is not None and b is not None, "both operands are quantized"
    how = sum_requant(a, b, unit.y, unit.output.requantization)
    of_a, of_b = unit.centered(0), unit.centered(1)
    if isinstance(how, FloatRequant):
        factors = [torch.tensor(item, dtype=torch.float32) for item in how.scale]

        def in_floats(x: Tensor, z: Tensor) -> Tensor:
            # Each product and the sum are rounded to float32 by themselves.
            left, right = of_a(x).to(torch.float32) * factors[0], of_b(z).to(torch.float32) * factors[1]
            return saturated(torch.round(carried(left + right if sign > 0 else left - right)), unit.output)

        return in_floats
    scale_a, scale_b, scale_sum = (scaling(part(how, index), ties="away") for index in range(3))
    headroom = float(1 << SUM_HEADROOM_BITS)

    def in_integers(x: Tensor, z: Tensor) -> Tensor:
        total = scale_a(of_a(x) * headroom) + sign * scale_b(of_b(z) * headroom)
        return saturated(scale_sum(total), unit.output)

    return in_integers


def _product(unit: Integers) -> Function:
    a, b = unit.qparams
    assert a is not None and b is not None, "both operands are quantized"
    scale = scaling(mul_requant(a, b, unit.y, unit.output.requantization), ties="away")
    of_a, of_b = unit.centered(0), unit.centered(1)
    return lambda x, z: saturated(scale(of_a(x) * of_b(z)), unit.output)


def _average_pool(unit: Integers) -> Function:
    geometry = geometry_of(unit.attrs.spatial, unit.site.shapes[0])
    counts = geometry.counts(unit.attrs.count_include_pad)
    of_x = unit.centered(0)
    if mean_is_division(unit.x, unit.y, unit.output.requantization):
        zero = int(unit.x.zero_point) - (_STORED_OFFSET if unit.x.dtype == "uint8" else 0)
        each = torch.from_numpy(counts)

        def divided(x: Tensor) -> Tensor:
            raw = sums(of_x(x), geometry).long() + zero * each
            means = torch.sign(raw) * ((raw.abs() + each // 2) // each)
            return saturated(carried(means - zero), unit.output)

        return divided
    how = average_pool_requant(unit.x, unit.y, math.prod(geometry.kernel), unit.output.requantization)
    scale = scaling(part(how, counts - 1))
    return lambda x: saturated(scale(sums(of_x(x), geometry)), unit.output)


def _reduce(unit: Integers, mean: bool) -> Function:
    rank = len(unit.site.shapes[0])
    attrs = unit.attrs if isinstance(unit.attrs, ReduceAttrs) else ReduceAttrs(tuple(range(2, rank)), True)
    if is_of_image(attrs, unit.x, unit.output.requantization):
        assert attrs.channel is not None, "asked for"
        return _image_mean(unit, attrs.channel)
    axes = attrs.reduced(rank)
    count = math.prod(unit.site.shapes[0][axis] for axis in axes) if mean else 1
    scale = scaling(part(mean_requant(unit.x, unit.y, count, unit.output.requantization), 0), ties="away")
    of_x = unit.centered(0)

    def reduce(x: Tensor) -> Tensor:
        total = of_x(x).sum(axes, keepdim=attrs.keepdims) if axes else of_x(x)
        return saturated(scale(total), unit.output)

    return reduce


def _image_mean(unit: Integers, channel: int) -> Function:
    """Of the integers as they are stored; see :func:`microlith.quant.integer_pool.image_mean`."""
    shape = unit.site.shapes[0]
    area = math.prod(shape[axis] for axis in range(1, 4) if axis != channel)
    how = part(image_mean_requant(unit.x, unit.y, area), 0)
    grouped = shape[channel] // IMAGE_MEAN_GROUP * IMAGE_MEAN_GROUP
    first, rest = scaling(how), scaling(how, ties="away")
    offset = float(image_mean_offset(unit.x, unit.y))

    def image_mean(x: Tensor) -> Tensor:
        total = carried(x).movedim(channel, -1).sum((1, 2), keepdim=True)
        scaled = torch.cat([first(total[..., :grouped]), rest(total[..., grouped:])], -1)
        return saturated(scaled.movedim(-1, channel) + offset, unit.output)

    return image_mean


def _softmax(unit: Integers) -> Function:
    shape, axis = unit.attrs.view(tuple(unit.site.shapes[0]))
    compute = _softmax_fixed(unit) if unit.output.requantization == "fixed" else _softmax_float(unit)

    def softmax(x: Tensor) -> Tensor:
        viewed = carried(x).reshape(*x.shape[:axis], *shape[axis:])
        return saturated(compute(viewed, axis), unit.output).reshape(x.shape)

    return softmax


def _softmax_float(unit: Integers) -> Callable[[Tensor, int], Tensor]:
    table = torch.from_numpy(exp_table(unit.x).astype(np.int64))
    scale = scaling(softmax_requant(unit.y, unit.output.requantization))

    def compute(x: Tensor, axis: int) -> Tensor:
        weights = table[(x.amax(axis, keepdim=True) - x).long()]
        total = weights.sum(axis, keepdim=True)
        return scale(((weights << PROBABILITY_BITS) + total // 2) // total)

    return compute


def _softmax_fixed(unit: Integers) -> Callable[[Tensor, int], Tensor]:
    table = torch.from_numpy(float_exp_table(unit.x))
    scale = torch.tensor(unit.y.scale, dtype=torch.float32)

    def compute(x: Tensor, axis: int) -> Tensor:
        weights = table[(x.amax(axis, keepdim=True) - x).long()]
        # One after the other: the sum is rounded after every element.
        total = torch.zeros_like(weights.narrow(axis, 0, 1))
        for place in range(weights.shape[axis]):
            total = total + weights.narrow(axis, place, 1)
        return torch.round(carried(weights * (1.0 / (total * scale))))

    return compute


_ARITHMETIC: Mapping[str, Callable[[Integers], Function]] = {
    "Add": lambda unit: _sum(unit, 1),
    "AveragePool": _average_pool,
    "Conv": _linear,
    "ConvTranspose": _linear,
    "Gemm": _linear,
    "GlobalAveragePool": lambda unit: _reduce(unit, True),
    "MatMul": _linear,
    "Mul": _product,
    "ReduceMean": lambda unit: _reduce(unit, True),
    "ReduceSum": lambda unit: _reduce(unit, False),
    "Softmax": _softmax,
    "Sub": lambda unit: _sum(unit, -1),
}
