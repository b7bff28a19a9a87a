"""Convolutions and pools: windows over one to three spatial axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from microlith.ops.base import Shape
from microlith.ops.conv3d import Conv3dAttrs
from microlith.ops.conv_transpose import ConvTransposeAttrs
from microlith.ops.pool_nd import PoolNdAttrs
from microlith.ops.spatial import Spatial
from microlith.ops.volume import Volume
from microlith.quant.volumes import VolumeGeometry
from microlith.train.forms.base import Form, Function, Site, like

_CONV = (F.conv1d, F.conv2d, F.conv3d)
_CONV_TRANSPOSE = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_MAX_POOL = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


def geometry_of(windows: Spatial | Volume, shape: Shape) -> VolumeGeometry:
    """The windows on an input, one number for each spatial axis of the graph."""
    if isinstance(windows, Volume):
        return windows.geometry(shape)
    found, rank = windows.geometry(shape), windows.rank
    parts = (found.kernel, found.stride, found.dilation, found.pad[:2], found.pad[2:], found.size, found.output)
    kernel, stride, dilation, before, after, size, output = (part[-rank:] for part in parts)
    return VolumeGeometry(kernel, stride, dilation, before, after, size, output)


def _reach(geometry: VolumeGeometry) -> tuple[int, ...]:
    """Elements behind the input that the last window reaches."""
    return tuple(
        max(0, (output - 1) * stride + (kernel - 1) * dilation + 1 - before - size)
        for output, stride, kernel, dilation, before, size in zip(
            geometry.output, geometry.stride, geometry.kernel, geometry.dilation, geometry.before, geometry.size,
            strict=True,
        )
    )  # fmt: skip


def pad_widths(before: tuple[int, ...], after: tuple[int, ...]) -> list[int]:
    """As torch wants them: the last axis first."""
    return [width for pair in zip(reversed(before), reversed(after), strict=True) for width in pair]


def _conv(attrs: Any, site: Site) -> Function:
    windows = attrs.volume if isinstance(attrs, Conv3dAttrs) else attrs.spatial
    geometry = geometry_of(windows, site.shapes[0])
    after = _reach(geometry)
    convolve = _CONV[len(geometry.kernel) - 1]
    stride, dilation, groups = geometry.stride, geometry.dilation, attrs.groups
    # What torch can pad by itself: the same on both sides, beyond what the last window reaches.
    own = all(b >= a for b, a in zip(geometry.before, after, strict=True)) and _sized_alike(geometry)
    widths = pad_widths(geometry.before, after)
    padding = geometry.before if own else (0,) * len(after)

    def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        padded = x if own else F.pad(x, widths)
        return convolve(padded, weight, bias, stride, padding, dilation, groups)

    return conv


def _sized_alike(geometry: VolumeGeometry) -> bool:
    """Whether padding by ``before`` on both sides gives as many windows."""
    return all(
        (size + 2 * before - (kernel - 1) * dilation - 1) // stride + 1 == output
        for size, before, kernel, dilation, stride, output in zip(
            geometry.size, geometry.before, geometry.kernel, geometry.dilation, geometry.stride, geometry.output,
            strict=True,
        )
    )  # fmt: skip


def _conv_transpose(attrs: ConvTransposeAttrs, site: Site) -> Function:
    geometry = attrs.geometry(site.shapes[0])
    convolve = _CONV_TRANSPOSE[len(geometry.kernel) - 1]
    whole = [
        (size - 1) * stride + (kernel - 1) * dilation + 1
        for size, stride, kernel, dilation in zip(
            geometry.size, geometry.stride, geometry.kernel, geometry.dilation, strict=True
        )
    ]
    after = tuple(o - (w - b) for o, w, b in zip(geometry.output, whole, geometry.before, strict=True))
    widths = pad_widths(tuple(-b for b in geometry.before), after)
    channel = (-1, *[1] * len(whole))

    def conv_transpose(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        full = convolve(x, weight, None, geometry.stride, 0, 0, attrs.groups, geometry.dilation)
        found = F.pad(full, widths) if any(widths) else full
        return found if bias is None else found + bias.reshape(channel)

    return conv_transpose


def _pool_windows(attrs: Any) -> Spatial | Volume:
    found: Spatial | Volume = attrs.volume if isinstance(attrs, PoolNdAttrs) else attrs.spatial
    return found


def _max_pool(attrs: Any, site: Site) -> Function:
    geometry = geometry_of(_pool_windows(attrs), site.shapes[0])
    pool = _MAX_POOL[len(geometry.kernel) - 1]
    widths = pad_widths(geometry.before, _reach(geometry))
    numbers = geometry.kernel, geometry.stride, 0, geometry.dilation

    def max_pool(x: Tensor) -> tuple[Tensor, ...]:
        padded = F.pad(x, widths, value=-math.inf) if any(widths) else x
        return (_as_many(pool(padded, *numbers), geometry),)

    def with_indices(x: Tensor) -> tuple[Tensor, ...]:
        padded = F.pad(x, widths, value=-math.inf) if any(widths) else x
        found, places = pool(padded, *numbers, return_indices=True)
        places = _in_input(_as_many(places, geometry), geometry, padded.shape[2:], attrs.column_major)
        planes = torch.arange(x.shape[0] * x.shape[1], device=x.device).reshape(*x.shape[:2], *[1] * (x.dim() - 2))
        return _as_many(found, geometry), places + planes * math.prod(geometry.size)

    return with_indices if len(site.node.outputs) > 1 and isinstance(attrs, PoolNdAttrs) else max_pool


def _as_many(found: Tensor, geometry: VolumeGeometry) -> Tensor:
    """Without the windows that the graph does not ask for."""
    for axis, count in enumerate(geometry.output, 2):
        found = found.narrow(axis, 0, count)
    return found


def _in_input(places: Tensor, geometry: VolumeGeometry, padded: Any, column_major: bool) -> Tensor:
    """Places in the padded input as places in the input."""
    rest, found = places, torch.zeros_like(places)
    strides = [math.prod(geometry.size[axis + 1 :]) for axis in range(len(geometry.size))]
    if column_major:
        strides = [math.prod(geometry.size[:axis]) for axis in range(len(geometry.size))]
    for axis in reversed(range(len(geometry.size))):
        found = found + (rest % padded[axis] - geometry.before[axis]) * strides[axis]
        rest = rest // padded[axis]
    return found


def sums(x: Tensor, geometry: VolumeGeometry) -> Tensor:
    """The sum over each window; of integers carried in floats it is exact."""
    widths = pad_widths(geometry.before, _reach(geometry))
    padded = F.pad(x, widths) if any(widths) else x
    rank = len(geometry.kernel)
    if all(step == 1 for step in geometry.dilation):
        if rank == 1:
            kernel, stride = (1, *geometry.kernel), (1, *geometry.stride)
            found = F.avg_pool2d(padded.unsqueeze(2), kernel, stride, divisor_override=1).squeeze(2)
        else:
            pool = F.avg_pool2d if rank == 2 else F.avg_pool3d
            found = pool(padded, geometry.kernel, geometry.stride, divisor_override=1)
        return _as_many(found, geometry)
    ones = torch.ones((x.shape[1], 1, *geometry.kernel), dtype=x.dtype, device=x.device)
    found = _CONV[rank - 1](padded, ones, None, geometry.stride, 0, geometry.dilation, x.shape[1])
    return _as_many(found, geometry)


def _average_pool(attrs: Any, site: Site) -> Function:
    geometry = geometry_of(_pool_windows(attrs), site.shapes[0])
    counts = geometry.counts(attrs.count_include_pad).astype(np.float64)
    return lambda x: sums(x, geometry) / like(counts, x)


def _lp_pool(attrs: PoolNdAttrs, site: Site) -> Function:
    geometry = geometry_of(attrs.volume, site.shapes[0])
    return lambda x: root(sums(torch.abs(x) ** attrs.p, geometry), attrs.p)


def root(total: Tensor, p: int) -> Tensor:
    """The p-th root of a sum that is not negative; its gradient is 0 where the sum is."""
    if p == 1:
        return total
    found = torch.where(total > 0, total, torch.ones_like(total)) ** (1 / p)
    return torch.where(total > 0, found, torch.zeros_like(found))


def _spatial(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.dim()))


def _global_lp(attrs: Any, site: Site) -> Function:
    return lambda x: root((torch.abs(x) ** attrs.p).sum(_spatial(x), keepdim=True), attrs.p)


WINDOWS = (
    Form("AveragePool", _average_pool),
    Form("Conv", _conv, learned=(1, 2)),
    Form("ConvTranspose", _conv_transpose, learned=(1, 2)),
    Form("GlobalAveragePool", lambda attrs, site: lambda x: x.mean(_spatial(x), keepdim=True)),
    Form("GlobalLpPool", _global_lp),
    Form("GlobalMaxPool", lambda attrs, site: lambda x: x.amax(_spatial(x), keepdim=True)),
    Form("LpPool", _lp_pool),
    Form("MaxPool", _max_pool, several=True),
)
