from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.fuse_gelu import FuseGelu

NUMBERS = {
    "half": 0.5, "one": 1.0, "root": np.sqrt(2), "inverse": np.sqrt(0.5), "pi": np.sqrt(2 / np.pi),
    "small": 0.044715, "three": 3.0, "two": 2.0,
}  # fmt: skip
FORMS = {
    "erf": "Div x root a, Erf a b, Add b one c, Mul x c d, Mul d half y",
    "erf, half first": "Mul x half h, Mul x inverse a, Erf a b, Add one b c, Mul h c y",
    "erf, half of the gate": "Div x root a, Erf a b, Add b one c, Mul c half d, Mul x d y",
    "erf, divided by two": "Div x root a, Erf a b, Add b one c, Mul x c d, Div d two y",
    "tanh": "Pow x three p, Mul p small q, Add x q r, Mul r pi s, Tanh s t, Add t one u, Mul x half h, Mul h u y",
    "tanh by products": (
        "Mul x x a, Mul a x p, Mul small p q, Add q x r, Mul pi r s, Tanh s t, Add one t u, Mul u x v, Mul v half y"
    ),
}
OTHERS = {
    "not half": "Div x root a, Erf a b, Add b one c, Mul x c d, Mul d two y",
    "another x": "Div x root a, Erf a b, Add b one c, Tanh x z, Mul z c d, Mul d half y",
    "another root": "Div x two a, Erf a b, Add b one c, Mul x c d, Mul d half y",
    "another sum": "Div x root a, Erf a b, Add b half c, Mul x c d, Mul d half y",
    "squared": "Pow x two p, Mul p small q, Add x q r, Mul r pi s, Tanh s t, Add t one u, Mul x half h, Mul h u y",
    "twice x": "Div x root a, Erf a b, Add b one c, Mul x c d, Mul d x e, Mul e half y",
}


def model(text):
    nodes, used = [], set()
    for step in text.split(", "):
        op, *names = step.split()
        nodes.append(helper.make_node(op, names[:-1], names[-1:]))
        used.update(names)
    weights = {name: np.float32(number) for name, number in NUMBERS.items() if name in used}
    return models.make_model(nodes, {"x": [1, 3, 40]}, {"y": [1, 3, 40]}, weights)


@pytest.fixture
def x(rng):
    return rng.normal(0, 3, (1, 3, 40)).astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
def test_forms(rewrite, x, form):
    assert rewrite(model(FORMS[form]), FuseGelu({"Gelu"}), x=x) == ["Gelu"]
    approximate = rewrite.model.graph[0].attributes["approximate"].as_string()
    assert approximate == ("tanh" if form.startswith("tanh") else "none")


@pytest.mark.parametrize("form", OTHERS)
def test_what_looks_alike_stays(rewrite, x, form):
    rewrite(model(OTHERS[form]), FuseGelu({"Gelu"}), x=x)
    assert rewrite.result.changes == 0


def test_only_where_the_operator_can_be_compiled(rewrite, x):
    rewrite(model(FORMS["erf"]), FuseGelu({"Erf"}), x=x)
    assert rewrite.result.changes == 0


def test_a_gate_that_others_read_stays(rewrite, x):
    proto = model(FORMS["erf"])
    proto.graph.output.append(helper.make_tensor_value_info("c", 1, [1, 3, 40]))
    rewrite(proto, FuseGelu({"Gelu"}), x=x)
    assert rewrite.result.changes == 0
