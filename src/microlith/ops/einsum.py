"""Einsum: sums of products over named axes. It is compiled as the products that RewriteEinsum makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape


@dataclass(frozen=True)
class EinsumAttrs:
    """``equation`` without spaces."""

    equation: str

    def terms(self, ranks: Sequence[int]) -> tuple[tuple[str, ...], str]:
        """The letters of every operand and of the result; an ellipsis stands for letters that are not used."""
        left, arrow, result = self.equation.partition("->")
        terms = left.split(",")
        if len(terms) != len(ranks):
            raise ModelError(f"Einsum {self.equation} names {len(terms)} operands and got {len(ranks)}")
        free = [letter for letter in ascii_letters if letter not in self.equation]
        named = [len(term.replace("...", "")) for term in terms]
        if any(
            rank < count or ("..." not in term and rank != count)
            for term, rank, count in zip(terms, ranks, named, strict=True)
        ):
            raise ModelError(f"Einsum {self.equation} got operands of ranks {tuple(ranks)}")  # fmt: skip
        most = max(rank - count for rank, count in zip(ranks, named, strict=True))
        dots = "".join(free[:most])
        written = tuple(
            term.replace("...", dots[most - (rank - count) :])
            for term, rank, count in zip(terms, ranks, named, strict=True)
        )
        if arrow:
            return written, result.replace("...", dots)
        everything = "".join(terms).replace("...", "")
        once = sorted(letter for letter in set(everything) if everything.count(letter) == 1)
        return written, dots + "".join(once)


def parse(node: ir.Node) -> EinsumAttrs:
    """The equation of an Einsum node."""
    equation = nodes.text(node, "equation", "").replace(" ", "")
    letters = set(equation.replace("->", "").replace("...", "").replace(",", ""))
    if not letters <= set(ascii_letters):
        raise ModelError(f"its equation is {equation!r}", node=nodes.where(node))
    return EinsumAttrs(equation)


def sizes_of(terms: Sequence[str], shapes: Sequence[Shape], equation: str) -> dict[str, int]:
    """The size of every letter."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ModelError(f"Einsum {equation} got sizes {sizes[letter]} and {size} for {letter}")
    return sizes


def infer(attrs: EinsumAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The sizes of the letters of the result."""
    terms, result = attrs.terms([len(shape) for shape in inputs])
    sizes = sizes_of(terms, inputs, attrs.equation)
    if not set(result) <= set(sizes):
        raise ModelError(f"the result of Einsum {attrs.equation} has a letter that no operand has")
    return (tuple(sizes[letter] for letter in result),)


def reference(attrs: EinsumAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32."""
    operands = [nodes.f32(inputs, index) for index in range(len(inputs))]
    terms, result = attrs.terms([item.ndim for item in operands])
    return np.asarray(np.einsum(f"{','.join(terms)}->{result}", *operands), np.float32)


EINSUM = Op("Einsum", parse, infer, reference)
