"""What every search starts from: the graph after its passes, the data in three parts, the metric."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.details import PassRow
from microlith.core.errors import InputError, UnsupportedError
from microlith.data.dataset import Dataset
from microlith.data.load import load_data
from microlith.data.metrics import Metric, metric_named
from microlith.data.preprocess import Preprocessing
from microlith.data.split import Split
from microlith.graph.feeds import as_inputs
from microlith.graph.metadata import io_qparams
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.preprocess import fold_preprocessing
from microlith.graph.reference import Reference
from microlith.graph.state import caller_inputs, caller_outputs, read_states
from microlith.graph.values import held_type
from microlith.quant.types import QArray

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]
BATCH = 16


@dataclass(frozen=True)
class Parts:
    """How many samples each part of the data gets: a count, a fraction, or None for the default."""

    calibration: int | float | None = None
    selection: int | float | None = None
    report: int | float | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A search's starting point.

    Attributes:
        model: float graph after the passes; it takes the data as it is stored.
        passes: what the passes did.
        data: all samples.
        split: the three parts.
        metric: what accuracy means here.
        input_name: of the graph input that the samples go to.
    """

    model: ir.Model
    passes: tuple[PassRow, ...]
    data: Dataset
    split: Split
    metric: Metric
    input_name: str
    notes: tuple[str, ...] = field(default=())

    def feeds(self, indices: NDArray[np.intp], batch: int = BATCH) -> Iterator[dict[str, Array]]:
        """The stored samples at these positions, as the graph takes them."""
        return self.data.select(indices).feeds(self.input_name, batch=batch)

    def labels(self, indices: NDArray[np.intp]) -> Array | None:
        """Labels of the samples at these positions."""
        return self.data.select(indices).y


def optimize_graph(model: ir.Model) -> tuple[ir.Model, tuple[PassRow, ...]]:
    """A copy of the model after the graph passes, and what they did."""
    copy = ir.from_proto(ir.to_proto(model))
    return copy, run_passes(copy, DEFAULT_PASSES, measure=True)


def graph_after(model: ir.Model, pass_name: str) -> ir.Model:
    """A copy of the model after the first application of one pass, and of all that stand before it.

    Raises:
        InputError: no pass has this name.
    """
    names = [item.name for item in DEFAULT_PASSES]
    if pass_name not in names:
        near = difflib.get_close_matches(pass_name, names, 1)
        hint = f"Did you mean {near[0]}?" if near else f"The passes are {', '.join(names)}."
        raise InputError(f"there is no pass {pass_name!r}", hint=hint)
    copy: ir.Model = ir.from_proto(ir.to_proto(model))
    run_passes(copy, DEFAULT_PASSES[: names.index(pass_name) + 1], rounds=1)
    return copy


def prepare(
    model: ir.Model,
    source: object,
    *,
    preprocessing: Preprocessing | None = None,
    parts: Parts | None = None,
    metric: str | None = None,
    seed: int = 0,
) -> Prepared:
    """Load the data, fold its preprocessing into the graph and deal it into three parts.

    Args:
        model: as loaded; it is not changed.
        source: see :func:`microlith.data.load.load_data`.
        preprocessing: what stands between the stored data and the model's input.
        parts: sizes of the parts.
        metric: name, ``module.py:function``, or None for accuracy with labels and agreement without.
        seed: of the split.

    Raises:
        InputError: the data does not fit the model, or is too little.
        UnsupportedError: the model keeps state.
    """
    if read_states(model):
        raise UnsupportedError(
            "the model keeps state from run to run, and a search scores samples apart from each other",
            hint="Use microlith apply ptq, which takes the samples as the steps of one sequence, and then compile.",
        )
    data = load_data(source)
    chosen = metric_named(metric, labelled=data.y is not None)
    wanted = (parts or Parts()).__dict__
    split = Split.of(len(data), **wanted, seed=seed)
    prepared, input_name, first, notes = with_preprocessing(model, data, preprocessing)
    optimized, rows = optimize_graph(prepared)
    return Prepared(optimized, first + rows, data, split, chosen, input_name, split.notes + notes)


def with_preprocessing(
    model: ir.Model, data: Dataset, preprocessing: Preprocessing | None
) -> tuple[ir.Model, str, tuple[PassRow, ...], tuple[str, ...]]:
    """A copy of the model that takes the data as it is stored: the graph, its input's name, what was done, notes."""
    inputs = caller_inputs(model)
    if len(inputs) != 1:
        names = ", ".join(str(value.name) for value in inputs)
        raise InputError(
            f"the model has {len(inputs)} inputs ({names}), and data can be given for one only",
            hint="Make the other inputs constant, or use microlith compile, which needs no data.",
        )
    copy = ir.from_proto(ir.to_proto(model))
    value = caller_inputs(copy)[0]
    assert value.shape is not None and value.dtype is not None and value.name is not None, "loading types every value"
    name, dtype = value.name, held_type(value.dtype).name
    settled = data.check_against(tuple(value.shape.numpy()), dtype, preprocessing)
    if dtype != "float32":
        return copy, name, (), ()
    raw: Literal["uint8", "float"] = "uint8" if data.samples.dtype == np.uint8 else "float"
    plain = settled.is_identity and settled.layout != "nhwc"
    if raw == "float" and plain:
        return copy, name, (), ()
    row = fold_preprocessing(copy, name, settled, raw)
    return copy, name, (row,), _range_note(raw, settled, preprocessing)


def _range_note(raw: str, settled: Preprocessing, stated: Preprocessing | None) -> tuple[str, ...]:
    if raw != "uint8" or (stated is not None and not stated.is_identity) or not settled.is_identity:
        return ()
    return ("uint8 samples go into the model as 0 to 255; --input-range, --mean and --std say otherwise.",)


def evaluate(model: ir.Model, batches: Iterator[dict[str, Array]] | list[dict[str, Array]]) -> NDArray[np.float32]:
    """The first output of every sample, as real numbers of shape (N, ...).

    Args:
        model: float or quantized; float samples are quantized for an integer input.
        batches: inputs, batch first.
    """
    reference = Reference(model)
    name = str(caller_outputs(model)[0].name)
    qparams = io_qparams(model, name)
    found = []
    for feeds in batches:
        result = reference.run(as_inputs(model, feeds))[name]
        if qparams is not None:
            result = QArray(result, qparams).dequantize()  # type: ignore[arg-type]
        found.append(np.asarray(result, np.float32))
    return np.concatenate(found)
