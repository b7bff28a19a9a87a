"""The reductions over constant axes: one file, since they differ in how two elements become one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.quant import integer_pool
from microlith.quant.integer_move import requantize
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray, QParams, Requantization

Axes = tuple[int, ...]

IMAGE_MEAN_KEY = "microlith.image_mean"
"""In the metadata of a ReduceMean: under ``fixed`` it rounds as LiteRT's kernel for means over an image does."""


def is_image_mean(node: ir.Node) -> bool:
    """Whether :data:`IMAGE_MEAN_KEY` was said of a node."""
    return IMAGE_MEAN_KEY in node.metadata_props


def _channel(node: ir.Node, attrs: ReduceAttrs) -> int | None:
    """The axis beside the batch that an image mean keeps."""
    if not is_image_mean(node):
        return None
    reduced = attrs.reduced(len(nodes.input_shape(node, 0)))
    kept = {0, 1, 2, 3} - set(reduced)
    if len(reduced) != 2 or len(kept) != 2 or 0 not in kept or not attrs.keepdims:
        raise ModelError(
            f"its metadata speak of a mean over rows and columns, and its axes are {list(reduced)}",
            node=nodes.where(node),
        )
    return max(kept)


@dataclass(frozen=True)
class ReduceAttrs:
    """Attributes of a reduction.

    Attributes:
        axes: as written, negative ones from the back; None for all.
        keepdims: whether reduced axes stay with size 1.
        channel: of a mean that LiteRT computes by its kernel for images, the axis of the channels; None for others.
    """

    axes: Axes | None
    keepdims: bool
    channel: int | None = None

    def reduced(self, rank: int) -> Axes:
        """Axes counted from the front, ascending."""
        return tuple(range(rank)) if self.axes is None else nodes.axes_of(self.axes, rank, "a reduction")


def parse(node: ir.Node) -> ReduceAttrs:
    """Axes from the attribute (before opset 18, of ReduceSum 13) or the constant input."""
    axes = nodes.attribute_or_input(node, "axes", 1)
    if not axes:
        axes = () if nodes.integer(node, "noop_with_empty_axes", 0) else None
    return ReduceAttrs(axes, bool(nodes.integer(node, "keepdims", 1)))


