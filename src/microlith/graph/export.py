"""Writes a model of the internal opset in an older one.

A node that the older opset has in the same form stays. Others get the form that they had then, are rewritten by
operators that there were (``export_rules.py``), or are written out as the function by which ONNX defines them. What
none of this can express is refused, with the oldest opset that can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.export_rules import FORMS, NEW_VALUES, RULES
from microlith.graph.inference import TypeInfo
from microlith.graph.metadata import is_kept_in_float, keep_in_float
from microlith.graph.opset import IR_VERSION, OPSET, SAME_FORM
from microlith.graph.pass_base import Pass
from microlith.graph.passes.eliminate_dead_nodes import EliminateDeadNodes
from microlith.graph.passes.expand_functions import expand
from microlith.graph.passes.fold_constants import FoldConstants
from microlith.graph.passes.fuse_swish import FuseSwish
from microlith.graph.passes.infer_shapes import InferShapes
from microlith.graph.pipeline import run_passes
from microlith.graph.values import describe, input_at

OLDEST_OPSET = 13
"""The oldest opset that can be asked for: the first with a QuantizeLinear for each channel."""

WRITTEN_OUT = frozenset({"Swish", "GlobalLpPool"})
"""Operators of :data:`OPSET` that ONNX Runtime has no kernel for: files hold what they consist of.

