from __future__ import annotations

import onnx_ir as ir
import pytest
from onnx import helper

import models
from microlith.core.errors import InputError
from microlith.graph.passes.infer_shapes import InferShapes
from microlith.graph.values import known_shape


def test_every_value_gets_its_type_and_shape():
    model = ir.serde.deserialize_model(models.tiny_cnn())
    wanted = {"stem.conv": (1, 4, 8, 8), "pool": (1, 4, 4, 4), "gap": (1, 4, 1, 1), "features": (1, 4)}
    assert InferShapes().apply(model).changes >= len(wanted)
    got = {value.name: known_shape(value) for node in model.graph for value in node.outputs}
    assert {name: got[name] for name in wanted} == wanted
    assert all(value.dtype == ir.DataType.FLOAT for node in model.graph for value in node.outputs)
    assert InferShapes().apply(model).changes == 0


def test_a_wrong_shape_is_replaced():
    model = ir.serde.deserialize_model(models.tiny_cnn())
    InferShapes().apply(model)
    model.graph[0].outputs[0].shape = ir.Shape([1, 4, 9, 9])
    assert InferShapes().apply(model).changes == 1
    assert known_shape(model.graph[0].outputs[0]) == (1, 4, 8, 8)


def test_operators_that_contradict_each_other():
    proto = models.make_model([helper.make_node("Add", ["x", "z"], ["y"])], {"x": [1, 4], "z": [1, 4]}, {"y": [1, 4]})
    model = ir.serde.deserialize_model(proto)
    model.graph.inputs[1].shape = ir.Shape([1, 3])
    with pytest.raises(InputError, match="do not fit together"):
        InferShapes().apply(model)
