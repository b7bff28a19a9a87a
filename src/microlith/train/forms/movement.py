"""Elements that move, and repeat or fill what is around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from microlith.ops.center_crop_pad import CenterCropPadAttrs
from microlith.ops.concat import ConcatAttrs
from microlith.ops.depth_space import DepthSpaceAttrs
from microlith.ops.interpolation import Weights
from microlith.ops.pad import PadAttrs
from microlith.ops.remap import NOWHERE, Places
from microlith.ops.resize import ResizeAttrs
from microlith.ops.slice import SliceAttrs
from microlith.ops.split import SplitAttrs
from microlith.ops.tile import TileAttrs
from microlith.ops.transpose import TransposeAttrs
from microlith.ops.trilu import TriluAttrs
from microlith.train.forms.base import Form, Function, Site, like


def _reshape(attrs: Any, site: Site) -> Function:
    shape = tuple(site.results[0])
    if site.stacked:
        return lambda x: x.reshape(x.shape[0], *shape[1:])
    return lambda x: x.reshape(shape)


def _transpose(attrs: TransposeAttrs, site: Site) -> Function:
    axes = attrs.axes(len(site.shapes[0]))
    return lambda x: x.permute(axes)


def _slice(attrs: SliceAttrs, site: Site) -> Function:
    index, flips = [], []
    for axis, (taken, size) in enumerate(zip(attrs.ranges(site.shapes[0]), site.shapes[0], strict=True)):
        if taken == range(size):
            index.append(slice(None))
            continue
        upwards = taken if taken.step > 0 else taken[::-1]
        flips += [axis] if taken.step < 0 else []
        index.append(slice(upwards.start, upwards.stop, upwards.step))
    where, turned = tuple(index), tuple(flips)
    return lambda x: torch.flip(x[where], turned) if turned else x[where]


def _concat(attrs: ConcatAttrs, site: Site) -> Function:
    return lambda *parts: torch.cat(parts, dim=attrs.axis)


def _split(attrs: SplitAttrs, site: Site) -> Function:
    axis, sizes = attrs.parts(site.shapes[0])
    return lambda x: torch.split(x, list(sizes), dim=axis)


def take(x: Tensor, places: Sequence[Places | None], value: float) -> Tensor:
    """Along each axis the elements that are listed, ``value`` where nothing is."""
    for axis, listed in enumerate(places):
        if listed is None:
            continue
        x = torch.index_select(x, axis, like(np.maximum(listed, 0), x))
        nowhere = listed == NOWHERE
        if nowhere.any():
            shape = [1] * x.dim()
            shape[axis] = -1
            x = torch.where(like(nowhere, x).reshape(shape), torch.full_like(x, value), x)
    return x


def _pad(attrs: PadAttrs, site: Site) -> Function:
    widths = attrs.widths(len(site.shapes[0]))
    if attrs.mode == "constant":
        flat = [width for pair in reversed(widths) for width in pair]
        return lambda x: F.pad(x, flat, value=attrs.value)
    places = attrs.places(site.shapes[0])
    return lambda x: take(x, places, attrs.value)


def _center_crop_pad(attrs: CenterCropPadAttrs, site: Site) -> Function:
    places = attrs.places(site.shapes[0])
    return lambda x: take(x, places, 0.0)


def _resize(attrs: ResizeAttrs, site: Site) -> Function:
    if attrs.how.mode == "nearest":
        places = attrs.places(site.shapes[0])
        return lambda x: take(x, places, attrs.how.extrapolation)
    lines = []
    for axis, item in attrs.resized(site.shapes[0]).items():
        where, weights, base = attrs.how.weighted(item)
        lines.append((axis, _matrix(where, weights, item.size), base))

    def resize(x: Tensor) -> Tensor:
        for axis, matrix, base in lines:
            found = torch.matmul(x.movedim(axis, -1), like(matrix, x)) + like(base, x)
            x = found.movedim(-1, axis)
        return x

    return resize


def _matrix(places: Places, weights: Weights, size: int) -> Weights:
    """The weight of each of ``size`` elements in each result."""
    found = np.zeros((size, len(places)))
    columns = np.broadcast_to(np.arange(len(places))[:, None], places.shape)
    np.add.at(found, (places, columns), weights)
    return found


def _tile(attrs: TileAttrs, site: Site) -> Function:
    return lambda x: x.repeat(attrs.repeats)


def _expand(attrs: Any, site: Site) -> Function:
    shape = tuple(site.results[0])
    if site.stacked:
        return lambda x: torch.broadcast_to(x, (x.shape[0], *shape[1:]))
    return lambda x: torch.broadcast_to(x, shape)


def _to_space(attrs: DepthSpaceAttrs, site: Site) -> Function:
    _, channels, height, width = site.results[0]
    block = attrs.block
    order = (0, 1, 4, 2, 5, 3) if attrs.column_first else (0, 3, 4, 1, 5, 2)
    split = (channels, block, block) if attrs.column_first else (block, block, channels)

    def to_space(x: Tensor) -> Tensor:
        parts = x.reshape(x.shape[0], *split, height // block, width // block)
        return parts.permute(order).reshape(x.shape[0], channels, height, width)

    return to_space


def _to_depth(attrs: DepthSpaceAttrs, site: Site) -> Function:
    _, channels, height, width = site.shapes[0]
    block = attrs.block

    def to_depth(x: Tensor) -> Tensor:
        parts = x.reshape(x.shape[0], channels, height // block, block, width // block, block)
        return parts.permute(0, 3, 5, 1, 2, 4).reshape(x.shape[0], -1, height // block, width // block)

    return to_depth


def _trilu(attrs: TriluAttrs, site: Site) -> Function:
    rows, columns = site.shapes[0][-2:]
    distance = np.arange(columns) - np.arange(rows).reshape(-1, 1)
    kept = distance >= attrs.k if attrs.upper else distance <= attrs.k
    return lambda x: torch.where(like(kept, x), x, torch.zeros_like(x))


MOVEMENT = (
    Form("CenterCropPad", _center_crop_pad),
    Form("Concat", _concat),
    Form("DepthToSpace", _to_space),
    Form("Expand", _expand),
    Form("Flatten", _reshape, stacks=True),
    Form("Pad", _pad),
    Form("Reshape", _reshape, stacks=True),
    Form("Resize", _resize),
    Form("Slice", _slice),
    Form("SpaceToDepth", _to_depth),
    Form("Split", _split, several=True),
    Form("Squeeze", _reshape, stacks=True),
    Form("Tile", _tile),
    Form("Transpose", _transpose),
    Form("Trilu", _trilu),
    Form("Unsqueeze", _reshape, stacks=True),
)
