"""BatchNormalization put back behind layers that it was folded into, with statistics collected from data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.values import Names, constant, new_value, sole_consumer
from microlith.train.samples import Samples

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})
_EPSILON = 1e-5
_AT_ONCE = 128


@dataclass(eq=False)
class _Moments:
    """Sums over everything but the channels, which are axis 1."""

    count: int = 0
    total: NDArray[np.float64] | float = 0.0
    squares: NDArray[np.float64] | float = 0.0

    def add(self, found: Tensor) -> None:
        values = found.detach().double()
        axes = (0, *range(2, values.dim()))
        self.count += values.numel() // values.shape[1]
        self.total = self.total + values.sum(axes).numpy()
        self.squares = self.squares + values.square().sum(axes).numpy()

    @property
    def mean(self) -> NDArray[np.float64]:
        return np.asarray(self.total / self.count)

    @property
    def variance(self) -> NDArray[np.float64]:
        return np.maximum(np.asarray(self.squares / self.count) - self.mean**2, 0.0)


def layers_without_batch_norm(model: ir.Model, ignore: Collection[str] = ()) -> tuple[ir.Node, ...]:
    """Layers with float weights whose results are no outputs and go into no BatchNormalization."""
    found = []
    for node in model.graph:
        result = node.outputs[0]
        if node.op_type not in _LAYERS or node.name in ignore or constant(node.inputs[1]) is None:
            continue
        reader = sole_consumer(result)
        if not result.is_graph_output() and (reader is None or reader.op_type != "BatchNormalization"):
            found.append(node)
    return tuple(found)


def with_batch_norm(
    model: ir.Model,
    module: nn.Module,
    feeds: Iterable[Mapping[str, NDArray[np.generic]]],
    ignore: Collection[str] = (),
) -> ir.Model:
    """A copy of a float model with a BatchNormalization behind every layer that has none; it computes the same.

    Mean and variance are those of the data; scale and offset undo what they do, up to rounding. Training then moves
    statistics and weights apart, as in the network before folding, and the graph passes fold them again.

    Args:
        model: float; layers with quantized weights are left alone.
        module: of the model, to run the data through.
        feeds: batches by input name.
        ignore: names of layers to leave alone.

    Raises:
        InputError: there is no data.
        UnsupportedError: there is no such layer.
    """
    copy: ir.Model = ir.from_proto(ir.to_proto(model))
    layers = layers_without_batch_norm(copy, ignore)
    if not layers:
        raise UnsupportedError("no layer with float weights lacks a BatchNormalization")
    moments = _collect(model, module, {str(node.name) for node in layers}, feeds)
    names = Names(copy.graph)
    for node in layers:
        _insert(copy, names, node, moments[str(node.name)])
    return copy


def _collect(
    model: ir.Model,
    module: nn.Module,
    wanted: Collection[str],
    feeds: Iterable[Mapping[str, NDArray[np.generic]]],
) -> dict[str, _Moments]:
    assert isinstance(module, torch.fx.GraphModule), "generated from the model"
    found = {name: _Moments() for name in wanted}
    hooks = []
    for node in module.graph.nodes:
        name = node.meta.get("onnx_node")
        if node.op == "call_module" and name in found:
            layer = module.get_submodule(node.target)
            # Each hook has its own sums.
            hooks.append(layer.register_forward_hook(lambda _, given, result, sums=found[name]: sums.add(result)))
    samples = Samples.of_feeds(model, feeds)
    try:
        module.eval()
        with torch.no_grad():
            for rows in torch.arange(len(samples)).split(_AT_ONCE):
                module(*samples.at(rows)[0])
    finally:
        for hook in hooks:
            hook.remove()
    if not all(item.count > 1 for item in found.values()):
        raise InputError("statistics of BatchNormalization need more than one value a channel")
    return found


def _insert(model: ir.Model, names: Names, node: ir.Node, moments: _Moments) -> None:
    result = node.outputs[0]
    variance = moments.variance.astype(np.float32)
    scale = np.sqrt(variance.astype(np.float64) + _EPSILON).astype(np.float32)
    mean = moments.mean.astype(np.float32)
    base = f"{result.name}_norm"
    constants = [
        names.initializer(f"{base}.{part}", array)
        for part, array in (("scale", scale), ("bias", mean), ("mean", mean.copy()), ("variance", variance))
    ]
    value = new_value(names.value(base), result)
    result.replace_all_uses_with(value)
    norm = ir.Node(
        "",
        "BatchNormalization",
        [result, *constants],
        attributes=[ir.AttrFloat32("epsilon", _EPSILON)],
        outputs=[value],
        name=names.node(base),
    )
    model.graph.insert_after(node, norm)
