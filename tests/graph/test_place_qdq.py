from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import models
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.expose import expose
from microlith.graph.metadata import io_qparams, requantization
from microlith.graph.passes.place_qdq import place_qdq, values_to_observe
from microlith.graph.qdq_rules import RULES, fixed_qparams
from microlith.graph.reference import Reference
from microlith.graph.units import Unit, units
from microlith.graph.verifier import verify
from microlith.ops import OPS
from microlith.quant.calibration import sqnr_db
from microlith.quant.requantize import requant, scale_factor
from microlith.quant.schemes import Scheme, quantize_array
from microlith.quant.types import QArray, QParams
from microlith.quant.weights import reach
from qdq_models import ALL, OPSET, branches, build, elementwise, node, raw_pixels, residual, samples, separable

Array = NDArray[Any]


def _bytes(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def _session(model: ir.Model) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(_bytes(model), options)


def _ranges(
    model: ir.Model, feeds: dict[str, Array], float_ops: tuple[str, ...] = ()
) -> dict[str, tuple[float, float]]:
    names = values_to_observe(model, float_ops)
    found = Reference(expose(model, names)).run(feeds, keep=names)
    return {name: (float(array.min()), float(array.max())) for name, array in found.items()}


def _quantized(model: ir.Model, scheme: Scheme | None = None, **options: Any) -> ir.Model:
    ranges = _ranges(model, samples(model, 64), options.get("float_ops", ()))
    mode = options.pop("mode", "float")
    return place_qdq(model, ranges, scheme or Scheme(), mode, **options)


def _integers(model: ir.Model, feeds: dict[str, Array]) -> dict[str, Array]:
    return {
        name: array if array.dtype == np.uint8 else quantize_array(array, io_qparams(model, name)).values  # type: ignore[arg-type]
        for name, array in feeds.items()
    }


def _reals(model: ir.Model, outputs: dict[str, Array]) -> dict[str, Array]:
    reals = {}
    for name, array in outputs.items():
        qparams = io_qparams(model, name)
        reals[name] = array if qparams is None else QArray(array, qparams).dequantize()
    return reals


def _unit_of(model: ir.Model, op: str) -> Unit:
    return next(unit for unit in units(model) if unit.node.op_type == op)


def _qparams(model: ir.Model, float_name: str) -> QParams:
    """Parameters of the value that quantizes the float value of that name."""
    for unit in units(model):
        last = unit.nodes[-1]
        if last.op_type == "QuantizeLinear" and float_name in (last.inputs[0].name, last.outputs[0].name):
            assert unit.output.qparams is not None
            return unit.output.qparams
    raise AssertionError(float_name)


SCHEMES = {
    "default": Scheme(),
    "uint8": Scheme(activations="uint8"),
    "symmetric": Scheme(symmetric=True),
    "per_tensor": Scheme(per_channel=False),
    "affine_weights": Scheme(weights_symmetric=False),
    "searched_weights": Scheme(weights_calibration="mse"),
}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("name", ALL)
def test_everything_is_integer_and_close_to_float(name: str, scheme: Scheme) -> None:
    model = ALL[name]()
    quantized = _quantized(model, scheme)
    verify(quantized)
    assert {unit.kind for unit in units(quantized)} <= {"integer", "raw"}
    assert all(value.dtype in (ir.DataType.INT8, ir.DataType.UINT8) for value in quantized.graph.outputs)

    feeds = samples(model, 32, seed=1)
    expected = Reference(model).run(feeds)
    given = _integers(quantized, feeds)
    spec = Reference(quantized).run(given)
    for output, array in _reals(quantized, spec).items():
        assert sqnr_db(expected[output], array) > (20 if scheme.symmetric or name == "attention" else 25)

    session = _session(quantized)
    outputs = [value.name for value in quantized.graph.outputs]
    differences = []
    for index in range(8):
        found = session.run(outputs, {key: array[index : index + 1] for key, array in given.items()})
        for output, array in zip(outputs, found, strict=True):
            differences.append(np.abs(array.astype(int) - spec[output][index : index + 1]).ravel())
    assert np.concatenate(differences).max() <= 3
    assert np.mean(np.concatenate(differences) > 0) < 0.25


@pytest.mark.parametrize("name", ALL)
def test_the_input_is_untouched_and_the_bytes_are_the_same_again(name: str) -> None:
    model = ALL[name]()
    before = _bytes(model)
    ranges = _ranges(model, samples(model, 16))
    first = _bytes(place_qdq(model, ranges, Scheme(), "float"))
    assert _bytes(model) == before
    again = ALL[name]()
    assert _bytes(place_qdq(again, dict(reversed(ranges.items())), Scheme(), "float")) == first


def test_nothing_stands_between_an_op_and_its_activation() -> None:
    quantized = _quantized(residual())
    for op in ("Conv", "Add"):
        unit = _unit_of(quantized, op)
        assert [item.op_type for item in unit.nodes] == [op, "Relu", "QuantizeLinear"]
    assert sum(item.op_type == "QuantizeLinear" for item in quantized.graph) == 8 - 1


def test_an_activation_whose_input_is_read_elsewhere_stands_by_itself() -> None:
    nodes = [
        node("Conv", "c", "x", "w"),
        node("Relu", "r", "c"),
        node("Add", "y", "r", "c"),
    ]
    model = build(nodes, {"x": [1, 1, 4, 4]}, {"y": [1, 2, 4, 4]}, {"w": np.ones((2, 1, 1, 1), np.float32)})
    quantized = _quantized(model)
    assert [unit.node.op_type for unit in units(quantized)] == ["Conv", "Relu", "Add"]
    assert _unit_of(quantized, "Conv").activation is None


def test_weights_are_int8_per_channel_and_biases_int32() -> None:
    quantized = _quantized(residual())
    unit = _unit_of(quantized, "Conv")
    data, weights, bias = unit.inputs
    assert data is not None
    assert data.qparams is not None
    assert weights is not None
    assert weights.qparams is not None
    assert bias is not None
    assert bias.qparams is not None
    assert weights.value.dtype == ir.DataType.INT8
    assert weights.qparams.axis == 0
    assert bias.value.dtype == ir.DataType.INT32
    assert np.array_equal(bias.qparams.scale, data.qparams.scale * weights.qparams.scale)
    assert weights.value.name == "w1_quantized"
    assert set(quantized.graph.initializers) >= {"w1_scale", "w1_zero_point", "b1_quantized", "r1_scale"}
    assert "w1" not in quantized.graph.initializers
    gemm = _unit_of(quantized, "Gemm")
    assert gemm.inputs[1] is not None
    assert gemm.inputs[1].qparams is not None
    assert gemm.inputs[1].qparams.axis == 1
    assert gemm.node.attributes["alpha"].value == 1.0


def test_a_constant_of_two_layers_is_stored_once_where_its_integers_are_the_same() -> None:
    nodes = [node("Conv", "a", "x", "w"), node("Conv", "b", "a", "w"), node("Conv", "y", "b", "w", "bias")]
    weights = {"w": np.ones((1, 1, 1, 1), np.float32), "bias": np.full(1, 1e6, np.float32)}
    model = build(nodes, {"x": [1, 1, 2, 2]}, {"y": [1, 1, 2, 2]}, weights)
    quantized = _quantized(model)
    stored = {unit.inputs[1].value for unit in units(quantized) if unit.inputs[1] is not None}
    # The huge bias of the last layer asks for coarser weights.
    assert sorted(str(value.name) for value in stored) == ["w_quantized", "w_quantized_1"]


def test_moved_integers_keep_their_meaning() -> None:
    quantized = _quantized(branches())
    first = _qparams(quantized, "cat")
    for name in ("m", "p", "sl", "y"):
        assert _qparams(quantized, name).same(first)


def test_concat_shares_parameters_except_with_fixed_ones() -> None:
    quantized = _quantized(branches())
    joint = _qparams(quantized, "cat")
    assert _qparams(quantized, "ar").same(joint)
    assert _qparams(quantized, "c").same(joint)
    assert float(_qparams(quantized, "s").scale) == 1 / 256


def _two_branches(other_reader: bool) -> ir.Model:
    nodes = [
        node("Conv", "small", "x", "ws"),
        node("Conv", "large", "x", "wl"),
        node("Concat", "cat", "small", "large", axis=1),
    ]
    outputs = {"cat": [1, 2, 2, 2]}
    if other_reader:
        nodes.append(node("Relu", "y", "small"))
        outputs["y"] = [1, 1, 2, 2]
    weights = {"ws": np.full((1, 1, 1, 1), 0.1, np.float32), "wl": np.full((1, 1, 1, 1), 10, np.float32)}
    return build(nodes, {"x": [1, 1, 2, 2]}, outputs, weights)


@pytest.mark.parametrize("other_reader", [False, True])
def test_concat_does_not_coarsen_what_others_read(other_reader: bool) -> None:
    quantized = _quantized(_two_branches(other_reader))
    joint = _qparams(quantized, "cat")
    assert _qparams(quantized, "large").same(joint)
    assert _qparams(quantized, "small").same(joint) is not other_reader


def test_a_concat_of_equal_fixed_scales_keeps_them() -> None:
    nodes = [node("Sigmoid", "a", "x"), node("HardSigmoid", "b", "x"), node("Concat", "y", "a", "b", axis=1)]
    quantized = _quantized(build(nodes, {"x": [1, 2]}, {"y": [1, 4]}))
    assert _qparams(quantized, "y").same(QParams.per_tensor(1 / 256, -128, "int8"))


def test_a_constant_input_of_concat_takes_its_parameters() -> None:
    nodes = [node("Concat", "y", "x", "token", axis=1)]
    model = build(nodes, {"x": [1, 2]}, {"y": [1, 3]}, {"token": np.array([[9.0]], np.float32)})
    quantized = _quantized(model)
    unit = _unit_of(quantized, "Concat")
    assert [item.qparams.same(unit.output.qparams) for item in unit.inputs] == [True, True]  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize(
    ("op", "dtype", "scale", "zero_point"),
    [
        ("Softmax", "int8", 1 / 256, -128),
        ("Sigmoid", "int8", 1 / 256, -128),
        ("HardSigmoid", "int8", 1 / 256, -128),
        ("Tanh", "int8", 1 / 128, 0),
        ("Softmax", "uint8", 1 / 256, 0),
        ("Sigmoid", "uint8", 1 / 256, 0),
        ("Tanh", "uint8", 1 / 128, 128),
    ],
)
def test_scales_that_the_function_fixes(op: str, dtype: Any, scale: float, zero_point: int) -> None:
    quantized = _quantized(build([node(op, "y", "x")], {"x": [1, 4]}, {"y": [1, 4]}), Scheme(activations=dtype))
    assert _qparams(quantized, "y").same(QParams.per_tensor(scale, zero_point, dtype))
    qparams = io_qparams(quantized, "y")
    assert qparams is not None
    assert qparams.same(QParams.per_tensor(scale, zero_point, dtype))


def test_integer_borders_keep_names_and_state_their_meaning() -> None:
    quantized = _quantized(residual(), Scheme(activations="uint8"), mode="fixed")
    assert [(v.name, v.dtype) for v in quantized.graph.inputs] == [("x", ir.DataType.UINT8)]
    assert [(v.name, v.dtype) for v in quantized.graph.outputs] == [("y", ir.DataType.UINT8)]
    assert requantization(quantized) == "fixed"
    data = _unit_of(quantized, "Conv").inputs[0]
    assert data is not None
    stated = io_qparams(quantized, "x")
    assert stated is not None
    assert stated.same(data.qparams)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALL)
