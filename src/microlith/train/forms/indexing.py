"""Elements that are chosen by indices, or whose indices are wanted."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from microlith.ops.arg_extreme import ArgExtremeAttrs, TopKAttrs
from microlith.ops.col2im import Col2ImAttrs
from microlith.ops.cum_sum import CumSumAttrs
from microlith.ops.gather import GatherAttrs
from microlith.ops.gather_elements import GatherElementsAttrs
from microlith.ops.gather_nd import GatherNDAttrs
from microlith.ops.grid_sample import GridSampleAttrs
from microlith.ops.max_unpool import MaxUnpoolAttrs, least_shape
from microlith.ops.one_hot import OneHotAttrs
from microlith.ops.reverse_sequence import ReverseSequenceAttrs
from microlith.ops.scatter import ScatterAttrs
from microlith.train.forms.base import Form, Function, Site, indices, like

_REDUCE = {"add": "sum", "mul": "prod", "min": "amin", "max": "amax"}
_SAMPLING = {1: "nearest", 2: "bilinear", 4: "bicubic"}


def _gather(attrs: GatherAttrs, site: Site) -> Function:
    axis = attrs.axis % len(site.shapes[0])
    size = site.shapes[0][axis]
    return lambda x, places: x[(slice(None),) * axis + (indices(places, size),)]


def _gather_elements(attrs: GatherElementsAttrs, site: Site) -> Function:
    axis = attrs.axis % len(site.shapes[0])
    size = site.shapes[0][axis]
    return lambda x, places: torch.gather(x, axis, indices(places, size))


def _tuples(places: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(indices(places[..., axis], shape[axis]) for axis in range(places.shape[-1]))


def _gather_nd(attrs: GatherNDAttrs, site: Site) -> Function:
    batch, shape = attrs.batch_dims, tuple(site.shapes[0])
    result = tuple(site.results[0])

    def gather_nd(x: Tensor, places: Tensor) -> Tensor:
        if not batch:
            return x[_tuples(places, shape)].reshape(result)
        parts = x.reshape(-1, *shape[batch:])
        flat = places.reshape(parts.shape[0], -1, places.shape[-1])
        first = torch.arange(parts.shape[0], device=x.device).reshape(-1, 1)
        return parts[(first, *_tuples(flat, shape[batch:]))].reshape(result)

    return gather_nd


def _overwritten(data: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    """Flat ``data`` where the last of the updates of a place is put; only that one has a gradient."""
    order = torch.arange(places.shape[0], device=data.device)
    none = torch.full(data.shape[:1], -1, dtype=torch.int64, device=data.device)
    last = torch.scatter_reduce(none, 0, places, order, "amax")
    chosen = torch.index_select(updates, 0, last.clamp(min=0))
    return torch.where((last >= 0).reshape(-1, *[1] * (data.dim() - 1)), chosen, data)


def _scatter_elements(attrs: ScatterAttrs, site: Site) -> Function:
    shape = tuple(site.shapes[0])
    axis = attrs.axis % len(shape)
    strides = [math.prod(shape[place + 1 :]) for place in range(len(shape))]
    grid = np.indices(site.shapes[1], sparse=True)
    others = sum(np.asarray(grid[place] * strides[place]) for place in range(len(shape)) if place != axis)

    def scatter(x: Tensor, places: Tensor, updates: Tensor) -> Tensor:
        where = indices(places, shape[axis])
        if attrs.reduction != "none":
            return torch.scatter_reduce(x, axis, where, updates, _REDUCE[attrs.reduction])
        flat = where * strides[axis] + like(np.asarray(others), x)
        return _overwritten(x.reshape(-1), flat.reshape(-1), updates.reshape(-1)).reshape(shape)

    return scatter


def _scatter_nd(attrs: ScatterAttrs, site: Site) -> Function:
    shape = tuple(site.shapes[0])
    depth = site.shapes[1][-1]
    inner = math.prod(shape[depth:])

    def scatter(x: Tensor, places: Tensor, updates: Tensor) -> Tensor:
        flat = torch.zeros(places.shape[:-1], dtype=torch.int64, device=x.device)
        for axis, along in enumerate(_tuples(places, shape)):
            flat = flat * shape[axis] + along
        data, changes = x.reshape(-1, inner), updates.reshape(-1, inner)
        if attrs.reduction == "none":
            return _overwritten(data, flat.reshape(-1), changes).reshape(shape)
        rows = flat.reshape(-1, 1).expand(-1, inner)
        return torch.scatter_reduce(data, 0, rows, changes, _REDUCE[attrs.reduction]).reshape(shape)

    return scatter


def _max_unpool(attrs: MaxUnpoolAttrs, site: Site) -> Function:
    least = least_shape(attrs, tuple(site.shapes[0]))
    widths = [width for a, b in reversed(list(zip(site.results[0], least, strict=True))) for width in (0, a - b)]

    def max_unpool(x: Tensor, places: Tensor) -> Tensor:
        flat = torch.zeros(math.prod(least), dtype=x.dtype, device=x.device)
        filled = _overwritten(flat, indices(places, flat.shape[0]).reshape(-1), x.reshape(-1))
        return F.pad(filled.reshape(least), widths)

    return max_unpool


def _one_hot(attrs: OneHotAttrs, site: Site) -> Function:
    axis = attrs.place(len(site.shapes[0]))

    def one_hot(given: Tensor, values: Tensor) -> Tensor:
        if given.is_floating_point():
            far = (given.abs() >= 1e9) | torch.isnan(given)
            given = torch.where(far, torch.full_like(given, attrs.depth), given)
        lifted = given.long().unsqueeze(axis)
        steps = torch.arange(attrs.depth, device=given.device).reshape(-1, *[1] * (len(site.shapes[0]) - axis))
        return torch.where((lifted == steps) | (lifted == steps - attrs.depth), values[1], values[0])

    return one_hot


def _reverse_sequence(attrs: ReverseSequenceAttrs, site: Site) -> Function:
    shape = site.shapes[0]
    steps = shape[attrs.time_axis]

    def reverse(x: Tensor, lengths: Tensor) -> Tensor:
        time = torch.arange(steps, device=x.device)
        count = lengths.clamp(0, steps)
        time, count = (time, count[:, None]) if attrs.batch_axis == 0 else (time[:, None], count)
        source = torch.where(time < count, count - 1 - time, time)
        where = source.reshape(*source.shape, *[1] * (len(shape) - 2)).expand(shape)
        return torch.gather(x, attrs.time_axis, where)

    return reverse


def _cum_sum(attrs: CumSumAttrs, site: Site) -> Function:
    axis = attrs.axis % len(site.shapes[0])

    def cum_sum(x: Tensor) -> Tensor:
        ordered = torch.flip(x, (axis,)) if attrs.reverse else x
        sums = torch.cumsum(ordered, axis, dtype=x.dtype)
        if attrs.exclusive:
            first = torch.zeros_like(sums.narrow(axis, 0, 1))
            sums = torch.cat([first, sums.narrow(axis, 0, sums.shape[axis] - 1)], axis)
        return torch.flip(sums, (axis,)) if attrs.reverse else sums

    return cum_sum


def _arg(attrs: ArgExtremeAttrs, site: Site) -> Function:
    axis = attrs.axis % len(site.shapes[0])
    last = site.shapes[0][axis] - 1
    choose = torch.argmax if attrs.largest else torch.argmin

    def arg(x: Tensor) -> Tensor:
        if attrs.last:
            return last - choose(torch.flip(x, (axis,)), axis, keepdim=attrs.keep)
        return choose(x, axis, keepdim=attrs.keep)

    return arg


def _top_k(attrs: TopKAttrs, site: Site) -> Function:
    axis = attrs.axis % len(site.shapes[0])

    def top_k(x: Tensor) -> tuple[Tensor, Tensor]:
        values, places = torch.sort(x, dim=axis, descending=attrs.largest, stable=True)
        return values.narrow(axis, 0, attrs.k), places.narrow(axis, 0, attrs.k)

    return top_k


def _col2im(attrs: Col2ImAttrs, site: Site) -> Function:
    places = attrs.places().reshape(-1)
    channels = site.results[0][1]
    inside = tuple(slice(start, start + size) for start, size in zip(attrs.pads, attrs.image, strict=False))

    def col2im(x: Tensor) -> Tensor:
        columns = x.reshape(x.shape[0] * channels, -1)
        padded = torch.zeros((columns.shape[0], math.prod(attrs.padded)), dtype=x.dtype, device=x.device)
        images = torch.index_add(padded, 1, like(places, x), columns)
        return images.reshape(x.shape[0], channels, *attrs.padded)[(slice(None), slice(None), *inside)]

    return col2im


def _grid_sample(attrs: GridSampleAttrs, site: Site) -> Function:
    mode = _SAMPLING[attrs.taps]
    return lambda x, grid: F.grid_sample(x, grid, mode, attrs.padding, attrs.align_corners)


INDEXING = (
    Form("ArgMax", _arg, gradient=False),
    Form("ArgMin", _arg, gradient=False),
    Form("Col2Im", _col2im),
    Form("CumSum", _cum_sum),
    Form("Gather", _gather),
    Form("GatherElements", _gather_elements),
    Form("GatherND", _gather_nd),
    Form("GridSample", _grid_sample),
    Form("MaxUnpool", _max_unpool),
    Form("OneHot", _one_hot, fixed=(2,), gradient=False),
    Form("ReverseSequence", _reverse_sequence),
    Form("ScatterElements", _scatter_elements),
    Form("ScatterND", _scatter_nd),
    Form("TopK", _top_k, several=True),
)
