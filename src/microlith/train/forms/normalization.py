"""Normalizations, softmax and reductions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from microlith.ops.group_normalization import GroupNormalizationAttrs
from microlith.ops.layer_normalization import LayerNormalizationAttrs
from microlith.ops.lp_normalization import DEVIATION_OFFSET, LaneNormalizationAttrs
from microlith.ops.lrn import LrnAttrs
from microlith.ops.reduce import ReduceAttrs
from microlith.ops.softmax import SoftmaxAttrs
from microlith.train.forms.base import Form, Function, Site


def _group_norm(attrs: GroupNormalizationAttrs, site: Site) -> Function:
    groups = attrs.count(tuple(site.shapes[0]))
    channels = site.shapes[0][1]
    shape = (-1, *[1] * (len(site.shapes[0]) - 2))

    def group_norm(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        normal = F.group_norm(x, groups, eps=attrs.epsilon)
        repeat = channels // scale.numel()
        gain, offset = (item if repeat == 1 else item.repeat_interleave(repeat) for item in (scale, bias))
        return normal * gain.reshape(shape) + offset.reshape(shape)

    return group_norm


def _layer_norm(attrs: LayerNormalizationAttrs, site: Site) -> Function:
    rank = len(site.shapes[0])
    axes = tuple(range(attrs.split(tuple(site.shapes[0])), rank))

    def layer_norm(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
        mean = x.mean(axes, keepdim=True) if attrs.centers else torch.zeros_like(x.mean(axes, keepdim=True))
        centered = x - mean
        inverse = torch.rsqrt(centered.square().mean(axes, keepdim=True) + attrs.epsilon)
        y = centered * inverse * scale
        return (y if bias is None else y + bias), mean, inverse

    return layer_norm


def _lanes(attrs: LaneNormalizationAttrs, site: Site) -> Function:
    axes = attrs.lanes(len(site.shapes[0]))

    def mean_variance(x: Tensor) -> Tensor:
        centered = x - x.mean(axes, keepdim=True)
        return centered / (torch.sqrt(centered.square().mean(axes, keepdim=True)) + DEVIATION_OFFSET)

    def lp(x: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, attrs.p, axes, keepdim=True)
        return x / torch.where(size == 0, torch.ones_like(size), size)

    return mean_variance if attrs.p is None else lp


def _lrn(attrs: LrnAttrs, site: Site) -> Function:
    before = (attrs.size - 1) // 2
    axes = len(site.shapes[0]) - 2

    def lrn(x: Tensor) -> Tensor:
        squares = F.pad(x.square(), [0, 0] * axes + [before, attrs.size - 1 - before])
        total = squares.unfold(1, attrs.size, 1).sum(-1)
        return x / (attrs.bias + attrs.alpha / attrs.size * total) ** attrs.beta

    return lrn


def _along(compute: Callable[[Tensor, int], Tensor]) -> Callable[[SoftmaxAttrs, Site], Function]:
    def build(attrs: SoftmaxAttrs, site: Site) -> Function:
        shape, axis = attrs.view(tuple(site.shapes[0]))
        if not attrs.flattens:
            return lambda x: compute(x, axis)
        return lambda x: compute(x.reshape(*x.shape[:axis], shape[axis]), axis).reshape(x.shape)

    return build


def _hardmax(x: Tensor, axis: int) -> Tensor:
    place = x.argmax(axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, place, torch.ones_like(place, dtype=x.dtype))


def _reduction(compute: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Callable[[ReduceAttrs, Site], Function]:
    def build(attrs: ReduceAttrs, site: Site) -> Function:
        axes = attrs.reduced(len(site.shapes[0]))
        if axes:
            return lambda x: compute(x, axes, attrs.keepdims)
        # Over no axis: of each element by itself. Torch takes an empty tuple for all axes.
        return lambda x: compute(x.unsqueeze(-1), (-1,), False)

    return build


def _sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _prod(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _norm(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return torch.linalg.vector_norm(x, 2, axes, keepdim=keep)


_REDUCTIONS: dict[str, Callable[[Tensor, tuple[int, ...], bool], Tensor]] = {
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    "ReduceL2": _norm,
    "ReduceLogSum": lambda x, axes, keep: torch.log(_sum(x, axes, keep)),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceProd": _prod,
    "ReduceSum": _sum,
    "ReduceSumSquare": lambda x, axes, keep: _sum(x.square(), axes, keep),
}


NORMALIZATION = (
    *(Form(op_type, _reduction(compute)) for op_type, compute in _REDUCTIONS.items()),
    Form("GroupNormalization", _group_norm, learned=(1, 2)),
    Form("Hardmax", _along(_hardmax), gradient=False),
    Form("InstanceNormalization", _group_norm, learned=(1, 2)),
    Form("LRN", _lrn),
    Form("LayerNormalization", _layer_norm, learned=(1, 2), several=True),
    Form("LogSoftmax", _along(torch.log_softmax)),
    Form("LpNormalization", _lanes),
    Form("MeanVarianceNormalization", _lanes),
    Form("RMSNormalization", _layer_norm, learned=(1, 2), several=True),
    Form("Softmax", _along(torch.softmax)),
)
