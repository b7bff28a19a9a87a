"""Matrix products, and attention, which consists of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from microlith.ops.attention import AttentionAttrs
from microlith.ops.einsum import EinsumAttrs
from microlith.ops.gemm import GemmAttrs
from microlith.train.forms.base import Form, Function, Site, plain


def _gemm(attrs: GemmAttrs, site: Site) -> Function:
    bias = site.shapes[2] if len(site.shapes) > 2 else ()
    if attrs.trans_b and not attrs.trans_a and attrs.alpha == attrs.beta == 1.0 and len(bias) <= 1:
        return F.linear

    def gemm(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        found = torch.matmul(a.T if attrs.trans_a else a, b.T if attrs.trans_b else b)
        if attrs.alpha != 1.0:
            found = attrs.alpha * found
        if c is None:
            return found
        return found + (c if attrs.beta == 1.0 else attrs.beta * c)

    return gemm


def _einsum(attrs: EinsumAttrs, site: Site) -> Function:
    terms, result = attrs.terms([len(shape) for shape in site.shapes])
    equation = f"{','.join(terms)}->{result}"
    return lambda *operands: torch.einsum(equation, *operands)


def _attention(attrs: AttentionAttrs, site: Site) -> Function:
    heads = [attrs.split(shape, index)[1] for index, shape in enumerate(site.shapes[:3])]
    group = heads[0] // heads[1]

    def by_heads(x: Tensor, count: int) -> Tensor:
        return x if x.dim() == 4 else x.unflatten(2, (count, -1)).transpose(1, 2)

    def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (by_heads(x, count) for x, count in zip((query, key, value), heads, strict=True))
        k, v = (x if group == 1 else x.repeat_interleave(group, dim=1) for x in (k, v))
        products = torch.matmul(q, k.transpose(2, 3)) * attrs.factor(q.shape[3])
        mixed = torch.matmul(torch.softmax(_masked(attrs, products, mask), dim=3), v)
        return mixed if query.dim() == 4 else mixed.transpose(1, 2).flatten(2)

    return attention


def _masked(attrs: AttentionAttrs, products: Tensor, mask: Tensor | None) -> Tensor:
    if attrs.cap:
        products = attrs.cap * torch.tanh(products / attrs.cap)
    if mask is not None and mask.dtype == torch.bool:
        products = products.masked_fill(~mask, -math.inf)
    elif mask is not None:
        products = products + mask
    if attrs.causal:
        seen = torch.ones(products.shape[2:], dtype=torch.bool, device=products.device).tril()
        products = products.masked_fill(~seen, -math.inf)
    return products


PRODUCTS = (
    Form("Attention", _attention, fixed=(3,)),
    Form("Einsum", _einsum),
    Form("Gemm", _gemm, learned=(1, 2)),
    Form("MatMul", plain(torch.matmul), learned=(0, 1)),
)
