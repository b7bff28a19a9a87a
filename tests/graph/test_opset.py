"""Every operator form of an older or newer opset: the loaded model computes what the file says."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

import models
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.opset import OPSET, REWRITES, SAME_FORM, SAME_FORM_FROM_7

NEWEST = onnx.defs.onnx_opset_version()


def check(load, run, rng, proto, **shapes):
    """Load, and compare with ONNX Runtime, or with the ONNX reference where that knows the opset and the other may not.

    The reference gives operators of old opsets their present meaning (Softmax, BatchNormalization).
    """
    model = load(proto)
    assert model.graph.opset_imports == {"": OPSET}
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    known = proto.opset_import[0].version <= OPSET
    wanted = run(proto, feeds) if known else ReferenceEvaluator(proto).run(None, feeds)
    for got, expected in zip(run(model, feeds), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    return model


def schema(op, version):
    return onnx.defs.get_schema(op, version, "")


def optional(parameters):
    return {item.name for item in parameters if item.option == onnx.defs.OpSchema.FormalParameterOption.Optional}


@pytest.mark.parametrize("op", SAME_FORM)
def test_same_form_only_ever_grew_optional_parts(op):
    first = max(11, min(item.since_version for item in onnx.defs.get_all_schemas_with_history() if item.name == op))
    old, new = schema(op, first), schema(op, NEWEST)
    for name, attribute in old.attributes.items():
        assert name in new.attributes
        assert new.attributes[name].default_value == attribute.default_value
    grown = [attribute for name, attribute in new.attributes.items() if name not in old.attributes]
    assert not any(attribute.required for attribute in grown)
    names, later = [item.name for item in old.inputs], [item.name for item in new.inputs]
    assert len(later) >= len(names)
    assert set(later[len(names) :]) <= optional(new.inputs)
    assert len(new.outputs) == len(old.outputs)


def test_every_operator_has_one_treatment():
    assert not set(SAME_FORM) & set(REWRITES)


@pytest.mark.parametrize("opset", [11, 12, 13, 17, OPSET, NEWEST])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2, None])
def test_softmax(load, run, rng, opset, axis):
    attributes = {} if axis is None else {"axis": axis}
    shapes = {"x": [1, 3, 2, 4]}
    proto = models.one_node("Softmax", shapes, {"y": [1, 3, 2, 4]}, opset=opset, **attributes)
    check(load, run, rng, proto, x=(1, 3, 2, 4))


def test_softmax_over_a_matrix_stays_one_node(load, run, rng):
    proto = models.one_node("Softmax", {"x": [1, 10]}, {"y": [1, 10]}, opset=11)
    model = check(load, run, rng, proto, x=(1, 10))
    assert [node.op_type for node in model.graph] == ["Softmax"]


@pytest.mark.parametrize("opset", [11, 12])
def test_axes_and_sizes_that_were_attributes(load, run, rng, opset):
    nodes = [
        helper.make_node("Squeeze", ["x"], ["a"], axes=[2, 3]),
        helper.make_node("Unsqueeze", ["a"], ["b"], axes=[1]),
        helper.make_node("Split", ["b"], ["c", "d"], axis=2, split=[1, 3]),
        helper.make_node("Concat", ["d", "c"], ["y"], axis=2),
    ]
    check(load, run, rng, models.make_model(nodes, {"x": [1, 4, 1, 1]}, {"y": [1, 1, 4]}, opset=opset), x=(1, 4, 1, 1))


def test_squeeze_without_axes(load, run, rng):
    proto = models.one_node("Squeeze", {"x": [1, 4, 1]}, {"y": [4]}, opset=11)
    check(load, run, rng, proto, x=(1, 4, 1))


@pytest.mark.parametrize("opset", [13, 17])
def test_split_in_equal_parts(load, run, rng, opset):
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], axis=1),
        helper.make_node("Sub", ["a", "b"], ["y"]),
    ]
    check(load, run, rng, models.make_model(nodes, {"x": [1, 4]}, {"y": [1, 2]}, opset=opset), x=(1, 4))


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(load, run, rng, op, opset, keepdims):
    out = [1, 3, 1, 1] if keepdims else [1, 3]
    proto = models.one_node(op, {"x": [1, 3, 4, 2]}, {"y": out}, opset=opset, axes=[2, 3], keepdims=keepdims)
    check(load, run, rng, proto, x=(1, 3, 4, 2))


def test_reduction_over_all_axes(load, run, rng):
    proto = models.one_node("ReduceMean", {"x": [1, 3]}, {"y": [1, 1]}, opset=11)
    check(load, run, rng, proto, x=(1, 3))


@pytest.mark.parametrize("opset", [11, 13])
def test_pad_slice_and_clip(load, run, rng, opset):
    nodes = [
        helper.make_node("Pad", ["x", "pads", "value"], ["a"]),
        helper.make_node("Slice", ["a", "starts", "ends", "axes"], ["b"]),
        helper.make_node("Clip", ["b", "low", "high"], ["y"]),
    ]
    weights = {
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "value": np.array(0.5, np.float32),
        "starts": np.array([1]),
        "ends": np.array([5]),
        "axes": np.array([2]),
        "low": np.array(-0.5, np.float32),
        "high": np.array(0.5, np.float32),
    }
    proto = models.make_model(nodes, {"x": [1, 2, 4, 4]}, {"y": [1, 2, 4, 6]}, weights, opset=opset)
    check(load, run, rng, proto, x=(1, 2, 4, 4))


@pytest.mark.parametrize("opset", [11, 12, 13, NEWEST])
def test_dropout(load, run, rng, opset):
    attributes = {"ratio": 0.3} if opset == 11 else {}
    proto = models.one_node("Dropout", {"x": [1, 5]}, {"y": [1, 5]}, opset=opset, **attributes)
    check(load, run, rng, proto, x=(1, 5))


@pytest.mark.parametrize("opset", [11, 14, 15, NEWEST])
def test_batch_normalization(load, run, rng, opset):
    weights = {name: rng.uniform(0.5, 1.5, 3).astype(np.float32) for name in ("s", "b", "m", "v")}
    node = helper.make_node("BatchNormalization", ["x", *weights], ["y"], epsilon=1e-3)
    proto = models.make_model([node], {"x": [1, 3, 2, 2]}, {"y": [1, 3, 2, 2]}, weights, opset=opset)
    check(load, run, rng, proto, x=(1, 3, 2, 2))


@pytest.mark.parametrize("opset", [11, 13, 19, OPSET])
def test_quantize_and_dequantize(load, run, rng, opset):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    weights = {"s": np.array(0.02, np.float32), "z": np.array(120, np.uint8)}
    check(load, run, rng, models.make_model(nodes, {"x": [1, 9]}, {"y": [1, 9]}, weights, opset=opset), x=(1, 9))


@pytest.mark.parametrize("opset", [23, NEWEST])
def test_newer_attributes_that_say_nothing_are_dropped(load, run, rng, opset):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], precision=0),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], output_dtype=0),
    ]
    weights = {"s": np.array(0.02, np.float32), "z": np.array(120, np.uint8)}
    check(load, run, rng, models.make_model(nodes, {"x": [1, 9]}, {"y": [1, 9]}, weights, opset=opset), x=(1, 9))


def test_newer_attributes_that_say_something_are_refused(load):
    node = helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=2, mode="CRD", name="fold")
    with pytest.raises(UnsupportedError, match=r"attribute 'mode' of opset .*'fold' \(SpaceToDepth\)"):
        load(models.make_model([node], {"x": [1, 1, 4, 4]}, {"y": [1, 4, 2, 2]}, opset=NEWEST))


def test_quantizing_in_another_type_is_refused(load):
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], precision=10, name="q")
    back = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])
    weights = {"s": np.array(0.02, np.float32), "z": np.array(120, np.uint8)}
    with pytest.raises(InputError, match=r"another type than float32.*'q'"):
        load(models.make_model([node, back], {"x": [1, 9]}, {"y": [1, 9]}, weights, opset=NEWEST))


def test_an_operator_whose_change_is_not_known(load):
    node = helper.make_node("Selu", ["x"], ["y"], name="selu")
    with pytest.raises(UnsupportedError, match=rf"Selu changed between opset 5 and {OPSET}.*'selu'"):
        load(models.make_model([node], {"x": [1, 9]}, {"y": [1, 9]}, opset=5))


@pytest.mark.parametrize("op", SAME_FORM_FROM_7)
def test_same_form_from_opset_7_on(op):
    first = max(7, min(item.since_version for item in onnx.defs.get_all_schemas_with_history() if item.name == op))
    old, new = schema(op, first), schema(op, 11)
    for name, attribute in old.attributes.items():
        assert name in new.attributes
        assert new.attributes[name].default_value == attribute.default_value
    assert not any(attribute.required for name, attribute in new.attributes.items() if name not in old.attributes)
    assert len(new.inputs) == len(old.inputs)


def test_forms_from_before_opset_11(load, run, rng):
    proto = models.make_model(
        [
            helper.make_node("Pad", ["x"], ["a"], pads=[0, 0, 1, 0, 0, 1], value=0.5),
            helper.make_node("Slice", ["a"], ["b"], axes=[2], starts=[1], ends=[4]),
            helper.make_node("Clip", ["b"], ["y"], min=-0.5, max=0.75),
        ],
        {"x": [1, 2, 4]},
        {"y": [1, 2, 3]},
        opset=9,
    )
    check(load, run, rng, proto, x=(1, 2, 4))


@pytest.mark.parametrize("opset", [7, 9])
def test_the_operator_before_resize(load, run, rng, opset):
    scales = [1.0, 1.0, 2.0, 3.0]
    node = helper.make_node("Upsample", ["x", "s"] if opset == 9 else ["x"], ["y"], mode="nearest")
    weights = {"s": np.array(scales, np.float32)} if opset == 9 else {}
    if opset == 7:
        node.attribute.append(helper.make_attribute("scales", scales))
    proto = models.make_model([node], {"x": [1, 1, 2, 2]}, {"y": [1, 1, 4, 6]}, weights, opset=opset)
    assert check(load, run, rng, proto, x=(1, 1, 2, 2)).graph[0].op_type == "Resize"


@pytest.mark.parametrize("opset", [16, OPSET])
def test_modes_of_grid_sample_that_changed_their_name(load, run, rng, opset):
    node = helper.make_node("GridSample", ["x", "g"], ["y"])
    proto = models.make_model([node], {"x": [1, 1, 4, 4], "g": [1, 2, 3, 2]}, {"y": [1, 1, 2, 3]}, opset=opset)
    check(load, run, rng, proto, x=(1, 1, 4, 4), g=(1, 2, 3, 2))


@pytest.mark.parametrize("opset", [*range(11, OPSET + 1), NEWEST])
def test_a_network_of_every_opset(load, run, rng, opset):
    proto = models.tiny_cnn()
    proto.opset_import[0].version = opset
    onnx.checker.check_model(proto, full_check=True)
    check(load, run, rng, proto, image=(1, 3, 8, 8))
