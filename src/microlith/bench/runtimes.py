"""One model in every runtime: how good it is there, how large, and where its numbers differ from the specification."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.details import Figures, RuntimeRow
from microlith.core.errors import InputError, MicrolithError, ToolchainError, UnsupportedError
from microlith.core.random import generator
from microlith.core.statistics import Interval
from microlith.data.load import load_data
from microlith.data.metrics import Metric, compare, metric_named
from microlith.data.preprocess import Preprocessing
from microlith.device.elf import sizes
from microlith.device.emulator import Emulator
from microlith.device.host import HostRunner
from microlith.graph.metadata import io_qparams
from microlith.graph.reference import Reference
from microlith.graph.state import read_states
from microlith.quant.types import QArray
from microlith.search.artifact import Progress, Tools, no_progress
from microlith.search.existing import Opened, for_this_machine
from microlith.search.prepare import BATCH, evaluate, optimize_graph, with_preprocessing
from microlith.verify.agreement import Feeds, Runner, differences, from_bytes, to_bytes
from microlith.verify.runtimes import RUNTIMES, Runtime
from microlith.verify.workbench import Workbench

Array = NDArray[np.generic]
Outputs = list[Array]
Start = AbstractContextManager[Runtime]


@dataclass(frozen=True)
class Measure:
    """What outputs are judged by.

    Attributes:
        metric: None where there are neither labels nor an original model.
        labels: of the samples; None without.
        original: first outputs of the original model for the samples, real numbers; None where it is not known.
        seed: of intervals that are drawn.
    """

    metric: Metric | None = None
    labels: Array | None = None
    original: Array | None = None
    seed: int = 0


@dataclass(frozen=True)
class Beside:
    """What a comparison of runtimes is judged by.

    Attributes:
        original: the model before it was quantized, as loaded; agreement is with it.
        preprocessing: what stands between the data and the original model's input.
        metric: a name, or ``module.py:function``; accuracy with labels, agreement without, by default.
    """

    original: ir.Model | None = None
    preprocessing: Preprocessing | None = None
    metric: str | None = None


def measure_of(data: object | None, count: int, beside: Beside, seed: int) -> Measure:
    """How the first ``count`` samples of some data are judged.

    Raises:
        InputError: something to judge by is given without data, or does not fit it.
    """
    if data is None:
        if beside.original is not None or beside.metric is not None:
            raise InputError("outputs for random inputs are not judged", hint="Give data: --data.")
        return Measure()
    dataset = load_data(data)
    chosen = dataset.select(np.arange(count))
    original = None
    if beside.original is not None:
        graph, name, _, _ = with_preprocessing(beside.original, chosen, beside.preprocessing)
        optimized, _ = optimize_graph(graph)
        original = evaluate(optimized, chosen.feeds(name, batch=BATCH))
    if original is None and (beside.metric == "agreement" or (beside.metric is None and chosen.y is None)):
        return Measure(seed=seed)
    return Measure(metric_named(beside.metric, labelled=chosen.y is not None), chosen.y, original, seed)


def compare_runtimes(
    opened: Opened,
    samples: Sequence[Feeds],
    measure: Measure,
    *,
    emulated_samples: int,
    compiler: str | None = None,
    progress: Progress = no_progress,
) -> tuple[RuntimeRow, ...]:
    """The same model by its specification, by C, and in other runtimes.

    Args:
        opened: the artifact.
        samples: inputs, batch 1.
        measure: how outputs are judged.
        emulated_samples: how many of the samples run on the emulated device.
        compiler: see :func:`microlith.device.toolchain.find_toolchain`.
        progress: called with the runtime, samples done and their number.

    Raises:
        InputError: the model keeps state.
    """
    if read_states(opened.model):
        raise InputError("a model that keeps state runs here only", hint="Compare it by: microlith verify.")
    bench = _Bench(opened.model, samples, measure, progress)
    rows = [*bench.first_rows()]
    device = opened.manifest.device
    rows.append(bench.row("C, this machine", partial(_on_this_machine, opened, compiler)))
    if not device.is_host:
        rows.append(bench.row(f"C, emulated {device.name}", partial(_emulated, opened, compiler), emulated_samples))
    rows += [bench.row(name, partial(_opened, start, opened.model)) for name, start in RUNTIMES]
    return tuple(rows)


def _opened(start: Callable[[ir.Model], Runtime], model: ir.Model) -> Start:
    return nullcontext(start(model))


class _Bench:
    """Runs the samples and fills rows."""

    def __init__(self, model: ir.Model, samples: Sequence[Feeds], measure: Measure, progress: Progress) -> None:
        self.model, self.samples, self.measure, self.progress = model, samples, measure, progress
        reference = Reference(model)
        self.wanted: list[Outputs] = []
        for index, feeds in enumerate(samples):
            self.wanted.append(list(reference.run(feeds).values()))
            progress("specification", index + 1, len(samples))

    def first_rows(self) -> Iterator[RuntimeRow]:
        """The original model, where its outputs are known, and the specification."""
        original = self.measure.original
        if original is not None:
            metric, agreement = self._judged(original)
            yield RuntimeRow(runtime="original model", samples=len(original), metric=metric, agreement=agreement)
        yield self._filled("specification", self.wanted)

    def row(self, name: str, start: Callable[[], Start], most: int | None = None) -> RuntimeRow:
        """A row of a runtime; one that is not there, or cannot take the model, is a row that says so."""
        count = len(self.samples) if most is None else min(most, len(self.samples))
        try:
            with start() as runtime:
                outputs = []
                for index, feeds in enumerate(self.samples[:count]):
                    outputs.append(runtime.run(feeds))
                    self.progress(name, index + 1, count)
        except (ToolchainError, UnsupportedError) as error:
            return RuntimeRow(runtime=name, missing=_reason(error))
        found = self._filled(name, outputs)
        said = {"version": runtime.version, "size_bytes": runtime.size_bytes, "size_of": runtime.size_of}
        return found.model_copy(update=said | {"remarks": runtime.remarks})

    def _filled(self, name: str, outputs: list[Outputs]) -> RuntimeRow:
        elements, differing, worst = 0, 0, 0.0
        for found, wanted in zip(outputs, self.wanted, strict=False):
            for got, expected in zip(found, wanted, strict=True):
                apart = differences(got.reshape(expected.shape), expected)
                elements += apart.size
                differing += int((apart > 0).sum())
                worst = max(worst, float(apart.max(initial=0)))
        metric, agreement = self._judged(np.concatenate([self._real(item[0]) for item in outputs]))
        return RuntimeRow(
            runtime=name,
            samples=len(outputs),
            elements=elements,
            differing=differing,
            worst=worst,
            metric=metric,
            agreement=agreement,
        )

    def _real(self, array: Array) -> Array:
        value = self.model.graph.outputs[0]
        assert value.shape is not None, "loading gives every value a shape"
        array = array.reshape(tuple(value.shape.numpy()))
        qparams = io_qparams(self.model, str(value.name))
        return array if qparams is None else QArray(array, qparams).dequantize()  # type: ignore[arg-type]

    def _judged(self, outputs: Array) -> tuple[Figures | None, Figures | None]:
        """The figure of merit of the outputs of the first samples, and their agreement with the original model's."""
        measure, count = self.measure, len(outputs)
        if measure.metric is None:
            return None, None
        original = outputs if measure.original is None else measure.original[:count].reshape(outputs.shape)
        labels = None if measure.labels is None else measure.labels[:count]
        found = compare(measure.metric, original, outputs, labels, generator(measure.seed, "intervals"))
        agreement = None if measure.original is None else found.agreement
        return _figures(found.value), None if agreement is None else _figures(agreement)