def infer(attrs: ReduceAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Reduced axes are 1 or gone."""
    reduced = attrs.reduced(len(inputs[0]))
    sizes = [1 if axis in reduced else size for axis, size in enumerate(inputs[0])]
    return (tuple(size for axis, size in enumerate(sizes) if attrs.keepdims or axis not in reduced),)


def _batches(attrs: ReduceAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return inputs[0] is not None and 0 not in attrs.reduced(len(inputs[0]))


Compute = Callable[[Array, Axes, bool], Array]


def _sum(x: Array, axes: Axes, keepdims: bool) -> Array:
    return np.asarray(x.sum(axis=axes, keepdims=keepdims, dtype=x.dtype))


def _mean(x: Array, axes: Axes, keepdims: bool) -> Array:
    return np.asarray(x.mean(axis=axes, keepdims=keepdims, dtype=np.float32))


def _log_sum_exp(x: Array, axes: Axes, keepdims: bool) -> Array:
    greatest = x.max(axis=axes, keepdims=True)
    # Where all elements are minus infinity, or one is infinite, the difference of two infinities must not arise.
    shift = np.where(np.isfinite(greatest), greatest, np.float32(0))
    with np.errstate(divide="ignore", over="ignore"):
        total = np.log(np.exp(x - shift).sum(axis=axes, keepdims=True, dtype=np.float32)) + shift
    return np.asarray(total if keepdims else total.squeeze(axes), np.float32)


def _log_sum(x: Array, axes: Axes, keepdims: bool) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(_sum(x, axes, keepdims)), np.float32)


def _square(x: Array) -> Array:
    return np.asarray(np.square(x), x.dtype)


COMPUTE: Mapping[str, Compute] = {
    "ReduceL1": lambda x, axes, keep: _sum(np.abs(x), axes, keep),
    "ReduceL2": lambda x, axes, keep: np.asarray(np.sqrt(_sum(_square(x), axes, keep).astype(np.float32)), np.float32),
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": lambda x, axes, keep: np.asarray(x.max(axis=axes, keepdims=keep)),
    "ReduceMean": _mean,
    "ReduceMin": lambda x, axes, keep: np.asarray(x.min(axis=axes, keepdims=keep)),
    "ReduceProd": lambda x, axes, keep: np.asarray(x.prod(axis=axes, keepdims=keep, dtype=x.dtype)),
    "ReduceSum": _sum,
    "ReduceSumSquare": lambda x, axes, keep: _sum(_square(x), axes, keep),
}

FLOAT_ONLY = frozenset({"ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean"})
"""Reductions whose meaning on integers, a root or quotient cut to an integer, is not offered."""


def is_of_image(attrs: ReduceAttrs, x: QParams, mode: Requantization) -> bool:
    """Whether a mean has the integers of LiteRT's kernel for images; it serves int8 only."""
    return attrs.channel is not None and mode == "fixed" and x.dtype == "int8"


def _add_up(attrs: ReduceAttrs, x: QArray, output: Output, *, mean: bool) -> Array:
    axes = attrs.reduced(x.values.ndim)
    if is_of_image(attrs, x.qparams, output.requantization):
        assert attrs.channel is not None, "asked for"
        image = QArray(np.moveaxis(x.values, attrs.channel, -1), x.qparams)
        return saturate(
            np.moveaxis(integer_pool.image_mean(image, output.qparams), -1, attrs.channel),
            output.qparams,
            output.low,
            output.high,
        )
    form = integer_pool.reduce_mean if mean else integer_pool.reduce_sum
    scaled: NDArray[np.int64] = form(x, axes, attrs.keepdims, output.qparams, output.requantization)
    return saturate(scaled, output.qparams, output.low, output.high)


def _extreme(attrs: ReduceAttrs, x: QArray, output: Output, *, greatest: bool) -> Array:
    axes = attrs.reduced(x.values.ndim)
    chosen = (np.max if greatest else np.min)(x.values, axis=axes, keepdims=attrs.keepdims)
    return requantize(QArray(np.asarray(chosen), x.qparams), output.qparams, output.low, output.high)


Quantized = Callable[[ReduceAttrs, QArray, Output], Array]
_QUANTIZED: Mapping[str, tuple[Rule, Quantized]] = {
    "ReduceMean": (Rule("pool"), lambda attrs, x, output: _add_up(attrs, x, output, mean=True)),
    "ReduceSum": (Rule("pool"), lambda attrs, x, output: _add_up(attrs, x, output, mean=False)),
    "ReduceMax": (Rule("movement"), lambda attrs, x, output: _extreme(attrs, x, output, greatest=True)),
    "ReduceMin": (Rule("movement"), lambda attrs, x, output: _extreme(attrs, x, output, greatest=False)),
}
_LOWERINGS = {"ReduceMean": "lower_reduce.lower_reduce_mean", "ReduceSum": "lower_reduce.lower_reduce_sum"}
"""Of those whose integer form adds up; the others are lowered alike."""


def _reduction(op_type: str) -> Op[ReduceAttrs]:
    compute = COMPUTE[op_type]
    rule, integer = _QUANTIZED.get(op_type, (None, None))

    def parse_typed(node: ir.Node) -> ReduceAttrs:
        value = node.inputs[0] if node.inputs else None
        if op_type in FLOAT_ONLY and value is not None and value.dtype not in (None, ir.DataType.FLOAT):
            raise nodes.unsupported(node, f"{op_type} of {value.dtype} has no meaning here, expected float32")
        attrs = parse(node)
        return replace(attrs, channel=_channel(node, attrs)) if op_type == "ReduceMean" else attrs

    def reference(attrs: ReduceAttrs, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None, "an operand that is never absent"
        return compute(x, attrs.reduced(x.ndim), attrs.keepdims)

    def quantized(attrs: ReduceAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
        x = inputs[0]
        assert x is not None and integer is not None, "an operand that is never absent, of an op with an integer form"
        return integer(attrs, x, output)

    return Op(
        op_type,
        parse_typed,
        infer,
        reference,
        None if integer is None else quantized,
        data_inputs=(0,),
        batches=_batches,
        rule=rule,
        lowering=_LOWERINGS.get(op_type, "lower_reduce.lower_reduce"),
    )


REDUCTIONS = tuple(_reduction(op_type) for op_type in COMPUTE)
