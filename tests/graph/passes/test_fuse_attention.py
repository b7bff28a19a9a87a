from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import compiled
import models
from microlith.graph.load import load_bytes
from microlith.graph.passes import DEFAULT_PASSES, LOWERING_PASSES
from microlith.graph.passes.fuse_attention import FuseAttention
from microlith.graph.patterns import FUSED_NODES
from microlith.graph.pipeline import run_passes

QUERIES, KEYS, VALUES, RESULT = [1, 2, 5, 4], [1, 2, 6, 4], [1, 2, 6, 3], [1, 2, 5, 3]


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], output, **attributes)


def written_out(*, factors="both", mask=None, cap=None, rank=4, heads=2, axis=-1):
    """Attention as exporters write it; a factor of both operands, or of the product by Mul or Div."""
    weights, q, k = {}, "q", "t"
    nodes = [node("Transpose", "k", "t", perm=[0, 1, 3, 2][-rank:] if rank == 4 else [0, 2, 1])]
    if factors == "both":
        weights["root"] = np.full(1, 0.7, np.float32)
        nodes += [node("Mul", "q root", "qs"), node("Mul", "root t", "ts")]
        q, k = "qs", "ts"
    nodes.append(node("MatMul", f"{q} {k}", "products"))
    last = "products"
    if factors in ("Mul", "Div"):
        weights["scale"] = np.array(0.5, np.float32)
        nodes.append(node(factors, f"{last} scale", "scaled"))
        last = "scaled"
    if cap is not None:
        weights["cap"] = np.array(cap, np.float32)
        nodes += [node("Div", f"{last} cap", "over"), node("Tanh", "over", "bent"), node("Mul", "bent cap", "capped")]
        last = "capped"
    if mask is not None:
        weights["mask"] = mask
        nodes.append(node("Add", f"mask {last}", "masked"))
        last = "masked"
    nodes += [node("Softmax", last, "shares", axis=axis), node("MatMul", "shares v", "y")]
    drop = slice(None) if rank == 4 else slice(0, 4, None)
    shapes = [
        [1, heads, *item[2:]] if rank == 4 else [heads, *item[2:]][drop] for item in (QUERIES, KEYS, VALUES, RESULT)
    ]
    return models.make_model(nodes, dict(zip("qkv", shapes[:3], strict=True)), {"y": shapes[3]}, weights)


def fused(proto, rng):
    """The graph after the pass; the reference says what it said before."""
    model = load_bytes(proto.SerializeToString(), "model.onnx")
    feeds = {value.name: rng.standard_normal(value.shape.numpy()).astype(np.float32) for value in model.graph.inputs}
    wanted = compiled.reference(model, feeds)
    run_passes(model, (FuseAttention(),), verify=True)
    for got, expected in zip(compiled.reference(model, feeds), wanted, strict=True):
        np.testing.assert_allclose(
            got, expected, rtol=0, atol=FuseAttention.preserves.relative * np.abs(expected).max()
        )
    return list(model.graph)


LOW = np.where(np.tri(5, 6, dtype=bool), np.float32(0), np.float32(-np.inf))
FORMS = {
    "factors of both": ({}, {"scale": 0.49}),
    "a product": ({"factors": "Mul"}, {"scale": 0.5}),
    "a quotient": ({"factors": "Div"}, {"scale": 2.0}),
    "no factor": ({"factors": ""}, {"scale": 1.0}),
    "a mask": ({"mask": np.linspace(-2, 1, 30, dtype=np.float32).reshape(5, 6)}, {"scale": 0.49}),
    "a mask of keys": ({"mask": np.linspace(-2, 1, 6, dtype=np.float32)}, {"scale": 0.49}),
    "a causal mask": ({"mask": LOW[None, None]}, {"scale": 0.49, "is_causal": 1}),
    "a cap": ({"cap": 2.0, "factors": "Mul"}, {"scale": 0.5, "softcap": 2.0}),
    "a cap and a mask": ({"cap": 2.0, "mask": LOW - 1}, {"scale": 0.49, "softcap": 2.0}),
    "rank 3": ({"rank": 3}, {"scale": 0.49, "q_num_heads": 1, "kv_num_heads": 1}),
}


