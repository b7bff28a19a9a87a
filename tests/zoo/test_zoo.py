"""Every network of the zoo: its size, from torch into the graph, through the passes, through the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import compiled
import microlith as ml
from microlith.graph.export import export_model
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from oracles import onnxruntime_run
from zoo_models import SMALL, small_module

pytestmark = pytest.mark.train

NOT_COMPILABLE: Mapping[str, frozenset[str]] = {}
"""Operators without a kernel, by network. This only gets shorter, and every other network must compile."""

TRANSPOSES: Mapping[str, int] = {"vit": 1 + 2 * 3, "tiny_yolo": 2}
"""Transpose nodes that stay: patches to tokens, heads apart, keys and heads together again in each of two blocks; the
values of a box together, at each of two scales."""

TOLERANCE = 1e-4
"""Of the largest magnitude of the output."""

# Trainable parameters, and those together with the means and variances of batch normalizations.
# - mobilenet_v1: the figures of Keras' application of that name ("Trainable params", "Total params" of its summary);
#   the paper's Table 8 says 4.2 million.
# - mobilenet_v2, mobilenet_v3_small, squeezenet_1_1, efficientnet_b0: num_params of torchvision's weights of that name;
#   the papers say 3.4, 2.5, 1.2 and 5.3 million.
# - efficientnet_lite0: 4.652 million in the table of the authors' release.
# - resnet8, ds_cnn: total parameters of MLPerf Tiny's Keras models.
# - tiny_yolo: values in the authors' weight file of 35,434,956 bytes, whose first 20 are a header.
PUBLISHED = {
    "mobilenet_v1": (4_231_976, 4_253_864),
    "mobilenet_v2": (3_504_872, None),
    "mobilenet_v3_small": (2_542_856, None),
    "squeezenet_1_1": (1_235_496, None),
    "efficientnet_b0": (5_288_548, None),
    "efficientnet_lite0": (4_652_008, None),
    "resnet8": (None, 78_666),
    "ds_cnn": (None, 24_908),
    "tiny_yolo": (None, (35_434_956 - 20) // 4),
}


def _parameters(module: Any) -> int:
    return sum(item.numel() for item in module.parameters())


def _statistics(module: Any) -> int:
    return sum(item.numel() for name, item in module.named_buffers() if "running_" in name)


@dataclass(frozen=True)
class Loaded:
    """A small network as it came from torch, after the passes, and what torch makes of one input."""

    graph: ir.Model
    optimized: ir.Model
    feeds: dict[str, np.ndarray]
    wanted: np.ndarray


@pytest.fixture(scope="module")
def loaded() -> dict[str, Loaded]:
    """All of them, exported once."""
    import torch

    found = {}
    for name, small in SMALL.items():
        module = small_module(name)
        x = torch.from_numpy(np.random.default_rng(5).uniform(-1, 1, small.input_shape).astype(np.float32))
        graph = ml.load(module, x)
        optimized = ir.from_proto(ir.to_proto(graph))
        run_passes(optimized, DEFAULT_PASSES, verify=True)
        with torch.no_grad():
            wanted = module(x).numpy()
        found[name] = Loaded(graph, optimized, {str(graph.graph.inputs[0].name): x.numpy()}, wanted)
    return found


@pytest.fixture(scope="module")
def library(loaded: dict[str, Loaded], tmp_path_factory: pytest.TempPathFactory) -> compiled.Library:
    """Those that can be compiled, for this machine, with checks for undefined behaviour."""
    graphs = {name: item.optimized for name, item in loaded.items() if name not in NOT_COMPILABLE}
    return compiled.Library(Path(tmp_path_factory.mktemp("zoo")), graphs, ml.device("host"))


def _near(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.ptp(wanted) > 1e-3 * np.abs(wanted).max(), "an output that hardly varies would prove nothing"
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_the_zoo_is_what_is_tested_here():
    from microlith import zoo

    assert [entry.name for entry in zoo.MODELS] == list(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_parameter_counts_are_the_published_ones(name):
    from microlith import zoo

    (entry,) = (item for item in zoo.MODELS if item.name == name)
    if name not in PUBLISHED:
        assert name in ("lstm_kws", "vit", "unet"), "no paper states the size of these configurations"
        return
    module = entry.build()
    trained, total = PUBLISHED[name]
    assert trained in (None, _parameters(module))
    assert total in (None, _parameters(module) + _statistics(module))


def test_the_transformer_at_a_published_size():
    """DeiT-Ti of Touvron et al., arXiv:2012.12877, Table 1, has 5 million; its authors' weights hold 5,717,416."""
    from microlith.zoo.vit import VisionTransformer

    assert _parameters(VisionTransformer(224, 16, width=192, depth=12, heads=3, classes=1000)) == 5_717_416


