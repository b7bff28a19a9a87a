"""What is fuzzed: a file through loading, passes, check, quantization and code generation; no C is compiled."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from microlith.api import check, load
from microlith.compile.c_text import identifier
from microlith.compile.package import Package
from microlith.compile.pipeline import compile_graph, refuse_float_nodes
from microlith.core import files
from microlith.core.errors import ModelError
from microlith.device.load import device
from microlith.device.profile import Device
from microlith.graph.passes.place_qdq import place_qdq, values_to_observe
from microlith.quant.schemes import Scheme
from microlith.search.prepare import optimize_graph

_NAMED = re.compile(
    r"""'.|"|model\.(onnx|tflite)|\b(operators?|subgraph|buffer) (number -?)?[A-Z\d]|\S \([A-Z]\w+\)"""
    r"""|\bthe (model|graph|file)\b|\b(in|out)puts?\b"""
)
"""A name in quotes, the file, the number of a part that has no name, or the model as a whole."""


@functools.cache
def host() -> Device:
    """The host without extensions, so that results do not depend on the machine."""
    return device("host").model_copy(update={"isas": ("portable",)})


def accepted(path: Path, out: Path) -> dict[str, Package]:
    """Everything that is done with a model, up to the C text, written to ``out`` like an artifact.

    Returns:
        The package by form: ``given`` and, for a float model that can be quantized, ``int8``.

    Raises:
        ModelError: the model is refused.
    """
    model = load(path)
    check(model, host())
    found = {}
    for form, graph in forms(model):
        try:
            found[form] = compile_graph(graph, host(), name=identifier(graph.graph.name or "model"))
        except ModelError as error:
            if form == "given":
                raise
            refusal(error)
    for form, package in found.items():
        files.write_tree(out / form, package.files)
    return found


def forms(model: ir.Model) -> Iterator[tuple[str, ir.Model]]:
    """The graphs that are compiled: ``given`` and, of a float model that can be quantized, ``int8``.

    Raises:
        ModelError: the model is refused.
    """
    yield "given", _optimized(model)
    if not any(node.op_type == "QuantizeLinear" for node in model.graph):
        try:
            quantized = _quantized(model)
        except ModelError as error:
            refusal(error)
        else:
            yield "int8", quantized


def refusal(error: ModelError) -> str:
    """The text of a refusal, which must be one that a user can read and act on.

    Raises:
        AssertionError: it says nothing or does not name what it is about.
    """
    text = str(error)
    assert len(error.what.split()) >= 3, f"a refusal that says nothing: {text!r}"
    assert error.node or _NAMED.search(error.what), f"a refusal that names nothing: {text!r}"
    return text


def _optimized(model: ir.Model) -> ir.Model:
    optimized, _ = optimize_graph(model)
    refuse_float_nodes(optimized, ())
    return optimized


def _quantized(model: ir.Model) -> ir.Model:
    optimized, _ = optimize_graph(model)
    ranges = dict.fromkeys(values_to_observe(optimized), (-1.0, 1.0))
    return place_qdq(optimized, ranges, Scheme(), "float")