def test_float_borders(name: str) -> None:
    model = ALL[name]()
    quantized = _quantized(model, io="float")
    verify(quantized)
    for old, new in zip(
        (*model.graph.inputs, *model.graph.outputs), (*quantized.graph.inputs, *quantized.graph.outputs), strict=True
    ):
        assert (old.name, old.dtype, old.shape) == (new.name, new.dtype, new.shape)
    feeds = samples(model, 4, seed=1)
    integers = _quantized(model)
    by_int = _reals(integers, Reference(integers).run(_integers(integers, feeds)))
    for output, array in Reference(quantized).run(feeds).items():
        assert np.array_equal(array, by_int[output])


def test_the_meaning_of_a_raw_input_is_taken_from_the_model() -> None:
    model = raw_pixels()
    assert values_to_observe(model) == ("normal", "y")
    quantized = _quantized(model)
    assert [v.dtype for v in quantized.graph.inputs] == [ir.DataType.UINT8]
    stated = io_qparams(quantized, "x")
    assert stated is not None
    assert stated.same(QParams.per_tensor(1 / 255, 0, "uint8"))
    assert [unit.kind for unit in units(quantized)] == ["raw", "integer", "integer"]
    norm = _unit_of(quantized, "BatchNormalization")
    assert norm.inputs[0] is not None
    assert norm.inputs[0].qparams is not None
    assert norm.inputs[0].qparams.dtype == "uint8"


