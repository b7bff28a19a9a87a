"""ConvTranspose over one to three spatial axes: groups, strides, dilations, output_padding, automatic padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError, UnsupportedError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.volume import Volume, parse_volume, sized
from microlith.quant.integer_linear import conv_transpose
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray
from microlith.quant.volumes import VolumeGeometry, correlate_transposed


@dataclass(frozen=True)
class ConvTransposeAttrs:
    """Attributes of ConvTranspose.

    Attributes:
        volume: the windows of the convolution that it transposes.
        groups: number of groups.
        channels: input channels.
        filters: output channels.
        output_padding: elements added after the result, for each spatial axis.
        output_shape: spatial sizes asked for, from which the pads follow; None where the pads are given.
    """

    volume: Volume
    groups: int
    channels: int
    filters: int
    output_padding: tuple[int, ...]
    output_shape: tuple[int, ...] | None

    def geometry(self, shape: Shape) -> VolumeGeometry:
        """Sizes of the result and what is cut off in front of it."""
        size, volume = self.volume.spatial(shape), self.volume
        before, output = [], []
        for axis in range(volume.rank):
            whole = volume.stride[axis] * (size[axis] - 1) + self.output_padding[axis] + volume.extent(axis)
            wanted = None if self.output_shape is None else self.output_shape[axis]
            if wanted is None and volume.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
                wanted = size[axis] * volume.stride[axis]
            if wanted is None:
                pads = (0, 0) if volume.auto_pad == "VALID" else (volume.pads[axis], volume.pads[axis + volume.rank])
                wanted = whole - sum(pads)
                start = pads[0]
            else:
                total = max(0, whole - wanted)
                start = total // 2 if volume.auto_pad == "SAME_UPPER" else total - total // 2
            if wanted < 1:
                raise ModelError(f"ConvTranspose with these pads leaves nothing of an input of shape {shape}")
            before.append(start)
            output.append(wanted)
        none = (0,) * volume.rank
        return VolumeGeometry(volume.kernel, volume.stride, volume.dilation, tuple(before), none, size, tuple(output))


def parse(node: ir.Node) -> ConvTransposeAttrs:
    """Attributes of a ConvTranspose node, whose weights must have a known shape."""
    shape = nodes.input_shape(node, 1)
    kernel = nodes.integers(node, "kernel_shape", shape[2:]) or ()
    if len(shape) < 3 or kernel != shape[2:]:
        raise ModelError(f"kernel_shape is {kernel} but the weights have shape {shape}", node=nodes.where(node))
    groups = nodes.integer(node, "group", 1)
    if groups < 1 or shape[0] % groups:
        raise ModelError(f"{shape[0]} channels cannot be split into {groups} groups", node=nodes.where(node))
    volume = parse_volume(node, kernel)
    padding = sized(node, "output_padding", volume.rank, 0)
    wanted = nodes.integers(node, "output_shape")
    if min(padding) < 0 or (wanted is not None and len(wanted) not in (volume.rank, volume.rank + 2)):
        raise ModelError(f"output_padding is {padding} and output_shape {wanted}", node=nodes.where(node))
    wanted = None if wanted is None else wanted[-volume.rank :]
    return ConvTransposeAttrs(volume, groups, shape[0], shape[1] * groups, padding, wanted)


def infer(attrs: ConvTransposeAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(N, O, ...)."""
    if len(inputs[0]) < 2 or inputs[0][1] != attrs.channels:
        raise ModelError(f"ConvTranspose over {attrs.channels} channels got an input of shape {inputs[0]}")
    return ((inputs[0][0], attrs.filters, *attrs.geometry(inputs[0]).output),)


def macs(attrs: ConvTransposeAttrs, inputs: Sequence[Shape], output: Shape) -> int:
    """Input elements times the weights that each multiplies."""
    taps = int(np.prod(attrs.volume.kernel, dtype=np.int64))
    return int(np.prod(inputs[0], dtype=np.int64)) * taps * (attrs.filters // attrs.groups)


def reference(attrs: ConvTransposeAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32: every input element adds its multiple of the weights."""
    x, weights = nodes.f32(inputs, 0), nodes.f32(inputs, 1)
    result = correlate_transposed(x, weights, attrs.geometry(x.shape), attrs.groups)
    if len(inputs) > 2 and inputs[2] is not None:
        result = result + nodes.f32(inputs, 2).reshape(-1, *[1] * attrs.volume.rank)
    return result


def quantized(attrs: ConvTransposeAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """Integer transposed convolution: see :func:`microlith.quant.integer_linear.conv_transpose`."""
    x, weights, bias = (*inputs, None)[:3]
    assert x is not None and weights is not None, "operands that are never absent"
    if attrs.volume.rank > 2:
        raise UnsupportedError("ConvTranspose over three spatial axes has no integer form", hint="Leave it in float.")
    geometry = attrs.geometry(x.values.shape)
    scaled = conv_transpose(x, weights, bias, geometry, attrs.groups, output.qparams, output.requantization)
    return saturate(scaled, output.qparams, output.low, output.high)


CONV_TRANSPOSE = Op(
    "ConvTranspose",
    parse,
    infer,
    reference,
    quantized,
    macs,
    batches=lambda attrs, inputs, output: inputs[0] is not None and all(item is None for item in inputs[1:]),
    rule=Rule("layer"),
    lowering="lower_volume.lower_conv_transpose",
)