def test_the_u_net_of_the_paper():
    """Ronneberger et al. state no count; this sums the arrows of their Figure 1, each with its biases."""
    from microlith.zoo.unet import UNet

    widths = [64, 128, 256, 512, 1024]
    down = sum(9 * a * b + b + 9 * b * b + b for a, b in zip([1, *widths], widths, strict=False))
    up = sum(4 * 2 * b * b + b + 9 * 2 * b * b + b + 9 * b * b + b for b in widths[:-1])
    assert _parameters(UNet(64, classes=2, levels=4, resized=0)) == down + up + 64 * 2 + 2


def test_the_lstm_has_four_gates_a_layer():
    """Hochreiter and Schmidhuber with forget gates: four matrices of inputs and states, torch with two biases each."""
    from microlith.zoo.lstm_kws import LSTMKeywordSpotter

    gates = sum(4 * 64 * (inputs + 64 + 2) for inputs in (10, 64))
    assert _parameters(LSTMKeywordSpotter()) == gates + 64 * 12 + 12


def test_weights_come_from_the_seed_and_leave_torch_as_it_was():
    import torch

    from microlith import zoo

    entry = zoo.MODELS[6]
    before = torch.random.get_rng_state()
    one, two, other = entry.seeded(3), entry.seeded(3), entry.seeded(4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.classify.weight, two.classify.weight)
    assert not torch.equal(one.classify.weight, other.classify.weight)


@pytest.mark.parametrize("name", SMALL)
def test_the_graph_computes_what_torch_does(loaded, name):
    item = loaded[name]
    for graph in (item.graph, item.optimized):
        (found,) = onnxruntime_run(ir.to_proto(export_model(graph)), item.feeds)
        _near(found, item.wanted)


@pytest.mark.parametrize("name", SMALL)
def test_layers_keep_their_names(loaded, name):
    modules = dict(small_module(name).named_modules())
    layers = [node.name.partition("/")[0] for node in loaded[name].optimized.graph if node.op_type == "Conv"]
    layers += [node.name.partition("/")[0] for node in loaded[name].optimized.graph if node.op_type == "LSTM"]
    assert layers
    for layer in layers:
        assert layer in modules and type(modules[layer]).__name__ in ("Conv2d", "LSTM")


@pytest.mark.parametrize("name", SMALL)
def test_no_more_transposes_stay_than_move_data_for_a_reason(loaded, name):
    found = [node.name for node in loaded[name].optimized.graph if node.op_type == "Transpose"]
    assert len(found) <= TRANSPOSES.get(name, 0), found


@pytest.mark.parametrize("name", SMALL)
def test_what_cannot_be_compiled_is_listed(loaded, name):
    form = ml.check(loaded[name].graph, ml.device("host")).forms[0]
    assert {text.split()[0] for text in form.obstacles} == NOT_COMPILABLE.get(name, frozenset())


@pytest.mark.parametrize("name", [name for name in SMALL if name not in NOT_COMPILABLE])
def test_compiled_computes_what_torch_does(library, loaded, name):
    item = loaded[name]
    (found,) = library.run(name, item.feeds)
    _near(found, item.wanted)