# ---- float islands and refusals


def test_a_node_kept_in_float_stands_between_dequantize_and_quantize() -> None:
    model = residual()
    for kept in ("sum_node", "Add"):
        quantized = _quantized(model, float_ops=(kept,))
        kinds = {unit.node.op_type: unit.kind for unit in units(quantized)}
        assert kinds["Add"] == "float"
        assert kinds["Conv"] == kinds["Gemm"] == "integer"
        feeds = samples(model, 8, seed=1)
        found = _reals(quantized, Reference(quantized).run(_integers(quantized, feeds)))
        assert sqnr_db(Reference(model).run(feeds)["y"], found["y"]) > 25


def test_a_float_first_and_last_node_leave_the_borders_float() -> None:
    nodes = [node("Tanh", "a", "x"), node("Relu", "b", "a"), node("Sigmoid", "y", "b")]
    model = build(nodes, {"x": [1, 4]}, {"y": [1, 4]})
    quantized = _quantized(model, float_ops=("Tanh", "Sigmoid"))
    assert quantized.graph.inputs[0].dtype == quantized.graph.outputs[0].dtype == ir.DataType.FLOAT
    assert io_qparams(quantized, "x") is None
    feeds = samples(model, 4)
    assert sqnr_db(Reference(model).run(feeds)["y"], Reference(quantized).run(feeds)["y"]) > 30


