"""Conv: one to three spatial axes, groups, strides, dilations, automatic padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError, UnsupportedError
from microlith.ops import conv3d, nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.conv3d import Conv3dAttrs
from microlith.ops.spatial import Spatial, as_rows, parse_spatial
from microlith.quant.integer_linear import conv2d
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray, QParams
from microlith.quant.windows import correlate

_VOLUME_AXES = 3


@dataclass(frozen=True)
class ConvAttrs:
    """Attributes of Conv.

    Attributes:
        spatial: the windows.
        groups: number of groups.
        filters: output channels.
        channels: input channels.
    """

    spatial: Spatial
    groups: int
    filters: int
    channels: int

    @property
    def is_depthwise(self) -> bool:
        """Whether each filter sees a single input channel of several."""
        return self.groups == self.channels and self.groups > 1


def parse(node: ir.Node) -> ConvAttrs | Conv3dAttrs:
    """Attributes of a Conv node, whose weights must have a known shape."""
    shape = nodes.input_shape(node, 1)
    kernel = nodes.integers(node, "kernel_shape", shape[2:]) or ()
    if len(shape) < 3 or kernel != shape[2:]:
        raise ModelError(f"kernel_shape is {kernel} but the weights have shape {shape}", node=nodes.where(node))
    groups = nodes.integer(node, "group", 1)
    if groups < 1 or shape[0] % groups:
        raise ModelError(f"{shape[0]} filters cannot be split into {groups} groups", node=nodes.where(node))
    if len(kernel) == _VOLUME_AXES:
        return conv3d.parse(node, kernel, groups, shape[0], shape[1] * groups)
    return ConvAttrs(parse_spatial(node, kernel), groups, shape[0], shape[1] * groups)


def infer(attrs: ConvAttrs | Conv3dAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(N, O, ...)."""
    if isinstance(attrs, Conv3dAttrs):
        return conv3d.infer(attrs, inputs)
    if len(inputs[0]) < 2 or inputs[0][1] != attrs.channels:
        raise ModelError(f"Conv over {attrs.channels} channels got an input of shape {inputs[0]}")
    return (attrs.spatial.output_shape(inputs[0], attrs.filters),)


def macs(attrs: ConvAttrs | Conv3dAttrs, inputs: Sequence[Shape], output: Shape) -> int:
    """Output elements times the weights of a filter."""
    if isinstance(attrs, Conv3dAttrs):
        return conv3d.macs(attrs, output)
    taps = attrs.spatial.kernel[0] * attrs.spatial.kernel[1]
    return int(np.prod(output, dtype=np.int64)) * taps * (attrs.channels // attrs.groups)


def reference(attrs: ConvAttrs | Conv3dAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32 cross-correlation by matrix products over gathered windows."""
    if isinstance(attrs, Conv3dAttrs):
        return conv3d.reference(attrs, inputs)
    x, weights = nodes.f32(inputs, 0), nodes.f32(inputs, 1)
    geometry = attrs.spatial.geometry(x.shape)
    result = correlate(np.asarray(as_rows(x), np.float32), np.asarray(as_rows(weights)), geometry, attrs.groups)
    if len(inputs) > 2 and inputs[2] is not None:
        result += nodes.f32(inputs, 2).reshape(-1, 1, 1)
    return result.reshape(attrs.spatial.output_shape(x.shape, attrs.filters))


def quantized(attrs: ConvAttrs | Conv3dAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """Integer cross-correlation: see :func:`microlith.quant.integer_linear.conv2d`."""
    if isinstance(attrs, Conv3dAttrs):
        raise UnsupportedError("Conv over three spatial axes has no integer form", hint="Leave it in float.")
    x, weights, bias = (*inputs, None)[:3]
    assert x is not None and weights is not None, "operands that are never absent"
    geometry = attrs.spatial.geometry(x.values.shape)
    scaled = conv2d(_as_rows(x), _as_rows(weights), bias, geometry, attrs.groups, output.qparams, output.requantization)
    result = saturate(scaled, output.qparams, output.low, output.high)
    return result.reshape(attrs.spatial.output_shape(x.values.shape, attrs.filters))


def _as_rows(x: QArray) -> QArray:
    values = np.asarray(as_rows(x.values), x.values.dtype)
    axis = x.qparams.axis
    if axis is None or axis < 2:
        return QArray(values, x.qparams)
    shifted = QParams(x.qparams.scale, x.qparams.zero_point, x.qparams.dtype, axis + values.ndim - x.values.ndim)
    return QArray(values, shifted)


CONV = Op(
    "Conv",
    parse,
    infer,
    reference,
    quantized,
    macs,
    batches=lambda attrs, inputs, output: inputs[0] is not None and all(item is None for item in inputs[1:]),
    rule=Rule("layer"),
    lowering="lower_volume.lower_conv",
)