def _figures(item: Interval) -> Figures:
    return item.value, item.low, item.high


def _reason(error: MicrolithError) -> str:
    return error.what if error.hint is None else f"{error.what}. {error.hint}"


@contextmanager
def _on_this_machine(opened: Opened, compiler: str | None) -> Iterator[Runtime]:
    """The C code of the graph for this machine, as a shared library."""
    tools = Tools.find(opened.manifest.device, compiler, required=opened.manifest.device.is_host)
    files, manifest, toolchain = for_this_machine(opened, tools)
    with Workbench(files, manifest, toolchain) as bench:
        library = bench.shared_library()
        with HostRunner(library) as runner:
            version = f"{toolchain.name} {toolchain.version}"
            yield _compiled(opened, runner, version, library.stat().st_size, "shared library")


@contextmanager
def _emulated(opened: Opened, compiler: str | None) -> Iterator[Runtime]:
    """The artifact's own code on its device, emulated."""
    tools = Tools.find(opened.manifest.device, compiler, required=True)
    assert tools.target is not None, "it was required"
    with Workbench(opened.files, opened.manifest, tools.target) as bench:
        added = sizes(bench.minimal()).flash - sizes(bench.empty()).flash
        with Emulator(bench.selftest(), tools.device) as emulator:
            version = f"{tools.target.name} {tools.target.version}"
            yield _compiled(opened, emulator, version, added, "flash over an empty application")


def _compiled(opened: Opened, runner: Runner, version: str, size: int, of: str) -> Runtime:
    entry = opened.manifest.entries[0]
    order = [str(value.name) for value in opened.model.graph.outputs]

    def run(feeds: Feeds) -> Outputs:
        contents = runner.infer(to_bytes(entry, feeds))
        found = {item.name: from_bytes(item, content) for item, content in zip(entry.outputs, contents, strict=True)}
        return [found[name] for name in order]

    return Runtime(version, size, of, run)
