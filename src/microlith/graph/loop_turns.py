"""How often a Loop runs, where constants decide that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from microlith.core.errors import InputError
from microlith.graph.passes.fold_constants import FOLDABLE, FOLDABLE_ON_INTEGERS
from microlith.graph.subgraphs import MAX_NODES, node_count
from microlith.graph.values import Array, constant, constant_scalar, describe, input_at

_COUNTING = (FOLDABLE | FOLDABLE_ON_INTEGERS | {"Constant"}) - {"Expand", "Range", "Tile", "ConstantOfShape"}
MAX_COUNTER_ELEMENTS = 64
"""Most elements of a value that decides whether a loop goes on."""


def loop_turns(node: ir.Node, body: ir.Graph) -> int | None:
    """The number of turns of a Loop; None where it depends on what is computed, or is too large to be written out."""
    limit, condition = input_at(node, 0), input_at(node, 1)
    most = constant_scalar(limit)
    if limit is not None and most is None:
        return None
    if condition is not None:
        first = constant_scalar(condition)
        if first is None:
            return None
        if not first:
            return 0
    if _goes_on(body):
        return None if most is None else int(most)
    bound = MAX_NODES // max(node_count(body), 1)
    return _counted(node, body, bound if most is None else min(int(most), bound + 1), most)


def _goes_on(body: ir.Graph) -> bool:
    """Whether the condition that a body returns is the one that it got, or a constant true."""
    value: ir.Value | None = body.outputs[0]
    while value is not None:
        if value is body.inputs[1] or (value.const_value is not None and bool(value.const_value.numpy())):
            return True
        maker = value.producer()
        if maker is None:
            return False
        if maker.op_type == "Constant" and "value" in maker.attributes:
            return bool(maker.attributes["value"].as_tensor().numpy())
        value = maker.inputs[0] if maker.op_type == "Identity" else None
    return False


def _counted(node: ir.Node, body: ir.Graph, bound: int, most: float | None) -> int | None:
    """Turns until the condition is false, found by computing what it depends on."""
    needed = _needed(body)
    if needed is None:
        return None
    nodes, places, constants = needed
    values: list[Array] = []
    for place in places:
        array = constant(node.inputs[place + 2])
        if array is None or array.size > MAX_COUNTER_ELEMENTS:
            return None
        values.append(array)
    step = _step(node, body, nodes, places)
    for turn in range(bound):
        feeds = {**constants, **_fed(body, turn, places, values)}
        try:
            with np.errstate(all="ignore"):
                again, *values = step.run(None, feeds)
        except Exception as error:
            # The evaluator states no errors of its own: what it raises on constants of a file is the fault of the file.
            raise InputError(f"its condition cannot be computed: {error}", node=describe(node)) from error
        if np.size(again) != 1 or any(np.size(item) > MAX_COUNTER_ELEMENTS for item in values):
            return None
        if not np.reshape(again, ()):
            return turn + 1
    return None if most is None or int(most) > bound else int(most)


def _fed(body: ir.Graph, turn: int, places: Sequence[int], values: Sequence[Array]) -> dict[str, Array]:
    fed = {str(body.inputs[0].name): np.asarray(turn, np.int64), str(body.inputs[1].name): np.asarray(True)}
    return fed | {
        str(body.inputs[place + 2].name): np.asarray(value) for place, value in zip(places, values, strict=True)
    }


def _needed(body: ir.Graph) -> tuple[list[ir.Node], list[int], dict[str, Array]] | None:
    """The nodes on which the condition depends over all turns, the states among these, and the constants."""
    wanted: set[ir.Node] = set()
    places: list[int] = []
    constants: dict[str, Array] = {}
    waiting: list[ir.Value | None] = [body.outputs[0]]
    inputs = {value: place for place, value in enumerate(body.inputs)}
    while waiting:
        value = waiting.pop()
        if value is None:
            continue
        array, maker = constant(value), value.producer()
        if array is not None:
            constants[str(value.name)] = array
        elif value in inputs:
            place = inputs[value] - 2
            if place >= 0 and place not in places:
                places.append(place)
                waiting.append(body.outputs[place + 1])
        elif maker is None or maker.graph is not body or maker.op_type not in _COUNTING:
            return None
        elif maker not in wanted:
            wanted.add(maker)
            waiting.extend(maker.inputs)
    return [node for node in body if node in wanted], places, constants


def _step(node: ir.Node, body: ir.Graph, nodes: Sequence[ir.Node], places: Sequence[int]) -> Any:
    """An evaluator of the condition and of the states that it needs."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    assert node.graph is not None
    proto = onnx.ModelProto(ir_version=10)
    proto.opset_import.add(domain="", version=node.graph.opset_imports[""])
    proto.graph.name = "step"
    proto.graph.node.extend(ir.serde.serialize_node(item) for item in nodes)
    made = {value for item in nodes for value in item.outputs}
    read = dict.fromkeys(str(value.name) for item in nodes for value in item.inputs if value and value not in made)
    results = [body.outputs[0], *(body.outputs[place + 1] for place in places)]
    for name in dict.fromkeys([*read, *(str(value.name) for value in results if value not in made)]):
        proto.graph.input.add(name=name)
    for value in results:
        proto.graph.output.add(name=str(value.name))
    return ReferenceEvaluator(proto)