@pytest.mark.parametrize("what", FORMS)
def test_forms(rng, what):
    arguments, wanted = FORMS[what]
    found = fused(written_out(**arguments), rng)
    assert [item.op_type for item in found] == ["Attention"]
    got = {name: attribute.value for name, attribute in found[0].attributes.items()}
    assert got == pytest.approx(wanted)
    assert len(found[0].inputs) == 3 + ("mask" in arguments and "is_causal" not in wanted)
    assert {"products", "shares", "y"} <= set(found[0].meta[FUSED_NODES])


@settings(max_examples=25, deadline=None)
@given(
    factors=st.sampled_from(("both", "Mul", "Div", "")),
    cap=st.none() | st.floats(0.5, 5),
    mask=st.none() | st.sampled_from([(6,), (5, 1), (1, 2, 1, 6), (1, 1, 5, 6)]),
    seed=st.integers(0, 99),
)
def test_random_forms(factors, cap, mask, seed):
    rng = np.random.default_rng(seed)
    added = None if mask is None else rng.standard_normal(mask).astype(np.float32)
    found = fused(written_out(factors=factors, cap=cap, mask=added), rng)
    assert [item.op_type for item in found] == ["Attention"]


def test_another_axis_stays(rng):
    assert len(fused(written_out(axis=2), rng)) == 6


def test_a_mask_that_enlarges_the_products_stays(rng):
    proto = written_out(mask=np.ones((1, 2, 1, 1), np.float32), heads=2)
    proto.graph.initializer[-1].CopyFrom(helper.make_tensor("mask", 1, (3, 2, 1, 1), np.ones(6)))
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3
    assert "Attention" not in [item.op_type for item in fused(proto, rng)]


@pytest.mark.parametrize("read", ["products", "shares"])
def test_what_others_read_stays(rng, read):
    proto = written_out()
    proto.graph.output.append(helper.make_tensor_value_info(read, 1, [1, 2, 5, 6]))
    assert "Attention" not in [item.op_type for item in fused(proto, rng)]


def test_constant_keys_stay(rng):
    proto = written_out()
    keys = helper.make_tensor("k", 1, KEYS, np.linspace(-1, 1, 48))
    del proto.graph.input[1]
    proto.graph.initializer.append(keys)
    assert "Attention" not in [item.op_type for item in fused(proto, rng)]


def test_only_where_it_can_be_compiled():
    model = load_bytes(written_out().SerializeToString(), "model.onnx")
    assert FuseAttention(()).apply(model).changes == 0


GIVEN = {
    "plain": (QUERIES, KEYS, VALUES, RESULT, {}),
    "causal": (QUERIES, KEYS, VALUES, RESULT, {"is_causal": 1, "scale": 0.3}),
    "groups": ([1, 4, 5, 4], KEYS, VALUES, [1, 4, 5, 3], {"softcap": 1.5}),
    "heads in rows": ([1, 5, 16], [1, 6, 8], [1, 6, 6], [1, 5, 12], {"q_num_heads": 4, "kv_num_heads": 2}),
}


@pytest.mark.parametrize("what", GIVEN)
def test_an_attention_is_written_out_when_loaded_and_recovered(rng, what):
    q, k, v, y, attributes = GIVEN[what]
    proto = models.make_model(
        [node("Attention", "q k v", "y", **attributes)], {"q": q, "k": k, "v": v}, {"y": y}, opset=24
    )
    model = load_bytes(proto.SerializeToString(), "model.onnx")
    run_passes(model, DEFAULT_PASSES, verify=True)
    assert "Attention" not in [item.op_type for item in model.graph]
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in (("q", q), ("k", k), ("v", v))}
    (wanted,) = compiled.reference(model, feeds)
    run_passes(model, LOWERING_PASSES, verify=True)
    moved = {"Attention", "Reshape", "Transpose"} if what == "heads in rows" else {"Attention"}
    assert {item.op_type for item in model.graph} == moved
    np.testing.assert_allclose(compiled.reference(model, feeds)[0], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
