"""Scale and zero point of every quantized value, from observed ranges and from what must be shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import InputError, ModelError, UnsupportedError
from microlith.graph.qdq_plan import Plan
from microlith.graph.qdq_rules import data_inputs, fixed_qparams, rule_of
from microlith.graph.values import Array, constant, constant_scalar, describe, input_at, static_shape
from microlith.quant.schemes import MAX_SCALE, MIN_SCALE, Grid, qparams_from_range, representable
from microlith.quant.types import QParams

Ranges = Mapping[str, tuple[float, float]]

# A left shift by requantization must stay within 32 bits: results may not be resolved finer than this fraction of the
# greatest result that the accumulator can stand for.
_FINEST = 2.0**-29
_ADD_FINEST = 2.0**-21
# A value that others also read joins a Concat only while that costs it at most one bit.
_JOIN_RATIO = 2.0
_ROUNDS = 64


@dataclass(eq=False)
class Group:
    """Values that share one scale and zero point.

    Attributes:
        values: members.
        low: least value; above ``high`` while nothing was observed.
        high: greatest value.
        grid: integers of all members.
        fixed: parameters that do not come from a range.
        minimum_scale: what requantization asks of the scale.
    """

    values: list[ir.Value]
    grid: Grid
    low: float = np.inf
    high: float = -np.inf
    fixed: QParams | None = None
    minimum_scale: float = MIN_SCALE

    def cover(self, low: float, high: float) -> None:
        """Widen the range."""
        self.low, self.high = min(self.low, low), max(self.high, high)

    def range(self) -> tuple[float, float]:
        """The range, also of fixed parameters."""
        return representable(self.fixed) if self.fixed is not None else (self.low, self.high)

    def qparams(self) -> QParams:
        """The parameters of all members."""
        try:
            return self.fixed or qparams_from_range(self.low, self.high, self.grid, self.minimum_scale)
        except ModelError as error:
            raise ModelError(f"{self.values[0].name!r}: {error.what}", hint=error.hint) from error


@dataclass(eq=False)
class _Groups:
    of: dict[ir.Value, Group] = field(default_factory=dict)

    def join(self, a: ir.Value, b: ir.Value) -> None:
        kept, gone = self.of[a], self.of[b]
        if kept is gone:
            return
        assert kept.fixed is None or gone.fixed is None or kept.fixed.same(gone.fixed), "two fixed scales cannot join"
        kept.fixed = kept.fixed or gone.fixed
        kept.cover(gone.low, gone.high)
        kept.values += gone.values
        for value in gone.values:
            self.of[value] = kept


def observed_values(plan: Plan) -> tuple[str, ...]:
    """Names of the values whose ranges calibration must find."""
    return tuple(str(value.name) for value in plan.values if _is_source(value, plan))


def _is_source(value: ir.Value, plan: Plan) -> bool:
    producer = value.producer()
    rule = None if producer is None else rule_of(producer)
    if producer is None or rule is None:
        return True
    moves = rule.role in ("movement", "concat") and plan.kinds[producer] == "integer"
    return rule.scale is None and not moves


def assign_qparams(
    plan: Plan,
    ranges: Ranges,
    grid: Grid,
    initial: Mapping[str, Array] | None = None,
    others: Mapping[str, Grid] | None = None,
) -> dict[ir.Value, QParams]:
    """Parameters of every quantized or given value.

    Data movement keeps the parameters of its input. The ends of a state share theirs, which cover what it starts from.
    The inputs and the result of a Concat share theirs, unless an input
    has fixed ones or would lose more than one bit for its other readers; such an input is requantized.

    Args:
        plan: what is quantized.
        ranges: by name of a value.
        grid: of activations.
        initial: first values of the states, by name of the graph input.
        others: by name of a value, grids that take the place of ``grid``; data movement hands them on.

    Raises:
        InputError: a range is missing or not finite.
        UnsupportedError: a state starts from a value that its fixed parameters cannot stand for, or an op has no
            integer form on integers of more than 8 bits.
    """
    groups = _Groups()
    for value in (*plan.given, *plan.values):
        own = (others or {}).get(str(value.name), grid)
        groups.of[value] = Group([value], own, fixed=plan.given.get(value))
    for value in plan.values:
        _start(groups.of[value], value, plan, ranges)
    for into, out in plan.states.items():
        groups.join(out, into)
        _cover_initial(into, groups.of[into], (initial or {})[str(into.name)])
    nodes = tuple(node for node in plan.integer_nodes() if _role(node) != "order")
    for node in nodes:
        if _role(node) == "movement":
            groups.join(data_inputs(node)[0], node.outputs[0])
    for node in nodes:
        if node.op_type == "Pad":
            _cover_padding(node, groups.of[node.outputs[0]])
        elif _role(node) == "concat":
            _join_concat(node, groups)
    _check_widths(nodes, groups)
    _raise_scales(nodes, plan, groups)
    return {value: group.qparams() for value, group in groups.of.items()}


def _role(node: ir.Node) -> str:
    rule = rule_of(node)
    assert rule is not None
    return rule.role


def _check_widths(nodes: tuple[ir.Node, ...], groups: _Groups) -> None:
    """Refuse what is defined on integers of at most 8 bits only."""
    for node in nodes:
        operands = [value for value in data_inputs(node) if constant(value) is None]
        wide = [value for value in operands if groups.of[value].qparams().dtype == "int16"]
        products = _role(node) == "matmul" and len(operands) > 1
        if wide and (_role(node) == "softmax" or products):
            raise UnsupportedError(
                f"{node.op_type} of int16 activations has no integer form",
                node=describe(node),
                hint=f"Keep it in float: float_ops = [{(node.name or node.op_type)!r}].",
            )


def _start(group: Group, value: ir.Value, plan: Plan, ranges: Ranges) -> None:
    producer = value.producer()
    if producer is not None:
        group.fixed = fixed_qparams(producer, group.grid.dtype)
    if not _is_source(value, plan):
        return
    name = str(value.name)
    if name not in ranges:
        raise InputError(f"there is no range for {name!r}", hint="Calibrate with the same float_ops.")
    low, high = ranges[name]
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"the range of {name!r} is [{low}, {high}], expected finite ends")
    group.cover(low, high)


def _cover_initial(value: ir.Value, group: Group, initial: Array) -> None:
    least, most = float(initial.min(initial=0)), float(initial.max(initial=0))
    low, high = group.range()
    if group.fixed is not None and not low <= least <= most <= high:
        raise UnsupportedError(
            f"the state {value.name!r} starts from values between {least:g} and {most:g}, and what computes it stays "
            f"between {low:g} and {high:g}"
        )
    group.cover(least, most)


def _cover_padding(node: ir.Node, group: Group) -> None:
    value = constant_scalar(input_at(node, 2)) or 0.0
    low, high = group.range()
    if group.fixed is not None and not low <= value <= high:
        raise UnsupportedError(
            f"the pad value {value} lies outside the range [{low:g}, {high:g}] of its input",
            node=describe(node),
            hint=f"Keep it in float: float_ops = [{(node.name or node.op_type)!r}].",
        )
    group.cover(min(value, 0.0), max(value, 0.0))


def _join_concat(node: ir.Node, groups: _Groups) -> None:
    output = node.outputs[0]
    inputs = list(data_inputs(node))
    members = [value for value in inputs if constant(value) is None]
    parameters = [groups.of[value].fixed for value in members]
    first = parameters[0]
    if (
        len(members) == len(inputs)
        and first is not None
        and all(item is not None and item.same(first) for item in parameters)
    ):
        for value in members:
            groups.join(output, value)
        return
    low, high = _joint_range(inputs, groups)
    group = groups.of[output]
    group.cover(low, high)
    for value in members:
        if groups.of[value].fixed is None and _may_join(groups.of[value], group.grid, value, node, low, high):
            groups.join(output, value)


def _joint_range(inputs: list[ir.Value], groups: _Groups) -> tuple[float, float]:
    low, high = 0.0, 0.0
    for value in inputs:
        array = constant(value)
        ends = groups.of[value].range() if array is None else (float(array.min()), float(array.max()))
        low, high = min(low, ends[0]), max(high, ends[1])
    return low, high


def _may_join(group: Group, target: Grid, value: ir.Value, node: ir.Node, low: float, high: float) -> bool:
    if group.grid != target:
        return False
    only_here = len(group.values) == 1 and not value.is_graph_output()
    if only_here and all(use.node is node for use in value.uses()):
        return True
    own = max(group.high, 0.0) - min(group.low, 0.0)
    return high - low <= _JOIN_RATIO * own


def _raise_scales(nodes: tuple[ir.Node, ...], plan: Plan, groups: _Groups) -> None:
    for _ in range(_ROUNDS):
        changed = False
        for node in nodes:
            group = groups.of[plan.result(node)]
            if group.fixed is not None:
                continue
            least = _least_scale(node, groups)
            if least > MAX_SCALE:
                raise ModelError(
                    f"its results need a quantization scale of {least:.3g}, expected at most {MAX_SCALE:.3g}",
                    node=describe(node),
                    hint="Look for weights that are too large.",
                )
            if least > float(group.qparams().scale):
                group.minimum_scale, changed = least * 1.0001, True
        if not changed:
            return
    raise UnsupportedError("the scales of the model do not settle", hint="Look for weights that are out of proportion.")


def _least_scale(node: ir.Node, groups: _Groups) -> float:
    """The least output scale for which requantization cannot overflow, whatever the input."""
    role = _role(node)
    if role == "layer":
        return _greatest_layer_result(node, _spread(data_inputs(node)[0], groups)) * _FINEST
    if role in ("binary", "matmul"):
        assert node.inputs[0] is not None
        a, b = (_spread(value, groups) for value in data_inputs(node))
        if node.op_type in ("Add", "Sub"):
            return 2 * max(a, b) / 255 * _ADD_FINEST
        depth = static_shape(node.inputs[0])[-1] if role == "matmul" else 1
        return a * b * depth * _FINEST
    if role == "pool":
        return _spread(data_inputs(node)[0], groups) * _added(node) * _FINEST
    return 0.0


def _added(node: ir.Node) -> int:
    """How many elements stand behind a result without being divided by their number."""
    if node.op_type != "ReduceSum":
        return 1
    source, result = data_inputs(node)[0], node.outputs[0]
    return int(np.prod(static_shape(source), dtype=np.int64) // np.prod(static_shape(result), dtype=np.int64))


def _spread(value: ir.Value, groups: _Groups) -> float:
    """An upper bound of the magnitude of a data input."""
    array = constant(value)
    if array is not None:
        return 2 * float(np.abs(array).max(initial=0.0))
    qparams = groups.of[value].qparams()
    return float(qparams.scale) * (qparams.high - qparams.low)


def _greatest_layer_result(node: ir.Node, spread: float) -> float:
    weights, bias = layer_constants(node)
    axis = layer_axis(node)
    sums = np.abs(np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)).sum(axis=1)
    worst = spread * sums + (0.0 if bias is None else np.abs(bias.astype(np.float64)))
    return float(worst.max())


def layer_axis(node: ir.Node) -> int:
    """The axis of the output channels in the weights of a Conv, ConvTranspose or Gemm."""
    if node.op_type == "ConvTranspose":
        return 1
    return 1 if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0) else 0


def layer_constants(node: ir.Node) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Weights and bias (channels,) of a Conv, ConvTranspose or Gemm; alpha and beta of a Gemm multiplied in."""
    weights, bias = _float32(constant(node.inputs[1])), constant(input_at(node, 2))
    if node.op_type == "Gemm":
        weights = weights * np.float32(node.attributes.get_float("alpha", 1.0))
    if bias is None:
        return weights, None
    if node.op_type == "Gemm":
        bias = _float32(bias) * np.float32(node.attributes.get_float("beta", 1.0))
    channels = weights.shape[layer_axis(node)]
    if bias.size not in (1, channels) or (bias.size > 1 and bias.shape[-1] != channels):
        raise UnsupportedError(
            f"a bias of shape {bias.shape} for {channels} channels has no integer form", node=describe(node)
        )
    return weights, np.ascontiguousarray(np.broadcast_to(_float32(bias).reshape(-1), (channels,)))


def _float32(array: Array | None) -> NDArray[np.float32]:
    assert array is not None, "checked by the plan"
    return array.astype(np.float32)