def test_an_unfused_activation_may_stay_in_float() -> None:
    quantized = _quantized(residual(), float_ops=("r1_node",))
    assert [u.kind for u in units(quantized) if u.node.op_type == "Relu"] == ["float"]
    assert _unit_of(quantized, "Conv").activation is None


def test_an_op_without_integer_form_is_refused_with_the_way_out() -> None:
    model = build([node("Relu", "r", "x"), node("LogSoftmax", "y", "r")], {"x": [1, 4]}, {"y": [1, 4]})
    with pytest.raises(UnsupportedError) as caught:
        values_to_observe(model)
    assert "LogSoftmax has no integer form" in str(caught.value)
    assert "y_node" in str(caught.value)
    assert "float_ops" in str(caught.value)
    assert values_to_observe(model, ("y_node",)) == ("x", "r")


def test_a_name_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="logits_nod") as caught:
        values_to_observe(residual(), ("logits_nod",))
    assert "logits_node" in str(caught.value)


def test_a_quantized_model_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="already"):
        values_to_observe(_quantized(residual()))


def test_a_missing_or_endless_range_is_refused() -> None:
    model = residual()
    ranges = _ranges(model, samples(model, 4))
    with pytest.raises(InputError, match="'r1'"):
        place_qdq(model, {name: ends for name, ends in ranges.items() if name != "r1"}, Scheme(), "float")
    with pytest.raises(InputError, match="'r1'"):
        place_qdq(model, ranges | {"r1": (0.0, np.inf)}, Scheme(), "float")


