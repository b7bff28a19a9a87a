"""What data shows of ranges, clipping, and the noise of weights and of activations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import compiled
import models
from microlith import api
from microlith.core.errors import InputError
from microlith.device.load import device
from microlith.graph.passes.place_qdq import place_qdq
from microlith.graph.reference import Reference
from microlith.quant.calibration import sqnr_db
from microlith.quant.schemes import Grid, Scheme, qparams_from_range, quantize_array
from microlith.search.ranges import RangeCheck

DEVICE = device("nrf52840")
RNG = np.random.default_rng(5)
WEIGHTS = RNG.normal(0, 1, (6, 4, 1, 1)).astype(np.float32)
WEIGHTS[1] *= 1e-9
WEIGHTS[2] = WEIGHTS[3] / 40
IMAGES = RNG.uniform(-1, 1, (90, 4, 5, 5)).astype(np.float32)


def _pointwise() -> onnx.ModelProto:
    return models.one_node("Conv", {"x": [1, 4, 5, 5]}, {"y": [1, 6, 5, 5]}, {"w": WEIGHTS})


def _found(model: onnx.ModelProto, tmp_path: Path, images: np.ndarray = IMAGES, **more: object) -> RangeCheck:
    np.savez(tmp_path / "data.npz", x=images)
    onnx.save(model, tmp_path / "m.onnx")
    return api.check_ranges(api.load(tmp_path / "m.onnx"), DEVICE, data=tmp_path / "data.npz", **more)  # type: ignore[arg-type]


def _rounded(array: np.ndarray, low: float, high: float) -> np.ndarray:
    return quantize_array(array, qparams_from_range(low, high, Grid())).dequantize()


def test_noise_of_weights_and_activations(tmp_path: Path) -> None:
    found = _found(_pointwise(), tmp_path, np.repeat(IMAGES[:1], 90, 0), scheme=Scheme(calibration="minmax"))
    (layer,) = found.layers
    flat, weights = IMAGES[0].reshape(4, 25), WEIGHTS.reshape(6, 4)
    scales = np.abs(weights).max(axis=1, keepdims=True) / 127
    rounded_weights = np.rint(weights / scales) * scales
    exact = weights @ flat
    rounded_data = _rounded(flat, flat.min(), flat.max())

    def delivered(result: np.ndarray) -> np.ndarray:
        return _rounded(result.astype(np.float32), exact.min(), exact.max())

    assert layer.weights_db == pytest.approx(sqnr_db(weights, rounded_weights), abs=0.1)
    assert layer.weights_only_db == pytest.approx(sqnr_db(exact, rounded_weights @ flat), abs=0.1)
    assert layer.activations_only_db == pytest.approx(sqnr_db(exact, delivered(weights @ rounded_data)), abs=0.1)
    assert layer.both_db == pytest.approx(sqnr_db(exact, delivered(rounded_weights @ rounded_data)), abs=0.1)
    assert [row.what for row in found.network] == ["weights", "activations", "both"]
    for row, db in zip(found.network, (layer.weights_only_db, layer.activations_only_db, layer.both_db), strict=True):
        assert row.output_db == pytest.approx(db, abs=0.1)


def test_channels(tmp_path: Path) -> None:
    (layer,) = _found(_pointwise(), tmp_path).layers
    assert (layer.channels, layer.dead) == (6, 1)
    ranges = np.abs(WEIGHTS).max(axis=(1, 2, 3))
    assert layer.channel_ranges == pytest.approx(ranges)
    assert layer.spread == pytest.approx(ranges.max() / np.median(np.delete(ranges, 1)), rel=1e-5)


def test_what_is_clipped(tmp_path: Path) -> None:
    images = np.tile(np.linspace(0, 1, 100, dtype=np.float32).reshape(1, 4, 5, 5), (90, 1, 1, 1))
    found = _found(_pointwise(), tmp_path, images, scheme=Scheme(calibration="percentile", percentile=90.0))
    row = found.values[0]
    assert (row.name, row.node) == ("x", "")
    assert row.clipped == pytest.approx(0.1, abs=0.02)
    assert row.high == pytest.approx(0.9, abs=0.02)
    assert sum(row.density) == pytest.approx(1)
    assert row.density[-1] == 0
    assert row.mean == pytest.approx(0.5, abs=0.001)
    assert row.deviation == pytest.approx(np.sqrt(1 / 12), abs=0.005)


def test_weights_of_a_transposed_convolution_and_a_matrix(tmp_path: Path) -> None:
    weights = RNG.normal(0, 1, (4, 3, 2, 2)).astype(np.float32)
    model = models.one_node("ConvTranspose", {"x": [1, 4, 5, 5]}, {"y": [1, 3, 6, 6]}, {"w": weights})
    (layer,) = _found(model, tmp_path).layers
    assert layer.channel_ranges == pytest.approx(np.abs(weights).max(axis=(0, 2, 3)))
    assert layer.both_db > 30
    weights = RNG.normal(0, 1, (5, 7)).astype(np.float32)
    model = models.one_node("MatMul", {"x": [1, 4, 5, 5]}, {"y": [1, 4, 5, 7]}, {"w": weights})
    (layer,) = _found(model, tmp_path).layers
    assert layer.channel_ranges == pytest.approx(np.abs(weights).max(axis=0))
    assert layer.both_db > 30


def test_integers_of_a_quantized_model_at_their_ends(tmp_path: Path) -> None:
    narrow = _quantized(0.25)
    found = _found(narrow, tmp_path, (IMAGES * 127).astype(np.int8))
    assert found.scheme is None and not found.values
    (row,) = found.saturation
    assert row.dtype == "int8"
    assert row.at_high > 0.05 and row.at_low > 0.05
    (row,) = _found(_quantized(1.0), tmp_path, (IMAGES * 127).astype(np.int8)).saturation
    assert row.at_high < 0.01 and row.at_low < 0.01


def _quantized(fraction: float) -> onnx.ModelProto:
    """The convolution quantized with a share of its outputs' range."""
    graph = compiled.prepared(_pointwise())
    feeds = [{"x": image[None]} for image in IMAGES]
    results = np.concatenate([Reference(graph).run(feed)["y"] for feed in feeds])
    ranges = {"x": (-1.0, 1.0), "y": (fraction * float(results.min()), fraction * float(results.max()))}
    return ir.to_proto(place_qdq(graph, ranges, Scheme(), "float"))


def test_data_that_does_not_fit(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=IMAGES[:, :, :, :4])
    onnx.save(_pointwise(), tmp_path / "m.onnx")
    with pytest.raises(InputError):
        api.check_ranges(api.load(tmp_path / "m.onnx"), DEVICE, data=tmp_path / "data.npz")
