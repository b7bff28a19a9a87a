"""What was trained, written back into the graph that the module was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn

from microlith.core.errors import InputError, ModelError
from microlith.graph.values import constant, unique_name
from microlith.quant.types import as_held
from microlith.quant.types import held as held_name
from microlith.train.fake_quant import FakeQuant
from microlith.train.linear import Linear, linear_of, weights_of
from microlith.train.origin import ORIGIN, Origin, Scaled, Stored


def to_graph(module: nn.Module) -> ir.Model:
    """A copy of the model that a module was made from, with the module's parameters, statistics and scales.

    Names stay, nothing is exported, and what was not changed keeps its bytes. Weights behind a fake quantizer are
    stored as the integers that it rounds them to.

    Args:
        module: from :func:`microlith.train.to_module.to_module`, or a copy of it.

    Raises:
        InputError: this is no such module.
        ModelError: a parameter is NaN or infinite, or a shape differs from the graph's.
    """
    origin = getattr(module, "meta", {}).get(ORIGIN)
    if not isinstance(origin, Origin):
        raise InputError(
            f"got {type(module).__name__}, expected a module made by ml.to_torch",
            hint="A model of PyTorch itself is read by ml.load(module, example_input).",
        )
    model = origin.model()
    nodes = {str(node.name): node for node in model.graph}
    for scaled in origin.scaled:
        _write_scale(model, [nodes[name] for name in scaled.nodes], module, scaled)
    for stored in origin.stored:
        _write(model, nodes, module, origin, stored)
    return model


def _array(module: nn.Module, path: str) -> NDArray[np.float32]:
    holder, _, last = path.rpartition(".")
    found = np.asarray(getattr(module.get_submodule(holder), last).detach().cpu().numpy(), np.float32)
    if not np.isfinite(found).all():
        raise ModelError(f"{path} became NaN or infinite in training", hint="Train with a lower learning rate.")
    return found


def _write(model: ir.Model, nodes: Mapping[str, ir.Node], module: nn.Module, origin: Origin, stored: Stored) -> None:
    value = model.graph.initializers[stored.name]
    array = _array(module, stored.path)
    before = constant(value)
    assert before is not None, "an initializer of the model"
    if array.shape != before.shape:
        raise ModelError(f"{stored.path} has shape {array.shape}, expected {before.shape}")
    if stored.quantizer is None:
        if not np.array_equal(array, before):
            _set(value, array)
        return
    (reader,) = (item.nodes[0] for item in origin.scaled if item.path == stored.quantizer)
    held = as_held(before)
    if not np.array_equal(array, weights_of(nodes[reader]).dequantize(held)):
        integers = _integers(module, stored, weights_of(nodes[reader]), array)
        if not np.array_equal(integers, held):
            _set(value, integers.astype(before.dtype))


def _integers(module: nn.Module, stored: Stored, linear: Linear, real: NDArray[np.float32]) -> NDArray[np.generic]:
    """What the module's own quantizer rounds to, where it tells, else the nearest integers."""
    quantizer: Any = module.get_submodule(str(stored.quantizer))
    own = type(quantizer) is FakeQuant and (quantizer.low, quantizer.high) == (linear.low, linear.high)
    if own or not hasattr(quantizer, "integers"):
        return linear.quantize(real)  # in NumPy, the definition
    found = quantizer.integers(torch.from_numpy(real)).detach().cpu().numpy()
    low, high = linear.low, linear.high
    if not (np.isfinite(found).all() and (found == np.rint(found)).all() and low <= found.min() <= found.max() <= high):
        raise ModelError(f"{stored.quantizer} gave integers of {stored.name!r} outside of {low} to {high}")
    return np.asarray(found.astype(held_name(linear.dtype)))


def _set(value: ir.Value, array: NDArray[np.generic]) -> None:
    value.const_value = ir.tensor(np.asarray(array, order="C"), dtype=value.dtype, name=value.name)


def _write_scale(model: ir.Model, nodes: list[ir.Node], module: nn.Module, scaled: Scaled) -> None:
    """Scale and zero point of a quantizer that learned them."""
    quantizer: Any = module.get_submodule(scaled.path)
    if not (hasattr(quantizer, "scale") and hasattr(quantizer, "zero_point")) or not nodes:
        return
    linear = linear_of(nodes[0])
    scale, zero = (_array(module, f"{scaled.path}.{part}") for part in ("scale", "zero_point"))
    learned = Linear(scale, np.rint(zero).astype(np.int32), linear.dtype, linear.axis, linear.block)
    if learned.same(linear):
        return
    if not (scale > 0).all():
        raise ModelError(f"a scale of {scaled.path} is {scale.min():g}, expected positive numbers")
    for index, array in ((1, learned.scale), (2, learned.zero_point)):
        _replace(model, nodes, index, array)


def _replace(model: ir.Model, nodes: list[ir.Node], index: int, array: NDArray[np.generic]) -> None:
    """Give nodes another constant; one that other nodes read as well stays for these."""
    value = nodes[0].inputs[index] if len(nodes[0].inputs) > index else None
    before = constant(value)
    if value is None or before is None:
        if array.any():
            raise ModelError(f"{nodes[0].name!r} has no zero point, and one was learned")
        return
    shaped = array.reshape(before.shape)
    if np.array_equal(shaped, before):
        return
    if {use.node for use in value.uses()} == set(nodes):
        _set(value, shaped.astype(before.dtype))
        return
    name = unique_name(model.graph, str(value.name))
    tensor = ir.tensor(np.asarray(shaped.astype(before.dtype), order="C"), dtype=value.dtype, name=name)
    new = ir.Value(name=name, shape=value.shape, type=value.type, const_value=tensor)
    model.graph.register_initializer(new)
    for node in nodes:
        node.replace_input_with(index, new)
