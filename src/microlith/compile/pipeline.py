"""One call from a graph to the files of an artifact."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.compile.c_text import check_identifier
from microlith.compile.choose import Goal
from microlith.compile.ecosystems import package_kinds
from microlith.compile.emit_selftest import GOLDEN_STEPS, Vector
from microlith.compile.lower import lower
from microlith.compile.manifest import Compiler
from microlith.compile.package import Package, package
from microlith.compile.plan import plan
from microlith.core.errors import ModelError, UnsupportedError
from microlith.core.random import generator
from microlith.device.profile import Device
from microlith.graph.export import export_model
from microlith.graph.save import model_bytes
from microlith.graph.state import caller_inputs, caller_outputs
from microlith.graph.stepper import Stepper
from microlith.graph.units import units
from microlith.graph.values import held_type, integer_limits, static_shape

Feeds = Mapping[str, NDArray[np.generic]]

GOLDEN_VECTORS = 2
# Elements of a vector up to which there are that many: they stand in a header, as text.
_GOLDEN_MOST = 1 << 20
FLOAT_BOUND = 1e-4
"""Largest difference of a float32 output from the NumPy reference, relative to the largest magnitude of that output.

Sums are formed in another order, and exp and tanh are polynomials.
"""


def compile_graph(
    model: ir.Model,
    device: Device,
    *,
    name: str,
    compiler: Compiler | None = None,
    samples: Sequence[Feeds] = (),
    seed: int = 0,
    goal: Goal = Goal(),  # noqa: B008 - frozen
    packages: Sequence[str] = ("c",),
) -> Package:
    """Lower, plan, emit and package a graph; it must have been through the graph passes.

    Args:
        model: float or quantized.
        device: what for.
        name: prefix of every C symbol.
        compiler: what the figures will be obtained with, for the manifest.
        samples: inputs for the golden vectors (batch 1); random ones where none are given.
        seed: of the random inputs.
        goal: what kernels are chosen by.
        packages: build systems to package the library for, beside plain C.

    Raises:
        InputError: there is no such package, or not for this device.
        UnsupportedError: a node cannot be compiled, or an integer model has ops left in float that nobody asked for.
        ModelError: ``name`` cannot prefix C symbols.
    """
    check_identifier(name)
    kinds = package_kinds(packages, device)
    planned = plan(lower(model, name), device, goal)
    count = GOLDEN_STEPS if planned.program.states else GOLDEN_VECTORS if _is_small(model) else 1
    chosen = list(samples[:count])
    if len(chosen) < count and (planned.program.states or not chosen):
        chosen += random_feeds(model, count - len(chosen), seed)
    if planned.program.states:
        chosen += chosen[::-1]
    vectors, tolerance = golden_vectors(model, chosen)
    title = f"{name}, compiled for {device.title} by Microlith"
    content = model_bytes(export_model(model))
    return package(
        planned, device, content, vectors, title=title, tolerance=tolerance, compiler=compiler, packages=kinds
    )


def _is_small(model: ir.Model) -> bool:
    """Whether inputs and outputs leave room for more than one golden vector: each stands in a header, as text."""
    return sum(math.prod(static_shape(value)) for value in (*model.graph.inputs, *model.graph.outputs)) <= _GOLDEN_MOST


def random_feeds(model: ir.Model, count: int, seed: int) -> list[Feeds]:
    """Inputs drawn evenly over an integer type, or from the standard normal distribution for floats."""
    rng = generator(seed, "inputs")
    draw: Callable[[ir.Value], NDArray[np.generic]] = lambda value: _draw(value, rng)  # noqa: E731
    return [{value.name or "": draw(value) for value in caller_inputs(model)} for _ in range(count)]


def _draw(value: ir.Value, rng: np.random.Generator) -> NDArray[np.generic]:
    assert value.shape is not None and value.dtype is not None, "loading gives every value a type"
    shape, dtype = tuple(value.shape.numpy()), held_type(value.dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(*integer_limits(value.dtype), shape, dtype, endpoint=True)
    return rng.standard_normal(shape).astype(dtype)


def golden_vectors(model: ir.Model, samples: Sequence[Feeds]) -> tuple[list[Vector], float]:
    """Inputs with the outputs of the NumPy reference, and the absolute tolerance for float outputs.

    The samples of a model with state are sequences of ``GOLDEN_STEPS``.

    Raises:
        ModelError: an output is not finite.
    """
    stepper = Stepper(model)
    inputs = [value.name or "" for value in caller_inputs(model)]
    outputs = [value.name or "" for value in caller_outputs(model)]
    vectors: list[Vector] = []
    largest = 0.0
    for index, feeds in enumerate(samples):
        if index % GOLDEN_STEPS == 0:
            stepper.reset()
        found = stepper.step(feeds)
        results = [found[name] for name in outputs]
        floats = [np.abs(item[np.isfinite(item)]) for item in results if item.dtype == np.float32]
        largest = max([largest, *(float(item.max(initial=0)) for item in floats)])
        vectors.append(([feeds[name] for name in inputs], results))
    return vectors, FLOAT_BOUND * max(largest, 1e-6)


def _check_finite(outputs: Feeds) -> None:
    for name, array in outputs.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ModelError(
                f"the output {name!r} comes out as infinity or NaN, expected finite numbers",
                hint="Weights, or the inputs that are given, are too large for float32: look for the layer that grows.",
            )


def float_nodes(model: ir.Model) -> tuple[str, ...]:
    """Names of the units of a quantized graph that are computed in float; empty for a float graph."""
    found = units(model)
    if not any(unit.kind in ("integer", "quantize") for unit in found):
        return ()
    return tuple(f"{unit.node.name} ({unit.node.op_type})" for unit in found if unit.kind == "float")


def refuse_float_nodes(model: ir.Model, allowed: Sequence[str]) -> None:
    """Refuse a quantized graph with float ops that the user did not ask for.

    Args:
        model: quantized.
        allowed: names of nodes or op types that may stay in float.

    Raises:
        UnsupportedError: others are left in float.
    """
    left = [
        f"{unit.node.name} ({unit.node.op_type})"
        for unit in units(model)
        if unit.kind == "float" and unit.node.name not in allowed and unit.node.op_type not in allowed
    ]
    if left and float_nodes(model):
        raise UnsupportedError(
            f"{len(left)} ops of the quantized model are computed in float: {', '.join(left[:5])}",
            hint="Quantize them, or allow it by naming them: --float-ops.",
        )
