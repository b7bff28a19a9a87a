"""Subgraphs: calls, branches and loops; and variables, which outlive an inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from microlith.core.errors import ModelError
from microlith.graph.tflite.importer import Importer
from microlith.graph.tflite.model import RESOURCE
from microlith.graph.tflite.types import ONNX_TYPES


def _call(imp: Importer) -> None:
    """CALL: the operators of the subgraph as if they stood here."""
    _written_out(imp, imp.operator.options["subgraph"], imp.operator.inputs)


def _written_out(imp: Importer, number: int, inputs: Sequence[int]) -> None:
    child = _imported(imp, number, inputs)
    if len(child.graph.outputs) != len(imp.operator.outputs):
        raise ModelError(f"{len(imp.operator.outputs)} results of {len(child.graph.outputs)}", node=imp.where)
    for outer, inner in zip(imp.operator.outputs, child.graph.outputs, strict=True):
        imp.check_alike(outer, child, inner)
        values = child.tensor(inner).values
        if child.is_constant(inner) and values is not None:
            imp.state(outer, values)
        else:
            imp.keep(imp.node("Identity", [child.stored(inner)]), "own", outer)


def _imported(imp: Importer, number: int, inputs: Sequence[int]) -> Importer:
    child = imp.inner(number, inputs, imp.place.inlined())
    child.run()
    return child


def _if(imp: Importer) -> None:
    """IF: the branch that is taken, where that is known; otherwise both, and ONNX's If."""
    options, inputs = imp.operator.options, imp.operator.inputs[1:]
    condition = imp.tensor(imp.input(0))
    if condition.dtype != "bool" or condition.shape not in ((), (1,)):
        raise ModelError(
            f"the condition is {condition.dtype} {list(condition.shape)}, expected one bool", node=imp.where
        )
    if condition.values is not None and imp.is_constant(imp.input(0)):
        _written_out(imp, options["then_subgraph" if condition.values.reshape(()) else "else_subgraph"], inputs)
        return
    branches = {}
    for key in ("then", "else"):
        child = imp.inner(options[f"{key}_subgraph"], inputs, imp.place.apart())
        child.run()
        if len(child.graph.outputs) != len(imp.operator.outputs):
            raise ModelError(f"{len(imp.operator.outputs)} results of {len(child.graph.outputs)}", node=imp.where)
        for outer, inner in zip(imp.operator.outputs, child.graph.outputs, strict=True):
            imp.check_alike(outer, child, inner)
        results = [child.node("Identity", [child.stored(index)]) for index in child.graph.outputs]
        branches[f"{key}_branch"] = _graph(child, key, [], results, child.graph.outputs)
    _kept(imp, imp.multi("If", [imp.stored(imp.input(0))], len(imp.operator.outputs), **branches), imp.operator.outputs)


def _kept(imp: Importer, values: Sequence[str], outputs: Sequence[int]) -> None:
    for value, index in zip(values, outputs, strict=True):
        imp.keep(value, "own", index)


def _graph(imp: Importer, name: str, inputs: list[Any], results: Sequence[str], indices: Sequence[int]) -> Any:
    """The nodes of an importer as a subgraph."""
    from onnx import helper

    outputs = [_info(imp, value, index) for value, index in zip(results, indices, strict=True)]
    return helper.make_graph(imp.nodes, name, inputs, outputs)


def _info(imp: Importer, name: str, index: int) -> Any:
    from onnx import helper

    tensor = imp.tensor(index)
    if tensor.dtype not in ONNX_TYPES:
        raise imp.refuse(f"{tensor.name!r} is {tensor.dtype}, which cannot go in or out of a subgraph")
    return helper.make_tensor_value_info(name, ONNX_TYPES[tensor.dtype], tensor.shape)


