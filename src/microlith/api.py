"""What users call, in Python and through the command line: load, check, compile, optimize, apply, infer, verify."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.bench import layers
from microlith.bench.layers import Bench
from microlith.bench.runtimes import Beside, compare_runtimes, measure_of
from microlith.compile.c_text import identifier
from microlith.compile.choose import Goal, Opt
from microlith.compile.ecosystems import package_kinds
from microlith.compile.fusions import fusion_rows
from microlith.compile.manifest import Manifest
from microlith.compile.pipeline import random_feeds, refuse_float_nodes
from microlith.core import files
from microlith.core.budget import Budget, Verdict, judge, parse_budget
from microlith.core.details import CandidateRow, RunDetails, VerdictRow
from microlith.core.errors import BudgetUnmetError, InputError, UnsupportedError
from microlith.core.evidence import EvidenceSet
from microlith.core.random import generator
from microlith.core.units import format_bytes
from microlith.data.load import load_data
from microlith.data.preprocess import Preprocessing
from microlith.device.load import device, devices
from microlith.device.profile import Device
from microlith.graph.export import export_model
from microlith.graph.feeds import as_inputs
from microlith.graph.load import check_states, load_model
from microlith.graph.metadata import io_qparams
from microlith.graph.model_file import is_tflite, save_model
from microlith.graph.state import State, caller_inputs, set_states
from microlith.graph.values import held_type
from microlith.quant.schemes import Scheme
from microlith.report.html import render, render_comparison
from microlith.report.load import Run, load_run
from microlith.report.ranges import render_page
from microlith.search import artifact as built
from microlith.search import optimize as searched
from microlith.search import ranges
from microlith.search import tune as tuning
from microlith.search.artifact import Progress, Tools, no_progress, require_passed
from microlith.search.check import Check, check
from microlith.search.existing import Opened, infer, verify, with_board_log
from microlith.search.optimize import Options
from microlith.search.prepare import BATCH, Parts, graph_after, optimize_graph, prepare, with_preprocessing
from microlith.search.ranges import RangeCheck
from microlith.search.verdicts import budget_needs_toolchain, unmet, with_verdicts
from microlith.techniques import technique
from microlith.techniques.base import Context, Technique
from microlith.techniques.ptq import PTQ, ptq_search_space
from microlith.techniques.recipe import Recipe, run_recipe
from microlith.train.require import require_torch

Array = NDArray[np.generic]
States = Mapping[str, "str | State"]

__all__ = [
    "Artifact",
    "Budget",
    "Opened",
    "Options",
    "Parts",
    "Preprocessing",
    "Recipe",
    "Result",
    "State",
    "PTQ",
    "apply",
    "artifact_samples",
    "Beside",
    "bench",
    "bench_runtimes",
    "check",
    "check_ranges",
    "compile",
    "device",
    "devices",
    "dry_run",
    "export_model",
    "graph_after",
    "infer",
    "is_tflite",
    "load",
    "optimize",
    "package_kinds",
    "prepare",
    "require_fit",
    "require_passed",
    "save_model",
    "take_board_log",
    "technique",
    "to_graph",
    "to_torch",
    "unmet",
    "verify",
    "with_board_log",
    "with_state",
    "write_ranges",
    "write_report",
]


def load(
    source: object,
    example_input: object = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    state: States | None = None,
) -> ir.Model:
    """The graph of a model file or of a PyTorch module, checked.

    Args:
        source: path of an ``.onnx`` or ``.tflite`` file, which is treated as untrusted; path of a ``.pt2`` file, which
            is trusted like a Python module; or a ``torch.nn.Module``, taken in evaluation mode.
        example_input: for a module: a tensor or an array, or a sequence of them. Only shapes and types matter.
        shapes: by input name, for dynamic dimensions.
        state: see :func:`with_state`; what the file itself says by default.

    Raises:
        InputError: the file cannot be read, or a shape that is given does not fit.
        ModelError: this cannot be read as a model, a shape is missing, or a state does not fit.
        UnsupportedError: it is a model, but one that this version cannot take.
    """
    model = _loaded(source, example_input, shapes)
    return model if state is None else with_state(model, state)


def with_state(model: ir.Model, state: States) -> ir.Model:
    """A copy of a model that keeps state: inputs that are outputs of the run before.

    Args:
        model: with an input and an output of one type and shape for each state.
        state: by the name of the input, the name of the output; or a :class:`State` with an initial value, which is
            zeros otherwise. Takes the place of what the model itself says.

    Raises:
        InputError: a state does not fit the model, or leaves it without an input or output.
    """
    copy: ir.Model = ir.from_proto(ir.to_proto(model))
    set_states(copy, [item if isinstance(item, State) else State(name, item) for name, item in state.items()])
    check_states(copy)
    return copy


def to_torch(
    model: ir.Model,
    *,
    original: ir.Model | None = None,
    float_weights: Mapping[str, Array] | None = None,
    real_io: bool = True,
    batch_norm: Literal["train", "frozen", "inserted"] = "train",
    statistics: NDArray[np.generic] | None = None,
    dropout: Mapping[str, float] | None = None,
    exact: bool = False,
) -> Any:
    """The graph as a module of PyTorch, for a training loop of one's own; :func:`to_graph` brings it back.

    A ``torch.fx.GraphModule`` in evaluation mode whose parameters are the initializers, under their names; see
    :func:`microlith.train.to_module.to_module`.

    Args:
        model: float or quantized.
        original: the float model that was quantized, to start training at its weights.
        float_weights: by the name of an initializer of integers, floats to start its training at.
        real_io: whether integer inputs and outputs are given as the real numbers that they stand for.
        batch_norm: whether BatchNormalization normalizes by the batch in training mode, or never, or is put behind
            layers that it was folded into before.
        statistics: for ``inserted``, samples of the model's one input.
        dropout: by the name of a value, the share of its elements that is set to 0 in training mode.
        exact: compute the integers of the device bit for bit instead, from and to the graph's own types, without
            gradients; see :mod:`microlith.train.exact`.

    Raises:
        InputError: torch is missing, or ``exact`` comes with settings of training.
        UnsupportedError: an op cannot be trained through.
    """
    require_torch()
    from microlith.train.exact import to_exact
    from microlith.train.to_module import to_module

    if exact:
        if (
            original is not None
            or float_weights
            or not real_io
            or batch_norm != "train"
            or statistics is not None
            or dropout
        ):
            raise InputError("the exact mode has no use for settings of training")
        return to_exact(model)

    feeds = None
    if statistics is not None:
        names = [str(value.name) for value in caller_inputs(model)]
        if len(names) != 1:
            raise InputError(f"the model has {len(names)} inputs, and samples of one were given")
        feeds = [{names[0]: statistics}]
    return to_module(
        model,
        original=original,
        float_weights=float_weights,
        real_io=real_io,
        batch_norm=batch_norm,
        statistics=feeds,
        dropout=dropout,
    )


def to_graph(module: Any) -> ir.Model:
    """The model that a module of :func:`to_torch` was made from, with what the module has learned.

    Raises:
        InputError: this is no such module.
        ModelError: a parameter became NaN or infinite.
    """
    require_torch()
    from microlith.train.to_graph import to_graph as written_back

    return written_back(module)


def _loaded(source: object, example_input: object, shapes: Mapping[str, tuple[int, ...]] | None) -> ir.Model:
    if not isinstance(source, str | Path):
        from microlith.train.from_torch import load_module

        return load_module(source, example_input, shapes)
    if example_input is not None:
        raise InputError(
            f"an example input is given for the file {source}, which needs none",
            hint="Give shapes by input name where dimensions are dynamic.",
        )
    if Path(source).suffix == ".pt2":
        from microlith.train.from_torch import load_pt2

        return load_pt2(Path(source), shapes)
    return load_model(source, shapes)


@dataclass(frozen=True)
class Artifact:
    """A compiled model with its evidence.

    Attributes:
        built: model, package, evidence, details.
    """

    built: built.Artifact

    def __repr__(self) -> str:
        return f"<Artifact {self.manifest.name} for {self.manifest.device.name}, {len(self.evidence.items)} figures>"

    @property
    def model(self) -> ir.Model:
        """The graph that was compiled."""
        return self.built.model

    @property
    def evidence(self) -> EvidenceSet:
        """Its figures."""
        return self.built.evidence

    @property
    def details(self) -> RunDetails:
        """Layers, memory plan, passes, checks."""
        return self.built.details

    @property
    def manifest(self) -> Manifest:
        """What the package consists of."""
        return self.built.manifest

    def export(self, directory: str | Path) -> Path:
        """Write the package, evidence and report; an earlier artifact there is replaced in one step.

        Raises:
            InputError: the directory cannot be written, or holds something else.
        """
        path = Path(directory)
        texts = {
            "evidence.json": self.evidence.to_json(),
            "details.json": self.details.model_dump_json(indent=1) + "\n",
            "report.html": render(self.details, self.evidence),
        }
        if self.built.recipe:
            texts["recipe.yaml"] = self.built.recipe
        files.write_tree(path, {**self.built.package.files, **{name: text.encode() for name, text in texts.items()}})
        return path


@dataclass(frozen=True)
class Result:
    """What :func:`optimize` found.

    Attributes:
        best: meets the budget; None where nothing does.
        nearest: the best that was found in any case.
        verdicts: its budget lines.
        candidates: everything that was tried.
    """

    best: Artifact | None
    nearest: Artifact
    verdicts: tuple[Verdict, ...]
    candidates: tuple[CandidateRow, ...]


def compile(
    model: ir.Model,
    target: Device,
    *,
    name: str | None = None,
    compiler: str | None = None,
    beside: Sequence[str] = (),
    float_ops: Sequence[str] = (),
    state: States | None = None,
    opt: Opt = "balanced",
    flash: int | str | None = None,
    ram: int | str | None = None,
    tune: bool = False,
    seed: int = 0,
    packages: Sequence[str] = ("c",),
    command: str = "",
    progress: Progress = no_progress,
) -> Artifact:
    """Compile a graph as it is, without data: passes, kernels, memory plan, C library, figures.

    Args:
        model: float or quantized.
        target: device.
        name: prefix of every C symbol; made from the model's name by default.
        compiler: see :func:`microlith.device.toolchain.find_toolchain`; figures that need one are absent without.
        beside: other compilers, whose flash, RAM, instructions and cycles are obtained too, to be shown beside.
        float_ops: names or op types that may stay in float in a quantized model.
        state: see :func:`with_state`; what the model itself says by default.
        opt: ``size``, ``balanced`` or ``speed``; see :class:`microlith.compile.choose.Goal`.
        flash: most bytes of the linked minimal application, as 262144 or ``"256K"``; the device's by default.
        ram: most bytes of RAM that it uses, its stack among them: met by the cheapest combination of kernels, results
            in place and streamed rows. By default, whatever costs at most 2% of the cycles is done for less RAM.
        tune: count kernels and schedules on the emulated device before choosing; see :mod:`microlith.search.tune`.
        seed: of the inputs that are drawn for the self-test.
        packages: build systems to package the library for, beside plain C: ``arduino``, ``platformio``, ``zephyr``,
            ``esp-idf``.
        command: what the user ran, for the report.
        progress: called with what is being done, the steps done, and their number.

    Raises:
        BudgetUnmetError: nothing takes as little flash or RAM; the message gives the least that was reached.
        InputError: it shall be tuned, or compilers be compared, for this machine, which is not emulated.
    """
    budget = parse_budget(flash=flash, ram=ram)
    for other in beside:
        if target.is_host:
            raise InputError("compilers are compared on an emulated device", hint="Name a microcontroller.")
        Tools.find(target, other, required=True)
    package_kinds(packages, target)  # said before any work is done
    progress("graph passes", 0, 1)
    optimized, rows = optimize_graph(model if state is None else with_state(model, state))
    refuse_float_nodes(optimized, float_ops)
    progress("graph passes", 1, 1)
    tools = Tools.find(target, compiler, required=tune or bool(beside) or budget_needs_toolchain(budget))
    symbol = identifier(optimized.graph.name or "model") if name is None else name
    goal = Goal(opt) if not tune else Goal(opt, known=tuning.tune(optimized, tools, progress).known)
    progress("compile and count", 0, 1)
    package = built.build_package(
        optimized, tools, symbol, (), seed, packages, goal=goal, flash_bytes=budget.flash, ram_bytes=budget.ram
    )
    figures = built.figures_of(optimized, package, tools, beside=beside)
    progress("compile and count", 1, 1)
    found = tools.compiler
    counts = figures.counts
    details = RunDetails(
        model=symbol,
        device=target.name,
        device_title=target.title,
        command=command,
        requantization=package.manifest.requantization,
        toolchain="" if found is None else f"{found.name} {found.version}",
        flags="" if found is None else found.flags,
        layers=built.layer_rows(optimized, package, counts, {}),
        layer_remainder_instructions=None if counts is None else counts.remainder_instructions,
        trades=built.trade_rows(package),
        opt=opt,
        memory=built.memory_rows(package),
        memory_plan=built.plan_row(package),
        arena_bound_bytes=sum(package.planned.bounds.values()),
        passes=rows,
        fusions=fusion_rows(optimized, package.planned.program),
        notes=figures.notes + ((tools.why_not,) if tools.why_not else ()),
    )
    evidence = EvidenceSet(figures.evidence)
    return Artifact(with_verdicts(built.Artifact(optimized, package, evidence, details), judge(budget, evidence)))


def optimize(
    model: ir.Model,
    target: Device,
    *,
    data: object,
    budget: Budget | None = None,
    recipe: Recipe | None = None,
    preprocessing: Preprocessing | None = None,
    parts: Parts | None = None,
    metric: str | None = None,
    options: Options | None = None,
    progress: Progress = no_progress,
    announce: Callable[[str], None] = lambda text: None,
) -> Result:
    """The best artifact within a budget; see :mod:`microlith.search.optimize`.

    Args:
        model: float.
        target: device.
        data: ``.npz`` path, ``module.py:function``, arrays, or an iterable of batches.
        budget: upper bounds; none by default.
        recipe: run these steps instead of searching.
        preprocessing: what stands between the stored data and the model's input; folded into the graph.
        parts: how many samples calibrate, select and report.
        metric: accuracy with labels and agreement with the original model without, by default.
        options: names, seed, compiler, samples to verify.
        progress: called with what is being done, the steps done, and their number.
        announce: called with what is feasible, before the search starts.
    """
    prepared = prepare(
        model, data, preprocessing=preprocessing, parts=parts, metric=metric, seed=(options or Options()).seed
    )
    found = searched.optimize(
        prepared,
        target,
        budget or Budget(),
        recipe=None if recipe is None else only_ptq(recipe),
        options=options or Options(name=identifier(model.graph.name or "model")),
        progress=progress,
        announce=announce,
    )
    best = None if found.best is None else Artifact(found.best)
    return Result(best, Artifact(found.nearest), found.verdicts, found.candidates)


def only_ptq(recipe: Recipe) -> PTQ:
    """The single step of a recipe that ``optimize`` can run.

    Raises:
        InputError: the recipe is another one.
    """
    if len(recipe.steps) != 1 or not isinstance(recipe.steps[0], PTQ):
        names = ", ".join(step.name for step in recipe.steps)
        raise InputError(f"optimize runs recipes of one ptq step, and this one has: {names}")
    return recipe.steps[0]


def apply(
    model: ir.Model,
    steps: Sequence[Technique],
    *,
    data: object = None,
    original: ir.Model | None = None,
    target: Device | None = None,
    preprocessing: Preprocessing | None = None,
    calibration: int | None = None,
    checkpoint: Path | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> ir.Model:
    """The model after some techniques, in order.

    Args:
        model: as loaded; it is not changed.
        steps: techniques.
        data: see :func:`optimize`; all of it, or the first ``calibration`` samples, is used. None for techniques that
            need none.
        original: the float model that ``model`` was quantized from, for techniques that compare with it. The data then
            goes through its preprocessing, and ``model`` is taken as it is.
        target: device that Q/DQ placement and requantization are meant for.
        preprocessing: folded into the graph.
        calibration: number of samples to use; all by default.
        checkpoint: file that a technique which trains resumes from, and writes to.
        seed: of everything random.
        progress: called with what is being done, the steps done, and their number.

    Raises:
        InputError: samples or preprocessing are stated, and there is no data.
    """
    if data is None:
        if calibration is not None or preprocessing is not None:
            raise InputError("samples or preprocessing are stated, and no data is given", hint="Give --data.")
        compared = None if original is None else optimize_graph(original)[0]
        context = Context(device=target, original=compared, rng=generator(seed, "apply"), progress=progress)
        return run_recipe(optimize_graph(model)[0] if original is None else model, Recipe(tuple(steps)), context)
    dataset = load_data(data)
    if calibration is not None:
        if not 1 <= calibration <= len(dataset):
            raise InputError(f"{calibration} samples are asked for, and the data holds {len(dataset)}")
        dataset = dataset.select(np.arange(calibration))
    prepared, input_name, _, _ = with_preprocessing(model if original is None else original, dataset, preprocessing)
    optimized, _ = optimize_graph(prepared)
    context = Context(
        data=lambda: dataset.feeds(input_name, batch=BATCH),
        batches=-(-len(dataset) // BATCH),
        labels=dataset.y,
        checkpoint=checkpoint,
        device=target,
        original=None if original is None else optimized,
        rng=generator(seed, "apply"),
        progress=progress,
    )
    return run_recipe(optimized if original is None else model, Recipe(tuple(steps)), context)


@dataclass(frozen=True)
class DryRun:
    """What ``optimize`` would do.

    Attributes:
        check: the free check: whether the quantized model fits the device.
        candidates: settings that would be tried.
        recipe: YAML text of the recipe that would be run, or of the first one tried.
        parts: samples that calibrate, select and report.
        metric: what accuracy would mean.
        infeasible: budget lines that weights and activations alone already break, with the reason.
        notes: what the reader must know.
    """

    check: Check
    candidates: tuple[PTQ, ...]
    recipe: str
    parts: dict[str, int]
    metric: str
    infeasible: tuple[str, ...]
    notes: tuple[str, ...]


def dry_run(
    model: ir.Model,
    target: Device,
    data: object,
    budget: Budget,
    recipe: Recipe | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    parts: Parts | None = None,
    metric: str | None = None,
) -> DryRun:
    """Everything about an :func:`optimize` that can be said without calibrating or compiling."""
    prepared = prepare(model, data, preprocessing=preprocessing, parts=parts, metric=metric)
    space = ptq_search_space() if recipe is None else (only_ptq(recipe),)
    found = check(prepared.model, target)
    form = found.forms[-1]
    infeasible = []
    if form.least_arena_bytes is not None and budget.ram is not None and form.least_arena_bytes > budget.ram:
        infeasible.append(
            f"ram: activations alone take {format_bytes(form.least_arena_bytes)} in {form.least_peak_layer}, and "
            f"{format_bytes(budget.ram)} are allowed"
        )
    if form.weights_bytes is not None and budget.flash is not None and form.weights_bytes > budget.flash:
        infeasible.append(
            f"flash: weights alone take {format_bytes(form.weights_bytes)}, and "
            f"{format_bytes(budget.flash)} are allowed"
        )
    text = Recipe((space[0],)).to_yaml()
    return DryRun(found, space, text, prepared.split.sizes, prepared.metric.name, tuple(infeasible), prepared.notes)


def artifact_samples(opened: Opened, data: object | None, count: int) -> list[dict[str, Array]]:
    """The first samples of some data, as an artifact takes them; none where no data is given.

    Floats are quantized for an integer input whose meaning is known.

    Raises:
        InputError: the data does not fit.
    """
    if data is None:
        return []
    inputs = caller_inputs(opened.model)
    if len(inputs) != 1:
        raise InputError(
            f"the artifact has {len(inputs)} inputs, and data can be given for one only", hint="Leave out --data."
        )
    name, shape, dtype = str(inputs[0].name), inputs[0].shape, inputs[0].dtype
    assert shape is not None and dtype is not None, "loading types every value"
    dataset = load_data(data)
    floats = np.issubdtype(dataset.samples.dtype, np.floating)
    taken = "float32" if floats and io_qparams(opened.model, name) is not None else held_type(dtype).name
    settled = dataset.check_against(tuple(shape.numpy()), taken)
    chosen = dataset.select(np.arange(min(count, len(dataset))))
    arrange = settled.apply if taken == "float32" else settled.arrange
    return [as_inputs(opened.model, {name: arrange(x)}) for x, _ in chosen.batches(1)]


def take_board_log(opened: Opened, log: Path) -> Run:
    """Check a board's log and rewrite the artifact's evidence and report with its figures as measured ones.

    Raises:
        InputError: the log cannot be read, has no result line, or is of another artifact.
        VerificationError: the board's outputs differ.
    """
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"cannot read {log}: {error.strerror}") from error
    run = load_run(opened.directory)
    _, evidence = with_board_log(opened, run.evidence, text)
    verdicts = tuple(_judged_again(row, evidence) for row in run.details.verdicts)
    details = run.details.model_copy(update={"verdicts": verdicts})
    page = render(details, evidence)
    files.write_text(opened.directory / "evidence.json", evidence.to_json())
    files.write_text(opened.directory / "details.json", details.model_dump_json(indent=1) + "\n")
    files.write_text(opened.directory / "report.html", page)
    return replace(run, details=details, evidence=evidence)


def _judged_again(row: VerdictRow, evidence: EvidenceSet) -> VerdictRow:
    item = evidence.get(row.metric)
    if item is None:
        return row
    found = {"value": item.value, "pessimistic": item.high, "unit": item.unit, "how": item.how}
    return row.model_copy(update=found | {"met": item.high <= row.limit})


def bench(directory: str | Path) -> tuple[Bench, RunDetails]:
    """What each layer of an artifact does with its time, and what else is known of it.

    Raises:
        InputError: the directory holds no artifact, or its layers were not counted.
    """
    details = load_run(Path(directory)).details
    return layers.bench(details), details


def bench_runtimes(
    directory: str | Path,
    *,
    data: object | None = None,
    samples: int = 200,
    emulated_samples: int = 20,
    beside: Beside | None = None,
    compiler: str | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Run:
    """The model of an artifact by its specification, in C and in other runtimes; the report shows the table then.

    Args:
        directory: of the artifact.
        data: inputs as the artifact takes them, with labels or without; random inputs by default.
        samples: how many of them.
        emulated_samples: how many of these run on the emulated device.
        beside: how outputs are judged.
        compiler: see :func:`microlith.device.toolchain.find_toolchain`.
        seed: of random inputs and of intervals that are drawn.
        progress: called with the runtime, samples done and their number.

    Raises:
        InputError: the directory holds no artifact, the data does not fit, or the model keeps state.
    """
    opened = Opened.read(Path(directory))
    run = load_run(opened.directory)
    feeds = artifact_samples(opened, data, samples) or random_feeds(opened.model, samples, seed)
    measure = measure_of(data, len(feeds), beside or Beside(), seed)
    rows = compare_runtimes(
        opened, feeds, measure, emulated_samples=emulated_samples, compiler=compiler, progress=progress
    )
    name = "" if measure.metric is None else measure.metric.name
    details = run.details.model_copy(update={"runtimes": rows, "runtimes_metric": name})
    files.write_text(opened.directory / "details.json", details.model_dump_json(indent=1) + "\n")
    files.write_text(opened.directory / "report.html", render(details, run.evidence))
    return replace(run, details=details)


def write_report(directories: Sequence[Path], page: Path | None = None) -> tuple[tuple[Run, ...], Path]:
    """Write the report of one artifact, or the comparison of several, from what they hold.

    Args:
        directories: of artifacts.
        page: file to write; ``report.html`` in the one directory, or ``comparison.html`` here, by default.

    Raises:
        InputError: a directory is no artifact, or the page cannot be written.
    """
    runs = tuple(load_run(directory) for directory in directories)
    if len(runs) == 1:
        where = directories[0] / "report.html" if page is None else page
        text = render(runs[0].details, runs[0].evidence)
    else:
        where = Path("comparison.html") if page is None else page
        text = render_comparison(runs)
    files.write_text(where, text)
    return runs, where


def check_ranges(
    model: ir.Model,
    target: Device,
    *,
    data: object,
    samples: int = ranges.SAMPLES,
    scheme: Scheme | None = None,
    preprocessing: Preprocessing | None = None,
    progress: Progress = no_progress,
) -> RangeCheck:
    """What quantization does to each value and layer of a model on data; which integers of a quantized one saturate.

    Args:
        model: as loaded.
        target: whose arithmetic a float model is quantized for.
        data: as for :func:`optimize`; its calibration part is read.
        samples: most to look at.
        scheme: of the quantization looked at; :class:`PTQ` is one. int8 with one weight scale a channel without.
        preprocessing: what stands between the stored data and the model's input.
        progress: called with what is done, steps done, and their number.

    Raises:
        InputError: the data does not fit the model.
        UnsupportedError: a node has no integer form, or the model keeps state.
    """
    prepared = prepare(model, data, preprocessing=preprocessing)
    return ranges.check_ranges(prepared, target, samples=samples, scheme=scheme, progress=progress)


def write_ranges(found: RangeCheck, model: str, target: Device, page: Path) -> None:
    """Write what :func:`check_ranges` found as one HTML page with pictures."""
    files.write_text(page, render_page(found, model, target))


def require_fit(found: Check, target: Device) -> None:
    """Fail where a model cannot be compiled, or no form of it fits the device.

    Raises:
        UnsupportedError: nothing can be compiled; the message gives the first reason.
        BudgetUnmetError: weights or activations exceed the device's memory.
    """
    usable = [form for form in found.forms if form.fits is not None]
    if not usable:
        reasons = found.forms[-1].obstacles
        more = f"; and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        raise UnsupportedError(
            f"the model cannot be compiled: {reasons[0]}{more}", hint="Replace these nodes, or export without them."
        )
    if any(form.fits for form in usable):
        return
    form = usable[-1]
    assert form.weights_bytes is not None and form.least_arena_bytes is not None, "what can be compiled has figures"
    parts = []
    if found.flash_bytes is not None and form.weights_bytes >= found.flash_bytes:
        parts.append(f"weights take {format_bytes(form.weights_bytes)} of {format_bytes(found.flash_bytes)} flash")
    if found.ram_bytes is not None and form.least_arena_bytes >= found.ram_bytes:
        parts.append(
            f"activations take {format_bytes(form.least_arena_bytes)} of {format_bytes(found.ram_bytes)} RAM, "
            f"in {form.least_peak_layer}"
        )
    raise BudgetUnmetError(f"the model does not fit {target.name} ({form.arithmetic}): {'; '.join(parts)}")
