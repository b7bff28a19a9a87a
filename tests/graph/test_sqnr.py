from __future__ import annotations

import numpy as np
import pytest

from microlith.core.errors import InputError
from microlith.graph.expose import expose
from microlith.graph.reference import Reference
from microlith.graph.sqnr import layer_sqnr
from microlith.graph.units import units
from microlith.quant.calibration import sqnr_db
from microlith.quant.schemes import Scheme
from microlith.techniques.ptq import observe, quantize
from qdq_models import ALL, build, node, samples


@pytest.mark.parametrize("io", ["int", "float"])
@pytest.mark.parametrize("name", ALL)
def test_every_operation_has_a_figure(name: str, io: str) -> None:
    model = ALL[name]()
    quantized = quantize(model, observe(model, [samples(model, 32)]), Scheme(), "float", io=io)  # type: ignore[arg-type]
    figures = layer_sqnr(model, quantized, [samples(model, 8, seed=1), samples(model, 8, seed=2)])
    assert list(figures) == [str(u.output.value.name) for u in units(quantized) if u.kind == "integer"]
    assert all(15 < figure < 90 for figure in figures.values())


def test_the_figure_is_that_of_the_definition_over_all_batches() -> None:
    model = build([node("Relu", "y", "x")], {"x": [1, 4]}, {"y": [1, 4]})
    quantized = quantize(model, observe(model, [samples(model, 64)]), Scheme(), "float", io="float")
    batches = [samples(model, 8, seed=1), samples(model, 3, seed=2)]
    real = np.concatenate([Reference(model).run(batch)["y"] for batch in batches])
    back = np.concatenate([Reference(quantized).run(batch)["y"] for batch in batches])
    (figure,) = layer_sqnr(model, quantized, batches).values()
    assert figure == pytest.approx(sqnr_db(real, back))


def test_wider_scales_are_noisier() -> None:
    model = ALL["residual"]()
    feeds = [samples(model, 16)]
    statistics = observe(model, feeds)
    fine, coarse = (
        layer_sqnr(model, quantize(model, statistics, Scheme(per_channel=c, symmetric=not c), "float"), feeds)
        for c in (True, False)
    )
    assert sum(fine.values()) > sum(coarse.values()) + len(fine)


def test_a_result_that_the_float_model_fuses_has_a_figure_too() -> None:
    model = ALL["residual"]()
    kept = ("Relu",)
    quantized = quantize(model, observe(model, [samples(model, 8)], float_ops=kept), Scheme(), "float", float_ops=kept)
    figures = layer_sqnr(model, quantized, [samples(model, 8)])
    assert {"c1_quantized", "sum_quantized"} <= set(figures)


def test_exposing_adds_outputs_to_a_copy() -> None:
    model = ALL["residual"]()
    exposed = expose(model, ["x", "c1", "y", "none"])
    assert [value.name for value in exposed.graph.outputs] == ["y", "c1"]
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_no_data_is_refused() -> None:
    model = ALL["residual"]()
    quantized = quantize(model, observe(model, [samples(model, 4)]), Scheme(), "float")
    with pytest.raises(InputError):
        layer_sqnr(model, quantized, [])


def test_sqnr_at_its_limits() -> None:
    signal = np.array([1.0, -1.0], np.float32)
    assert sqnr_db(signal, signal) == np.inf
    assert sqnr_db(np.zeros(2, np.float32), signal) == -np.inf
    assert sqnr_db(signal, signal * np.float32(0.9)) == pytest.approx(20, abs=1e-4)
