"""Conv over three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Shape
from microlith.ops.volume import Volume, parse_volume
from microlith.quant.volumes import correlate


@dataclass(frozen=True)
class Conv3dAttrs:
    """Attributes of Conv.

    Attributes:
        volume: the windows.
        groups: number of groups.
        filters: output channels.
        channels: input channels.
    """

    volume: Volume
    groups: int
    filters: int
    channels: int


def parse(node: ir.Node, kernel: tuple[int, ...], groups: int, filters: int, channels: int) -> Conv3dAttrs:
    """Attributes of a Conv node whose weights were checked."""
    return Conv3dAttrs(parse_volume(node, kernel), groups, filters, channels)


def infer(attrs: Conv3dAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(N, O, OD, OH, OW)."""
    if len(inputs[0]) < 2 or inputs[0][1] != attrs.channels:
        raise ModelError(f"Conv over {attrs.channels} channels got an input of shape {inputs[0]}")
    return ((inputs[0][0], attrs.filters, *attrs.volume.geometry(inputs[0]).output),)


def macs(attrs: Conv3dAttrs, output: Shape) -> int:
    """Output elements times the weights of a filter."""
    taps = int(np.prod(attrs.volume.kernel, dtype=np.int64))
    return int(np.prod(output, dtype=np.int64)) * taps * (attrs.channels // attrs.groups)


def reference(attrs: Conv3dAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32 cross-correlation, one tap after another."""
    x, weights = nodes.f32(inputs, 0), nodes.f32(inputs, 1)
    result = correlate(x, weights, attrs.volume.geometry(x.shape), attrs.groups)
    if len(inputs) > 2 and inputs[2] is not None:
        result = result + nodes.f32(inputs, 2).reshape(-1, 1, 1, 1)
    return result