Whether these are all is asked of the installed ONNX Runtime by ``tests/graph/test_export.py``.
"""

_SINCE_13 = frozenset((*SAME_FORM, "BatchNormalization", "Dropout", "Split", "Squeeze", "Unsqueeze", *FORMS))
"""Operators of which a node of :data:`OPSET` that an opset from 13 on can hold as it stands means the same there."""

_TIDY: tuple[Pass, ...] = (InferShapes(), FoldConstants(), EliminateDeadNodes())
_MAX_ROUNDS = 16
"""Functions whose bodies are functions again, so deep."""

Lacking = Callable[[ir.Node], bool]


def export_model(model: ir.Model, opset: int | None = None, lacking: Lacking | None = None) -> ir.Model:
    """A copy of a model in another opset; constants are shared.

    Args:
        model: in the internal opset, all types and shapes known; it is not changed.
        opset: from :data:`OLDEST_OPSET` to :data:`OPSET`; by default the model's own, which after loading is the
            latter.
        lacking: which nodes to write out although the opset has them, as far as that is known how; by default those
            of :data:`WRITTEN_OUT`.

    Raises:
        InputError: there is no such opset, or not any more.
        UnsupportedError: a node cannot be expressed in it.
    """
    own = model.graph.opset_imports[""]
    wanted = own if opset is None else opset
    if wanted != own and (own != OPSET or not OLDEST_OPSET <= wanted <= OPSET):
        raise InputError(f"the opset to write is {wanted}, expected {OLDEST_OPSET} to {OPSET}")
    avoided = _written_out if lacking is None else lacking
    copy, refusal = _lowered(model, wanted, avoided)
    if refusal is None:
        return copy
    node, reason = refusal
    least = next((version for version in range(wanted + 1, OPSET) if not _lowered(model, version, avoided)[1]), OPSET)
    raise UnsupportedError(
        f"{describe(node)} cannot be written in opset {wanted}: {reason}",
        node=describe(node),
        hint=f"Ask for opset {least}, the oldest that holds the whole model.",
    )


def restore(model: ir.Model) -> None:
    """Put back, in place, what :func:`export_model` writes out by default and is quantized as one operator."""
    run_passes(model, (FuseSwish(), EliminateDeadNodes()))


def _written_out(node: ir.Node) -> bool:
    return node.op_type in WRITTEN_OUT


def _lowered(model: ir.Model, opset: int, avoided: Lacking) -> tuple[ir.Model, tuple[ir.Node, str] | None]:
    """A copy in the opset; or, as far as it came, with the first node that the opset cannot hold, and the reason."""
    copy = model.clone()
    if opset == copy.graph.opset_imports[""]:
        _write_out(copy, opset, avoided)
        return copy, None
    _write_out(copy, opset, lambda node: avoided(node) or _unfit(node, opset) is not None)
    for node in copy.graph:
        if (reason := _unfit(node, opset)) is not None:
            return copy, (node, reason)
    for node in copy.graph:
        _set_form(node, opset)
    copy.graph.opset_imports[""] = opset
    copy.ir_version = min(IR_VERSION, _oldest_ir_version(opset))
    return copy, None


def _write_out(model: ir.Model, opset: int, avoided: Lacking) -> None:
    """Put what means the same in the place of nodes to avoid, until none is left of which that is known how."""
    for _ in range(_MAX_ROUNDS):
        if not sum(_rewrite(node, opset) for node in [node for node in model.graph if avoided(node)]):
            return
        run_passes(model, _TIDY)


def _rewrite(node: ir.Node, opset: int) -> bool:
    """Put what means the same in the place of a node, still in the internal opset; whether that is known how."""
    graph, kept = node.graph, is_kept_in_float(node)
    assert graph is not None
    before = set(graph)
    rule = RULES.get(node.op_type)
    if not (rule is not None and rule(node, opset)) and not expand(node, OPSET, _types(node)):
        return False
    for added in set(graph) - before if kept else ():
        keep_in_float(added)
    return True


def _types(node: ir.Node) -> dict[str, TypeInfo]:
    """Of the inputs, as the values of a loaded model state them."""
    values = [value for value in node.inputs if value is not None and value.name and value.dtype is not None]
    return {
        str(value.name): TypeInfo(value.dtype, None if value.shape is None else tuple(value.shape.numpy()))
        for value in values
        if value.dtype is not None
    }


def _unfit(node: ir.Node, opset: int) -> str | None:
    """Why an opset cannot hold a node, apart from what :func:`_set_form` changes; None where it can."""
    if node.domain:
        return None
    old, new = _schema(node.op_type, opset), _schema(node.op_type, OPSET)
    if old is None:
        return f"opset {opset} has no operator {node.op_type}"
    if old.since_version == new.since_version:
        return None
    if node.op_type not in _SINCE_13:
        return f"{node.op_type} changed after opset {opset}"
    form = FORMS.get(node.op_type)
    if form is not None and (reason := form.obstacle(node, opset)) is not None:
        return reason
    for name in node.attributes:
        if form is None and name not in old.attributes and not _is_default(node, name, new):
            return f"{node.op_type} has no attribute {name} there"
        first = NEW_VALUES.get((node.op_type, name, node.attributes[name].value), 0)
        if first > opset:
            return f"{name}={node.attributes[name].value} of {node.op_type} came with opset {first}"
    if len(node.inputs) > old.max_input and form is None:
        return f"{node.op_type} takes {old.max_input} inputs there"
    return _wrong_type(node, old)


def _wrong_type(node: ir.Node, schema: Any) -> str | None:
    for values, formal in ((node.inputs[: schema.max_input], schema.inputs), (node.outputs, schema.outputs)):
        for index, value in enumerate(values):
            if value is None or value.dtype is None:
                continue
            dtype, place = value.dtype.name.lower(), formal[min(index, len(formal) - 1)]
            if f"tensor({dtype})" not in place.types:
                return f"{node.op_type} does not take {dtype} there"
    return None


def _is_default(node: ir.Node, name: str, schema: Any) -> bool:
    """Whether an attribute says what holds without it."""
    import onnx

    value, default = node.attributes[name].value, schema.attributes[name].default_value
    if name == "output_dtype" and value:
        told = input_at(node, 2 if node.op_type == "QuantizeLinear" else 1)
        return told is not None and value == told.dtype
    if not default.name:
        return False
    meant = onnx.helper.get_attribute_value(default)
    return bool((meant.decode() if isinstance(meant, bytes) else meant) == value)


def _set_form(node: ir.Node, opset: int) -> None:
    """Write a node as its opset wants it; it must fit."""
    if node.domain:
        return
    old, new = _schema(node.op_type, opset), _schema(node.op_type, OPSET)
    if old.since_version == new.since_version:
        return
    if node.op_type in FORMS:
        FORMS[node.op_type].apply(node, opset)
    for name in [name for name in node.attributes if name not in old.attributes]:
        del node.attributes[name]


def _schema(op_type: str, version: int) -> Any:
    import onnx

    try:
        schema = onnx.defs.get_schema(op_type, version, "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def _oldest_ir_version(opset: int) -> int:
    import onnx

    return int(onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)]))
