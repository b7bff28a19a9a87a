"""Widths, granularity and settings of single layers, in the graphs that quantization makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import compiled
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.export import export_model
from microlith.graph.feeds import as_inputs
from microlith.graph.load import load_bytes
from microlith.graph.metadata import weight_kind
from microlith.graph.reference import Reference
from microlith.graph.save import model_bytes
from microlith.graph.units import units
from microlith.graph.verifier import verify
from microlith.quant.calibration import sqnr_db
from microlith.search.prepare import evaluate, optimize_graph
from microlith.techniques.base import Context, Technique
from microlith.techniques.ptq import PTQ
from microlith.techniques.recipe import Recipe, run_recipe
from oracles import onnxruntime_run
from qdq_models import attention, branches, residual, samples, separable

NO_DATA = Context()


def _loaded(model: ir.Model) -> ir.Model:
    return load_bytes(ir.to_proto(model).SerializeToString(), "model")


def _data(model: ir.Model) -> Context:
    return Context(lambda: [samples(model, 16, seed=seed) for seed in range(3)])


def _applied(model: ir.Model, step: Technique) -> ir.Model:
    return run_recipe(model, Recipe((step,)), _data(model))


def _sqnr_db(model: ir.Model, quantized: ir.Model) -> float:
    feeds = [samples(model, 32, seed=9)]
    return sqnr_db(evaluate(model, feeds), evaluate(quantized, feeds))


def _against_onnxruntime(quantized: ir.Model, model: ir.Model) -> float:
    """Greatest difference of any output from ONNX Runtime's, reading back the file in between.

    Floats times integer weights are computed as they stand: its own kernel for them rounds activations to int8.
    """
    optimize = any(node.op_type == "QuantizeLinear" for node in quantized.graph)
    content = model_bytes(export_model(quantized))
    again = load_bytes(content, "again")
    worst = 0.0
    for seed in range(4):
        feeds = as_inputs(quantized, samples(model, 1, seed=seed))
        found, expected = Reference(again).run(feeds), Reference(quantized).run(feeds)
        outside = onnxruntime_run(onnx.load_from_string(content), feeds, optimize=optimize)
        for (name, array), other in zip(expected.items(), outside, strict=True):
            assert np.array_equal(found[name], array)
            worst = max(worst, float(np.abs(array.astype(np.float64) - np.asarray(other, np.float64)).max()))
    return worst


WIDTHS: dict[str, tuple[dict[str, Any], float]] = {
    "int4": ({"weights": "int4"}, 25.0),
    "int4 affine": ({"weights": "int4", "weights_symmetric": False}, 25.0),
    "int3": ({"weights": "int3"}, 18.0),
    "int2": ({"weights": "int2"}, 10.0),
    "ternary": ({"weights": "ternary"}, 9.0),
    "binary": ({"weights": "binary"}, 6.0),
    "int16": ({"activations": "int16", "float_ops": ("Softmax",)}, 45.0),
    "power of two": ({"power_of_two": True, "weights_power_of_two": True}, 30.0),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_a_width_runs_in_onnxruntime_and_is_as_close_as_it_can_be(name: str) -> None:
    fields, least_db = WIDTHS[name]
    model = _loaded(residual())
    quantized = _applied(model, PTQ(**fields))
    assert _sqnr_db(model, quantized) > least_db
    assert _against_onnxruntime(quantized, model) <= (1 if "float_ops" not in fields else 0.01)


def test_narrow_weights_say_of_which_kind_they_are() -> None:
    model = _loaded(residual())
    for kind, stored in (("ternary", "INT2"), ("binary", "INT2"), ("int3", "INT4")):
        quantized = load_bytes(model_bytes(export_model(_applied(model, PTQ(weights=kind)))), "again")
        found = {}
        for node in quantized.graph:
            if node.op_type == "DequantizeLinear" and weight_kind(node) is not None:
                integers = node.inputs[0]
                assert integers is not None and integers.const_value is not None and integers.dtype is not None
                found[str(integers.name)] = integers.dtype.name, weight_kind(node)
        assert found["w1_quantized"] == (stored, kind)
        # See the remark in the code on a Gemm of int2.
        assert found["w3_quantized"] == ("INT4", kind)


def test_int4_activations_are_evaluated() -> None:
    model = _loaded(separable())
    quantized = _applied(model, PTQ(activations="int4"))
    assert {unit.output.qparams.dtype for unit in units(quantized) if unit.output.qparams} == {"int4"}
    assert _sqnr_db(model, quantized) > 8


def test_int16_refuses_what_is_defined_on_8_bits() -> None:
    for model, op in ((residual(), "Softmax"), (attention(), "MatMul")):
        with pytest.raises(UnsupportedError, match=f"{op} of int16"):
            _applied(_loaded(model), PTQ(activations="int16"))


def test_an_old_opset_has_no_narrow_types() -> None:
    with pytest.raises(UnsupportedError, match="int2 needs opset 25"):
        _applied(residual(), PTQ(weights="ternary"))


# ---- settings of single layers


def _weight_types(quantized: ir.Model) -> dict[str, str]:
    found = {}
    for unit in units(quantized):
        if unit.node.op_type in ("Conv", "Gemm"):
            weights = unit.inputs[1]
            assert weights is not None and weights.qparams is not None
            found[str(unit.node.name)] = weights.qparams.dtype
    return found


def test_layers_take_their_own_settings() -> None:
    model = _loaded(residual())
    four = {"weights": "int4", "calibration": "minmax"}
    ends = [{"layers": "first", "weights": "int8"}, {"layers": "last", "weights": "int8"}]
    step = PTQ.model_validate(four | {"overrides": ends})
    names = [str(node.name) for node in model.graph if node.op_type in ("Conv", "Gemm")]
    assert _weight_types(_applied(model, step)) == dict(zip(names, ["int8", "int4", "int8"], strict=True))
    by_name = PTQ.model_validate(
        four | {"overrides": [{"match": "c*", "weights": "int8"}, {"op": "Gemm", "weights": "int8"}]}
    )
    assert set(_weight_types(_applied(model, by_name)).values()) == {"int8"}


def test_a_later_override_holds_and_both_survive_yaml() -> None:
    model = _loaded(residual())
    fields = {"overrides": [{"op": "Conv", "weights": "int4"}, {"match": "c2*", "weights": "int3"}]}
    recipe = Recipe.from_yaml(Recipe((PTQ.model_validate(fields),)).to_yaml())
    quantized = run_recipe(model, recipe, _data(model))
    assert list(_weight_types(quantized).values()) == ["int4", "int4", "int8"]
    kinds = [weight_kind(node) for node in quantized.graph if node.op_type == "DequantizeLinear"]
    assert kinds.count("int3") == 1


def test_a_layer_may_have_activations_of_another_width() -> None:
    model = _loaded(separable())
    step = PTQ.model_validate({"overrides": [{"match": "p_node", "activations": "int16"}]})
    quantized = _applied(model, step)
    found = {str(unit.node.name): unit.output.qparams for unit in units(quantized) if unit.kind == "integer"}
    assert {name for name, item in found.items() if item is not None and item.dtype == "int16"} == {"p_node"}
    assert _sqnr_db(model, quantized) > 25


def test_an_override_that_selects_nothing_is_refused() -> None:
    model = _loaded(residual())
    with pytest.raises(InputError, match="selects no node") as error:
        _applied(model, PTQ.model_validate({"overrides": [{"match": "c1_nod", "weights": "int4"}]}))
    assert "c1_node" in str(error.value)


def test_an_override_must_go_with_the_rest() -> None:
    model = _loaded(residual())
    step = PTQ.model_validate({"overrides": [{"op": "Conv", "group_size": 9}]})
    with pytest.raises(InputError, match="do not go with the other settings"):
        _applied(model, step)


# ---- weights alone


@pytest.mark.parametrize("build", [residual, separable, attention, branches])
def test_weights_alone_need_no_data_and_change_no_activation(build: Any) -> None:
    model = _loaded(build())
    quantized = run_recipe(model, Recipe((PTQ(activations="float", weights="int4"),)), NO_DATA)
    assert not any(node.op_type == "QuantizeLinear" for node in quantized.graph)
    assert 15 < _sqnr_db(model, quantized) < 50
    assert _against_onnxruntime(quantized, model) < 1e-5


def test_groups_have_less_error_than_channels() -> None:
    model = _loaded(attention())
    errors = [
        _sqnr_db(model, run_recipe(model, Recipe((PTQ.model_validate(fields),)), NO_DATA))
        for fields in (
            {"activations": "float", "weights": "int4", "per_channel": False},
            {"activations": "float", "weights": "int4", "group_size": 3},
        )
    ]
    assert errors[1] > errors[0] + 1


GROUPED = PTQ.model_validate(
    {"activations": "float", "weights": "int4", "group_size": 9, "overrides": [{"op": "Gemm", "group_size": 2}]}
)


def test_each_group_has_a_scale_of_its_own() -> None:
    model = _loaded(residual())
    quantized = run_recipe(model, Recipe((GROUPED,)), NO_DATA)
    verify(quantized)
    weights = next(v for name, v in quantized.graph.initializers.items() if name == "w1_quantized")
    scales = next(v for name, v in quantized.graph.initializers.items() if name == "w1_scale")
    assert weights.shape == ir.Shape([12, 9])
    assert scales.shape == ir.Shape([12])
    assert _against_onnxruntime(quantized, model) < 1e-5
    with pytest.raises(UnsupportedError, match="no multiple of the group size"):
        run_recipe(model, Recipe((PTQ(activations="float", group_size=4),)), NO_DATA)


def test_a_model_without_layers_is_refused() -> None:
    from qdq_models import elementwise

    with pytest.raises(InputError, match="no layer"):
        run_recipe(_loaded(elementwise()), Recipe((PTQ(activations="float"),)), NO_DATA)


# ---- to C


def test_low_bits_compile_and_c_equals_the_reference(tmp_path_factory: pytest.TempPathFactory) -> None:
    from microlith.device.load import device

    ends = [{"layers": "first", "weights": "int8"}, {"layers": "last", "weights": "int8"}]
    steps = {
        "four": (residual, PTQ.model_validate({"weights": "int4", "overrides": ends})),
        "separable_four": (separable, PTQ(weights="int4", requantization="fixed")),
        "three": (residual, PTQ(weights="int3", per_channel=False)),
        "ternary": (separable, PTQ(weights="ternary")),
        "binary": (residual, PTQ(weights="binary")),
        "alone": (residual, PTQ(activations="float", weights="int4")),
        "groups": (residual, GROUPED),
        "matrix_groups": (attention, PTQ(activations="float", weights="int4", group_size=3)),
    }
    models = {name: optimize_graph(_loaded(build()))[0] for name, (build, _) in steps.items()}
    graphs = {name: _applied(models[name], step) for name, (_, step) in steps.items()}
    library = compiled.Library(tmp_path_factory.mktemp("low_bits"), graphs, device("host"))
    for name, graph in graphs.items():
        whole = not any(unit.kind == "float" for unit in units(graph))
        for seed in range(3):
            feeds = as_inputs(graph, samples(models[name], 1, seed=seed))
            expected = list(Reference(graph).run(feeds).values())
            for array, found in zip(expected, library.run(name, feeds), strict=True):
                if whole:
                    assert np.array_equal(array, found), name
                else:
                    assert np.allclose(array, found, atol=1e-5), name


@pytest.mark.parametrize("dtype", ["int16", "int4"])
def test_other_activations_are_refused_by_the_compiler_with_the_reason(dtype: str) -> None:
    from microlith.compile.pipeline import compile_graph
    from microlith.device.load import device

    quantized = _applied(_loaded(separable()), PTQ.model_validate({"activations": dtype}))
    with pytest.raises(UnsupportedError, match=f"quantized to {dtype}, only 8-bit integers can be compiled"):
        compile_graph(quantized, device("host"), name="m")
