"""An Einsum is written out as transpositions, sums and matrix products.

Two operands at a time: letters that one of them alone has and the result has not are summed; then both become stacks of
matrices, ``(shared and kept, own, summed)`` by ``(shared and kept, summed, own)``, whose product has the letters shared
and kept, those of the first and those of the second. At last the letters are brought into the order of the result.
Source: the equation is that of numpy.einsum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.values import add_initializer, insert_node, new_value, replace_node, static_shape, unique_name
from microlith.ops import op_of
from microlith.ops.einsum import sizes_of


class RewriteEinsum:
    """Writes out every Einsum of floats in which no operand has a letter twice."""

    name = "RewriteEinsum"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-6, "products are summed in another order")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: Einsums written out."""
        return PassResult(sum(_rewrite(model.graph, node) for node in list(model.graph) if node.op_type == "Einsum"))


@dataclass(frozen=True, eq=False)
class _Term:
    """A value and the letters of its axes."""

    value: ir.Value
    letters: str


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    values = [value for value in node.inputs if value is not None]
    if any(value.dtype != ir.DataType.FLOAT for value in values):
        return False
    attrs = op_of(node).parse(node)
    shapes = [static_shape(value) for value in values]
    letters, result = attrs.terms([len(shape) for shape in shapes])
    if any(len(set(term)) != len(term) for term in (*letters, result)):
        return False
    maker = _Maker(graph, node, sizes_of(letters, shapes, attrs.equation))
    terms = [_Term(value, term) for value, term in zip(values, letters, strict=True)]
    while len(terms) > 1:
        wanted = set(result).union(*(term.letters for term in terms[2:]))
        terms = [maker.product(terms[0], terms[1], wanted), *terms[2:]]
    last = maker.summed(terms[0], set(result))
    if set(last.letters) != set(result):
        raise ModelError(f"the result of Einsum {attrs.equation} has a letter that no operand has")
    perm = [last.letters.index(letter) for letter in result]
    replace_node(node, "Transpose", [last.value], {"perm": ir.AttrInt64s("perm", perm)})
    return True


@dataclass(frozen=True, eq=False)
class _Maker:
    """Makes nodes in front of an Einsum."""

    graph: ir.Graph
    node: ir.Node
    sizes: dict[str, int]

    def summed(self, term: _Term, wanted: set[str]) -> _Term:
        """Without the letters that are not wanted."""
        axes = [axis for axis, letter in enumerate(term.letters) if letter not in wanted]
        if not axes:
            return term
        kept = "".join(letter for letter in term.letters if letter in wanted)
        listed = add_initializer(self.graph, f"{self.node.name}_axes", np.array(axes, np.int64))
        keep = {"keepdims": ir.AttrInt64("keepdims", 0)}
        return _Term(self._insert("ReduceSum", [term.value, listed], kept, keep), kept)

    def product(self, a: _Term, b: _Term, wanted: set[str]) -> _Term:
        """Of two terms, with the letters that are wanted."""
        a, b = self.summed(a, wanted | set(b.letters)), self.summed(b, wanted | set(a.letters))
        shared = [letter for letter in a.letters if letter in b.letters]
        stack = "".join(letter for letter in shared if letter in wanted)
        inner = "".join(letter for letter in shared if letter not in wanted)
        rows = "".join(letter for letter in a.letters if letter not in shared)
        columns = "".join(letter for letter in b.letters if letter not in shared)
        left = self._matrices(a, stack, rows, inner)
        right = self._matrices(b, stack, inner, columns)
        shape = (*self._shape(stack), self._count(rows), self._count(columns))
        value = new_value(unique_name(self.graph, f"{self.node.name}_product"), self.node.outputs[0], shape)
        insert_node(self.node, "MatMul", [left, right], value)
        return _Term(self._reshaped(value, stack + rows + columns), stack + rows + columns)

    def _matrices(self, term: _Term, stack: str, rows: str, columns: str) -> ir.Value:
        order = stack + rows + columns
        value = term.value
        if order != term.letters:
            perm = [term.letters.index(letter) for letter in order]
            value = self._insert("Transpose", [value], order, {"perm": ir.AttrInt64s("perm", perm)})
        return self._to_shape(value, (*self._shape(stack), self._count(rows), self._count(columns)))

    def _reshaped(self, value: ir.Value, letters: str) -> ir.Value:
        return self._to_shape(value, self._shape(letters))

    def _to_shape(self, value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
        if static_shape(value) == shape:
            return value
        listed = add_initializer(self.graph, f"{self.node.name}_shape", np.array(shape, np.int64))
        result = new_value(unique_name(self.graph, f"{self.node.name}_part"), self.node.outputs[0], shape)
        insert_node(self.node, "Reshape", [value, listed], result)
        return result

    def _insert(
        self, op_type: str, inputs: Sequence[ir.Value], letters: str, attributes: dict[str, ir.Attr]
    ) -> ir.Value:
        name = unique_name(self.graph, f"{self.node.name}_part")
        value = new_value(name, self.node.outputs[0], self._shape(letters))
        insert_node(self.node, op_type, inputs, value, attributes)
        return value

    def _shape(self, letters: str) -> tuple[int, ...]:
        return tuple(self.sizes[letter] for letter in letters)

    def _count(self, letters: str) -> int:
        return int(np.prod(self._shape(letters), dtype=np.int64))
