"""A softmax between two matrix products is an Attention.

``Softmax(s * (a Q) (b K)' + M) V = Attention(Q, K, V, M)`` of scale ``s a b``, for factors s, a, b of one element and
any mask M that does not enlarge the products. Products that go through ``c tanh(x / c)`` have a cap of c. A constant M
that is 0 up to the diagonal and very low behind it says what ``is_causal`` does. Keys and values that are repeated for
a group of heads, ``Reshape(Expand(Unsqueeze(K)))``, are read by all heads of the group as they are.

The products of all queries and keys are then never in memory at once. Attention has no integer form: this is applied
by lowering, after quantization, to what has stayed in float.

Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017, section 3.2.1.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.patterns import FUSED_NODES, in_both_orders, made_by, remove_unused
from microlith.graph.values import (
    constant,
    constant_scalar,
    input_at,
    insert_node,
    integer,
    new_value,
    replace_node,
    sole_consumer,
    static_shape,
    unique_name,
)
from microlith.ops import OPS

_HIDDEN = -1e4
"""What is added to a product of at most usual size so that it counts for nothing; exporters take it or less."""


@dataclass
class _Products:
    """``scale * left right' + mask``, capped, and the nodes that compute it."""

    left: ir.Value
    right: ir.Value
    scale: float = 1.0
    cap: float = 0.0
    mask: ir.Value | None = None
    nodes: list[ir.Node] = field(default_factory=list)


