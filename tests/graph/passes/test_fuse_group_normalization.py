from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import compiled
import models
from microlith.graph.load import load_bytes
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.passes.fuse_group_normalization import FuseGroupNormalization
from microlith.graph.pipeline import run_passes

SHAPE = [1, 6, 4, 3]


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], output, **attributes)


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def proto(scale, bias, *, shape=SHAPE, groups=3, decomposed=False, own=None):
    """As torch exports it; what is done to each group is one operator, or written out."""
    weights = {"apart": np.array([shape[0], groups, -1]), "back": np.array(shape)}
    nodes = [node("Reshape", "x apart", "g")]
    if decomposed:
        weights |= {"axes": np.array([2]), "two": np.float32(2), "epsilon": np.float32(1e-5)}
        nodes += [node("ReduceMean", "g axes", "m"), node("Sub", "g m", "d"), node("Pow", "d two", "q")]
        nodes += [node("ReduceMean", "q axes", "v"), node("Add", "v epsilon", "w"), node("Sqrt", "w", "r")]
        nodes.append(node("Div", "d r", "n"))
    else:
        given_scale, given_bias = own or (np.ones(groups, np.float32), np.zeros(groups, np.float32))
        weights |= {"s": given_scale, "b": given_bias}
        nodes.append(node("InstanceNormalization", "g s b", "n"))
    nodes.append(node("Reshape", "n back", "y0"))
    last = "y0"
    for op, array in (("Mul", scale), ("Add", bias)):
        if array is not None:
            weights[op] = array
            nodes.append(node(op, f"{last} {op}", f"y{op}"))
            last = f"y{op}"
    nodes[-1].output[0] = "y"
    return models.make_model(nodes, {"x": shape}, {"y": shape}, weights, opset=18)


FORMS = {
    "scale and bias": (normal(6, 1, 1), normal(6, 1, 1), None),
    "bias alone": (None, normal(1, 6, 1, 1), None),
    "one number": (np.float32(2), None, None),
    "with a scale a group": (normal(6, 1, 1), normal(6, 1, 1), (normal(3), normal(3))),
}


@pytest.mark.parametrize("what", FORMS)
def test_forms(rewrite, rng, what):
    scale, bias, own = FORMS[what]
    x = rng.standard_normal(SHAPE).astype(np.float32)
    assert rewrite(proto(scale, bias, own=own), FuseGroupNormalization(), x=x) == ["GroupNormalization"]


@settings(max_examples=15, deadline=None)
@given(groups=st.integers(1, 3), each=st.integers(2, 3), rest=st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_what_is_written_out_entirely(groups, each, rest):
    shape = [1, groups * each, *rest]
    row = normal(shape[1], *[1] * len(rest))
    found = proto(row, row, shape=shape, groups=groups, decomposed=True)
    model = load_bytes(found.SerializeToString(), "model.onnx")
    x = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    (wanted,) = compiled.reference(model, x)
    run_passes(model, DEFAULT_PASSES, verify=True)
    assert [item.op_type for item in model.graph] == ["GroupNormalization"]
    np.testing.assert_allclose(
        compiled.reference(model, x)[0], wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max())
    )


@pytest.mark.parametrize(
    "proto_of",
    [
        lambda: proto(None, None),
        lambda: proto(normal(4, 1), None),
        lambda: proto(normal(6, 1, 1), None, groups=6),
    ],
    ids=["nothing to take in", "a scale along another axis", "a channel a group"],
)
def test_what_stays(rewrite, rng, proto_of):
    rewrite(proto_of(), FuseGroupNormalization(), x=rng.standard_normal(SHAPE).astype(np.float32))
    assert rewrite.result.changes == 0


def test_only_where_it_can_be_compiled(rewrite, rng):
    x = rng.standard_normal(SHAPE).astype(np.float32)
    rewrite(proto(normal(6, 1, 1), None), FuseGroupNormalization(()), x=x)
    assert rewrite.result.changes == 0