def _while(imp: Importer) -> None:
    """WHILE, as Loop: what the body gives back as it took it, such as weights, is no state of the loop."""
    options, inputs, outputs = imp.operator.options, imp.operator.inputs, imp.operator.outputs
    graph = imp.scope.file.graph(options["body_subgraph"])
    if not len(inputs) == len(outputs) == len(graph.inputs) == len(graph.outputs):
        raise ModelError(
            f"{len(outputs)} results and {len(graph.outputs)} of the body from {len(inputs)}", node=imp.where
        )
    carried = [place for place in range(len(inputs)) if graph.inputs[place] != graph.outputs[place]]
    first = _condition(_imported(imp, options["cond_subgraph"], inputs))
    around = [index if place not in carried else -1 for place, index in enumerate(inputs)]
    place = imp.place.apart()
    body = imp.inner(options["body_subgraph"], around, place)
    number, again = imp.unique(f"{imp.layer}/turn"), imp.unique(f"{imp.layer}/again")
    given = [_scalar_info(number, ONNX_TYPES["int64"]), _scalar_info(again, ONNX_TYPES["bool"])]
    for at in carried:
        imp.check_alike(inputs[at], body, graph.inputs[at])
        imp.check_alike(inputs[at], body, graph.outputs[at])
        name = imp.unique(f"{body.own_name(graph.inputs[at])}/turn")
        body.bind(at, name)
        given.append(_info(body, name, graph.inputs[at]))
    body.run()
    goes_on = _condition(_imported(body, options["cond_subgraph"], graph.outputs))
    results = [body.node("Identity", [body.stored(graph.outputs[at])]) for at in carried]
    made = [_scalar_info(body.node("Identity", [goes_on]), ONNX_TYPES["bool"])]
    made += [_info(body, value, graph.outputs[at]) for value, at in zip(results, carried, strict=True)]
    from onnx import helper

    attributes = {"body": helper.make_graph(body.nodes, "body", given, made)}
    values = imp.multi("Loop", ["", first, *(imp.stored(inputs[at]) for at in carried)], len(carried), **attributes)
    _kept(imp, values, [outputs[at] for at in carried])
    for at in range(len(inputs)):
        if at not in carried:
            imp.keep(imp.node("Identity", [imp.stored(inputs[at])]), "own", outputs[at])


def _condition(child: Importer) -> str:
    outputs = child.graph.outputs
    if len(outputs) != 1 or child.tensor(outputs[0]).dtype != "bool" or child.shape(outputs[0]) not in ((), (1,)):
        raise ModelError("the condition of a loop is not one bool")
    value = child.stored(outputs[0])
    return value if child.shape(outputs[0]) == () else child.node("Reshape", [value, child.ints((), "scalar")])


def _scalar_info(name: str, kind: int) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, kind, ())


def _call_once(imp: Importer) -> None:
    """CALL_ONCE: what its subgraph assigns is what variables hold before the first inference."""
    if not imp.place.once:
        raise imp.refuse("a CALL_ONCE in a branch or a loop cannot be imported")
    imp.inner(imp.operator.options["subgraph"], (), imp.place.before()).run()


def _var_handle(imp: Importer) -> None:
    options = imp.operator.options
    if imp.tensor(imp.output()).dtype != RESOURCE:
        raise ModelError(f"a handle of type {imp.tensor(imp.output()).dtype}", node=imp.where)
    imp.handles[imp.output()] = "/".join(item for item in (options["container"], options["shared_name"]) if item)


def _handle(imp: Importer) -> str:
    index = imp.input(0)
    if index not in imp.handles:
        raise ModelError(f"{imp.tensor(index).name!r} is no handle of a variable", node=imp.where)
    if not imp.place.once:
        raise imp.refuse("a variable that is used in a branch or a loop cannot be imported")
    return imp.handles[index]


def _read_variable(imp: Importer) -> None:
    key, index = _handle(imp), imp.output()
    value = imp.scope.variables.read(key, imp.tensor(index), lambda: imp.unique(key or "variable"))
    imp.keep(imp.node("Identity", [value]), "own", index)


def _assign_variable(imp: Importer) -> None:
    key, index = _handle(imp), imp.input(1)
    values = imp.tensor(index).values
    if not imp.place.initial:
        imp.scope.variables.write(key, imp.tensor(index), imp.stored(index))
    elif values is None or not imp.is_constant(index):
        raise imp.refuse("a variable that starts as something computed cannot be imported")
    else:
        imp.scope.variables.initialize(key, np.asarray(values))


HANDLERS: Mapping[str, Callable[[Importer], None]] = {
    "ASSIGN_VARIABLE": _assign_variable,
    "CALL": _call,
    "CALL_ONCE": _call_once,
    "IF": _if,
    "READ_VARIABLE": _read_variable,
    "VAR_HANDLE": _var_handle,
    "WHILE": _while,
}