class FuseAttention:
    """Replaces MatMul, scale, mask, Softmax, MatMul by Attention, where nothing else reads what is between."""

    name = "FuseAttention"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-5, "factors are multiplied into one")

    def __init__(self, supported: Collection[str] = OPS) -> None:
        self._supported = supported

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: products replaced."""
        changes = 0
        for node in list(model.graph) if "Attention" in self._supported else ():
            if node.graph is not None and node.op_type == "MatMul" and _fuse(node):
                changes += 1
        return PassResult(changes)


def _fuse(node: ir.Node) -> bool:
    shares, values = node.inputs
    softmax = made_by(shares, "Softmax")
    if softmax is None or shares is None or values is None or sole_consumer(shares) is not node:
        return False
    shape = static_shape(shares)
    found = _products(softmax.inputs[0]) if integer(softmax, "axis", -1) in (-1, len(shape) - 1) else None
    if found is None or not _fits(found, values, shape) or values.dtype != ir.DataType.FLOAT:
        return False
    keys = _turned(node, found.right)
    attributes: dict[str, ir.Attr] = {"scale": ir.AttrFloat32("scale", found.scale)}
    if found.cap:
        attributes["softcap"] = ir.AttrFloat32("softcap", found.cap)
    if len(shape) == 3:
        attributes |= {name: ir.AttrInt64(name, 1) for name in ("q_num_heads", "kv_num_heads")}
    inputs = [found.left, *_ungrouped(keys, values, shape[1])]
    if found.mask is not None and _is_causal(constant(found.mask), shape):
        attributes["is_causal"] = ir.AttrInt64("is_causal", 1)
    elif found.mask is not None:
        inputs.append(found.mask)
    made = replace_node(node, "Attention", inputs, attributes)
    made.meta[FUSED_NODES] = tuple(str(item.name) for item in (*found.nodes[::-1], softmax, node))
    for item in (softmax, keys.producer(), values.producer()):
        remove_unused(item)
    return True


def _fits(found: _Products, values: ir.Value, shape: tuple[int, ...]) -> bool:
    """Whether the operands are stacks of as many matrices, one for each head; of rank 3 there is one head."""
    if len(shape) not in (3, 4) or found.left.dtype != ir.DataType.FLOAT:
        return False
    stacks = [static_shape(value) for value in (found.left, found.right, values)]
    if any(len(stack) != len(shape) or stack[:-2] != shape[:-2] for stack in stacks):
        return False
    if len(shape) == 3 and found.mask is not None and len(static_shape(found.mask)) > 2:
        return False
    # Constants are weights of products with one operand: these are faster.
    return all(constant(value) is None for value in (found.left, found.right, values))


def _products(value: ir.Value | None) -> _Products | None:
    """What a Softmax reads, taken apart from its end to the product in front."""
    scale, cap, mask, nodes = 1.0, 0.0, None, []
    while value is not None and (node := value.producer()) is not None and sole_consumer(value) is not None:
        nodes.append(node)
        if node.op_type == "MatMul":
            return _with_factors(node, scale, cap, mask, nodes)
        factor, capped = _factor(node), None if cap or scale != 1.0 else _capped(node)
        if capped is not None:
            cap, scale, value, inner = capped
            nodes += inner
        elif factor is not None:
            value, number = factor
            scale *= number
        elif node.op_type == "Add" and mask is None and not cap and scale == 1.0:
            parts = [(x, added) for x, added in in_both_orders(node) if _is_mask(x, added)]
            if not parts:
                return None
            # A mask is rather a constant, or a comparison, than a product.
            value, mask = min(parts, key=lambda pair: made_by(pair[1], "MatMul", "Mul", "Div") is not None)
        else:
            return None
    return None


def _is_mask(x: ir.Value, added: ir.Value) -> bool:
    """Whether something is added to what else is computed from a product, without enlarging it."""
    if made_by(x, "MatMul", "Mul", "Div") is None or added.dtype != ir.DataType.FLOAT:
        return False
    shape, mask = static_shape(x), static_shape(added)
    return len(mask) <= len(shape) and np.broadcast_shapes(shape, mask) == shape


def _factor(node: ir.Node) -> tuple[ir.Value, float] | None:
    """x and f of ``x * f`` or ``x / (1 / f)``, where f is one number and x has the shape of the result."""
    first, second = input_at(node, 0), input_at(node, 1)
    if node.op_type not in ("Mul", "Div") or first is None or second is None:
        return None
    for x, other in in_both_orders(node) if node.op_type == "Mul" else ((first, second),):
        number = constant_scalar(other)
        if number and static_shape(x) == static_shape(node.outputs[0]):
            return x, number if node.op_type == "Mul" else 1 / number
    return None


def _capped(node: ir.Node) -> tuple[float, float, ir.Value, list[ir.Node]] | None:
    """c, ``f c``, x and nodes of ``c * tanh(f * x)``."""
    outer = _factor(node)
    tanh = None if outer is None else made_by(outer[0], "Tanh")
    if outer is None or tanh is None or outer[1] <= 0 or sole_consumer(outer[0]) is None:
        return None
    source = tanh.inputs[0]
    assert source is not None, "Tanh has an operand"
    divided = source.producer()
    inner = None if divided is None or sole_consumer(source) is None else _factor(divided)
    if inner is None or divided is None:
        return outer[1], outer[1], source, [tanh]
    return outer[1], outer[1] * inner[1], inner[0], [tanh, divided]


def _with_factors(
    node: ir.Node, scale: float, cap: float, mask: ir.Value | None, nodes: list[ir.Node]
) -> _Products | None:
    left, right = node.inputs
    assert left is not None and right is not None, "MatMul has two operands"
    for side in ("left", "right"):
        value = left if side == "left" else right
        producer = value.producer()
        factor = None if producer is None or sole_consumer(value) is None else _factor(producer)
        if factor is not None and producer is not None:
            nodes.append(producer)
            scale *= factor[1]
            left, right = (factor[0], right) if side == "left" else (left, factor[0])
    return _Products(left, right, scale, cap, mask, nodes)


def _turned(node: ir.Node, right: ir.Value) -> ir.Value:
    """The keys as rows: without the Transpose that made columns of them, or by one that undoes it."""
    producer = made_by(right, "Transpose")
    perm = None if producer is None else tuple(producer.attributes.get_ints("perm", ()))
    graph, shape = node.graph, static_shape(right)
    assert graph is not None
    rank, source = len(shape), right
    order = (*range(rank - 2), rank - 1, rank - 2)
    if producer is not None and producer.inputs[0] is not None and perm:
        source, order = producer.inputs[0], tuple(perm[axis] for axis in order)
        if order == tuple(range(rank)):
            return source
    keys = new_value(unique_name(graph, f"{right.name}_rows"), right, (*shape[:-2], shape[-1], shape[-2]))
    insert_node(node, "Transpose", [source], keys, {"perm": ir.AttrInt64s("perm", list(order))})
    return keys


def _ungrouped(keys: ir.Value, values: ir.Value, heads: int) -> tuple[ir.Value, ir.Value]:
    """Keys and values before each is repeated for a group of heads; as they are where one is not."""
    sources = [_repeated(value) for value in (keys, values)]
    found = [source for source in sources if source is not None]
    if len(found) < 2 or static_shape(found[0])[1] != static_shape(found[1])[1] or heads % static_shape(found[0])[1]:
        return keys, values
    return found[0], found[1]


def _repeated(value: ir.Value) -> ir.Value | None:
    """x of shape (N, H, L, D) where a value is ``Reshape(Expand(Unsqueeze(x, 2)), (N, H g, L, D))``."""
    reshape = made_by(value, "Reshape")
    expand = made_by(None if reshape is None else reshape.inputs[0], "Expand", "Tile")
    apart = made_by(None if expand is None else expand.inputs[0], "Unsqueeze", "Reshape")
    source = None if apart is None else apart.inputs[0]
    if expand is None or apart is None or source is None:
        return None
    shape, wide, made = static_shape(source), static_shape(expand.outputs[0]), static_shape(value)
    if len(shape) != 4 or len(made) != 4 or static_shape(apart.outputs[0]) != (*shape[:2], 1, *shape[2:]):
        return None
    same = wide == (*shape[:2], wide[2], *shape[2:]) and made == (shape[0], shape[1] * wide[2], *shape[2:])
    return source if same else None


def _is_causal(mask: np.ndarray | None, shape: tuple[int, ...]) -> bool:
    """Whether a constant is 0 up to the diagonal of each matrix, and so low behind it that nothing is left."""
    if mask is None or mask.ndim < 2 or mask.shape[-2:] != shape[-2:]:
        return False
    seen = np.tri(*shape[-2:], dtype=np.bool_)
    return bool((mask[..., seen] == 0).all() and (mask[..., ~seen] <= _HIDDEN).all())