def test_computed_weights_are_refused() -> None:
    model = build([node("Conv", "y", "x", "w")], {"x": [1, 1, 4, 4], "w": [1, 1, 1, 1]}, {"y": [1, 1, 4, 4]})
    with pytest.raises(UnsupportedError, match="weights 'w' are not constant"):
        values_to_observe(model)


def test_nan_weights_are_refused_with_the_node() -> None:
    weights = {"w": np.array([[[[np.nan]]]], np.float32)}
    model = build([node("Conv", "y", "x", "w")], {"x": [1, 1, 4, 4]}, {"y": [1, 1, 4, 4]}, weights)
    with pytest.raises(InputError, match="y_node"):
        place_qdq(model, {"x": (0.0, 1.0), "y": (0.0, 1.0)}, Scheme(), "float")


@pytest.mark.parametrize(("depth", "fits"), [(33_025, True), (33_026, False)])
def test_a_product_of_activations_that_could_overflow_is_refused(depth: int, fits: bool) -> None:
    model = build([node("MatMul", "y", "a", "b")], {"a": [1, depth], "b": [depth, 1]}, {"y": [1, 1]})
    if fits:
        assert values_to_observe(model) == ("a", "b", "y")
    else:
        with pytest.raises(UnsupportedError, match="32 bits"):
            values_to_observe(model)


def test_an_endless_pad_value_is_refused() -> None:
    weights = {"pads": np.array([0, 0, 0, 1]), "value": np.float32(-np.inf).reshape(())}
    model = build([node("Pad", "y", "x", "pads", "value")], {"x": [1, 4]}, {"y": [1, 5]}, weights)
    with pytest.raises(UnsupportedError, match="pad value"):
        values_to_observe(model)


def test_a_pad_value_outside_a_fixed_range_is_refused() -> None:
    weights = {"pads": np.array([0, 0, 0, 1]), "value": np.float32(2).reshape(())}
    nodes = [node("Sigmoid", "s", "x"), node("Pad", "y", "s", "pads", "value")]
    model = build(nodes, {"x": [1, 4]}, {"y": [1, 5]}, weights)
    with pytest.raises(UnsupportedError, match="pad value"):
        place_qdq(model, {"x": (0.0, 1.0)}, Scheme(), "float")


def test_an_old_opset_is_refused() -> None:
    model = residual()
    model.graph.opset_imports[""] = 12
    with pytest.raises(UnsupportedError, match="opset 12"):
        place_qdq(model, {}, Scheme(), "float")


def test_an_input_that_is_an_output_too_is_refused() -> None:
    model = build([node("Relu", "y", "x")], {"x": [1, 4]}, {"y": [1, 4]})
    model.graph.outputs.append(model.graph.inputs[0])
    with pytest.raises(UnsupportedError, match="input and an output"):
        values_to_observe(model)


# ---- extremes

ENDS = st.tuples(st.floats(-12, 12), st.floats(-12, 12), st.booleans())


def _ends(drawn: tuple[float, float, bool]) -> tuple[float, float]:
    low, high = -(10 ** drawn[0]), 10 ** drawn[1]
    return (0.0, 0.0) if drawn[2] else (low, high)


def _accumulator_bound(unit: Unit) -> float:
    """Greatest accumulator of a unit with one factor."""
    data, other = unit.inputs[0], unit.inputs[1] if len(unit.inputs) > 1 else None
    assert data is not None
    assert data.qparams is not None
    if unit.node.op_type == "Mul":
        return 256.0 * 256.0
    if other is None:
        return 256.0
    assert other.qparams is not None
    assert other.value.const_value is not None
    weights = QArray(other.value.const_value.numpy(), other.qparams).centered().astype(np.float64)
    axis = other.qparams.axis or 0
    sums = np.abs(np.moveaxis(weights, axis, 0)).reshape(weights.shape[axis], -1).sum(axis=1) * reach(data.qparams)
    bias = unit.inputs[2]
    if bias is not None:
        assert bias.value.const_value is not None
        sums = sums + np.abs(bias.value.const_value.numpy().astype(np.float64))
    return float(sums.max())


@settings(max_examples=60, deadline=None)
@given(
    ranges=st.tuples(ENDS, ENDS, ENDS, ENDS),
    weight=st.floats(-9, 6),
    per_channel=st.booleans(),
    symmetric=st.booleans(),
)
def test_fixed_requantization_stays_within_32_bits_for_any_ranges(
    ranges: tuple[tuple[float, float, bool], ...], weight: float, per_channel: bool, symmetric: bool
) -> None:
    nodes = [node("Conv", "c", "x", "w", "b"), node("Mul", "m", "c", "c"), node("Add", "y", "m", "c")]
    weights = {"w": np.array([1.0, -0.3], np.float32).reshape(2, 1, 1, 1) * np.float32(10**weight)}
    model = build(nodes, {"x": [1, 1, 2, 2]}, {"y": [1, 2, 2, 2]}, weights | {"b": np.array([1.0, 0.0], np.float32)})
    ends = dict(zip(("x", "c", "m", "y"), map(_ends, ranges), strict=True))
    quantized = place_qdq(model, ends, Scheme(per_channel=per_channel, symmetric=symmetric), "fixed")
    conv, mul, add = units(quantized)
    for unit in (conv, mul):
        scales = [item.qparams.scale for item in unit.inputs[:2] if item is not None and item.qparams is not None]
        assert unit.output.qparams is not None
        how = requant(scale_factor(*scales, over=unit.output.qparams.scale), "fixed")
        shift = max(0, int(how.shift.max()))  # type: ignore[union-attr]
        assert _accumulator_bound(unit) * 2.0**shift < 2**31
    a, b = (item.qparams.scale for item in add.inputs if item is not None and item.qparams is not None)
    assert add.output.qparams is not None
    twice = np.float32(2 * max(float(a), float(b)))
    how = requant(np.asarray(float(twice) / (2.0**20 * float(add.output.qparams.scale))), "fixed")
    assert 2.0 ** (28 + max(0, int(how.shift))) < 2**31  # type: ignore[union-attr]
    Reference(quantized).run({"x": np.array([[[[-128, 127], [0, 5]]]], np.int8)})


def test_every_op_with_a_rule_has_an_integer_form() -> None:
    for op, rule in RULES.items():
        # What depends on the order of integers only is the same function of them as of floats.
        assert OPS[op].quantized is not None or rule.role == "order", op
        if rule.role not in ("layer", "concat"):
            assert OPS[op].data_inputs is not None or rule.data == 1 or op in ("Add", "Sub", "Mul", "MatMul")
    missing = {op for op, item in OPS.items() if item.quantized is not None} - set(RULES)
    assert missing <= {"QuantizeLinear", "DequantizeLinear"}


def test_only_functions_with_a_known_range_have_fixed_parameters() -> None:
    graph = elementwise().graph
    fixed = {item.op_type for item in graph if fixed_qparams(item, "int8") is not None}
    assert fixed == {"Tanh", "HardSigmoid"}


def test_the_separable_network_is_at_the_internal_opset() -> None:
    assert separable().graph.opset_imports[""] == OPSET


def test_tiny_cnn_names_are_unique_even_when_taken() -> None:
    proto = models.tiny_mlp()
    proto.opset_import[0].version = OPSET
    for item in proto.graph.node:
        for names in (item.input, item.output):
            for index, name in enumerate(names):
                names[index] = "relu_quantized" if name == "fc1" else name
    proto.graph.value_info.clear()
    onnx.checker.check_model(proto)
    from qdq_models import finish

    quantized = _quantized(finish(proto))
    verify(quantized)
    assert "relu_quantized_1" in {v.name for item in quantized.graph for v in item.outputs}
