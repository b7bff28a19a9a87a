"""The search for the best artifact within a budget, in its first form: over the settings of static quantization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.budget import Budget, Verdict, judge
from microlith.core.details import CandidateRow, RunDetails, VerdictRow
from microlith.core.errors import BudgetUnmetError
from microlith.core.evidence import Evidence, EvidenceSet
from microlith.core.random import generator
from microlith.core.units import format_bytes, format_seconds
from microlith.data.metrics import Comparison, compare
from microlith.device.profile import Device
from microlith.graph.sqnr import layer_sqnr
from microlith.program.types import calls
from microlith.quant.calibration import sqnr_db
from microlith.search.artifact import (
    Artifact,
    Progress,
    Tools,
    build_package,
    check_compiled,
    check_evidence,
    figures_of,
    layer_rows,
    memory_rows,
    no_progress,
    outside_checks,
    require_passed,
)
from microlith.search.prepare import Array, Prepared, as_inputs, evaluate
from microlith.search.study import Study, study_key
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ, Statistics, observe, ptq_search_space
from microlith.techniques.recipe import Recipe
from microlith.verify.figures import context_of

HOST_SAMPLES = 100
EMULATED_SAMPLES = 100
OUTSIDE_SAMPLES = 4
SQNR_SAMPLES = 32


Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Options:
    """How a search runs.

    Attributes:
        name: prefix of every C symbol.
        seed: of everything random.
        compiler: see :func:`microlith.device.toolchain.find_toolchain`.
        host_samples: inputs on which the compiled C is compared with the reference on this machine.
        emulated_samples: likewise on the emulated device.
        resume: whether scores of an earlier, interrupted search are used.
        command: what the user ran, for the report.
    """

    name: str = "model"
    seed: int = 0
    compiler: str | None = None
    host_samples: int = HOST_SAMPLES
    emulated_samples: int = EMULATED_SAMPLES
    resume: bool = True
    command: str = ""


@dataclass(frozen=True)
class Result:
    """What a search found.

    Attributes:
        best: the artifact that meets the budget; None where none does.
        nearest: the best artifact that was found, whether it meets the budget or not.
        verdicts: its budget lines.
        candidates: everything that was tried.
    """

    best: Artifact | None
    nearest: Artifact
    verdicts: tuple[Verdict, ...]
    candidates: tuple[CandidateRow, ...]

    def require(self) -> Artifact:
        """The best artifact.

        Raises:
            BudgetUnmetError: there is none; the message says which lines and by how much.
        """
        if self.best is None:
            raise unmet(self.verdicts, self.nearest)
        return self.best


def optimize(
    prepared: Prepared,
    device: Device,
    budget: Budget,
    *,
    recipe: PTQ | None = None,
    options: Options = Options(),
    progress: Progress = no_progress,
) -> Result:
    """Quantize in every way of the search space, choose, compile, run and check.

    The choice is made on the selection part of the data; the report part is read once, at the end.

    Args:
        prepared: graph, data and metric.
        device: what for.
        budget: upper bounds.
        recipe: settings to use instead of searching.
        options: how to run.
        progress: called with what is being done, the steps done, and their number.
    """
    tools = Tools.find(device, options.compiler, required=budget_needs_toolchain(budget))
    space = ptq_search_space() if recipe is None else (recipe,)
    context = Context(device=device, rng=generator(options.seed, "search"))
    statistics = _observe(prepared, space[0], progress)
    infeasible = _feasibility(prepared, space, statistics, context, budget, tools, options, progress)
    if infeasible is not None:
        return infeasible
    scores = _scores(prepared, space, statistics, context, device, options, progress)
    order = ranked(scores, higher_is_better=prepared.metric.higher_is_better)
    chosen = order[0]
    rows = tuple(_candidate_row(space[i], scores[i], chosen=i == chosen) for i in order)
    model = space[chosen].quantize(prepared.model, statistics, context)
    return _finish(prepared, model, space[chosen], rows, budget, tools, options, progress)


def budget_needs_toolchain(budget: Budget) -> bool:
    """Whether a budget line can only be judged on a linked program."""
    return any(limit is not None for limit in (budget.flash, budget.ram, budget.latency, budget.energy))


def unmet(verdicts: Sequence[Verdict], artifact: Artifact) -> BudgetUnmetError:
    """The error for a budget that nothing meets."""
    parts = []
    for verdict in verdicts:
        if verdict.met:
            continue
        limit = show(verdict.line, verdict.limit)
        if verdict.evidence is None:
            parts.append(f"{verdict.line} {limit}: no evidence")
            continue
        high = show(verdict.line, verdict.evidence.high)
        over = show(verdict.line, verdict.evidence.high - verdict.limit)
        parts.append(f"{verdict.line}: {high} where {limit} is allowed, {over} too much")
    hint = None
    if any(verdict.line == "ram" and not verdict.met for verdict in verdicts):
        layer, live = artifact.package.planned.peak_layer()
        hint = f"The layer that needs the most RAM is {layer}: {format_bytes(live)} of tensors are alive in it."
    return BudgetUnmetError("the budget is not met: " + "; ".join(parts), hint=hint)


def show(line: str, value: float) -> str:
    """A figure in the unit of its budget line."""
    if line in ("flash", "ram"):
        return format_bytes(value)
    if line == "latency":
        return format_seconds(value)
    return f"{value:.2f} pp" if line == "max_drop" else f"{value:.3g} J"


def _observe(prepared: Prepared, first: PTQ, progress: Progress) -> Statistics:
    batches = list(prepared.feeds(prepared.split.calibration))
    return observe(
        prepared.model,
        batches,
        float_ops=first.float_ops,
        progress=lambda done: progress("calibrate", done, len(batches)),
    )


def _feasibility(
    prepared: Prepared,
    space: Sequence[PTQ],
    statistics: Statistics,
    context: Context,
    budget: Budget,
    tools: Tools,
    options: Options,
    progress: Progress,
) -> Result | None:
    """A result where no settings can meet flash, RAM, latency or energy, which do not depend on what is calibrated."""
    hardware = budget.model_copy(update={"max_drop": None})
    if not hardware.lines() or tools.target is None:
        return None
    shapes = {candidate.per_channel: candidate for candidate in reversed(space)}
    best: tuple[float, Artifact, tuple[Verdict, ...]] | None = None
    for done, candidate in enumerate(shapes.values()):
        progress("feasibility", done, len(shapes))
        model = candidate.quantize(prepared.model, statistics, context)
        artifact = _measured(prepared, model, candidate, tools, options)
        verdicts = judge(hardware, artifact.evidence)
        worst = max(verdict.excess for verdict in verdicts)
        if best is None or worst < best[0]:
            best = worst, artifact, verdicts
    progress("feasibility", len(shapes), len(shapes))
    assert best is not None
    _, artifact, verdicts = best
    if all(verdict.met for verdict in verdicts):
        return None
    note = "No settings of quantization change these figures enough, so none was searched and accuracy was not read."
    details = artifact.details.model_copy(update={"notes": (*artifact.details.notes, note)})
    nearest = replace(artifact, details=details)
    return Result(None, with_verdicts(nearest, judge(budget, artifact.evidence)), verdicts, ())


def _measured(prepared: Prepared, model: ir.Model, settings: PTQ, tools: Tools, options: Options) -> Artifact:
    """An artifact with its hardware figures, without accuracy."""
    samples = [as_inputs(model, feeds) for feeds in _first(prepared, 2)]
    package = build_package(model, tools, options.name, samples, options.seed)
    figures = figures_of(model, package, tools, samples)
    details = _details(prepared, tools, options, package.manifest.requantization).model_copy(
        update={
            "layers": layer_rows(model, package, figures.counts, {}),
            "memory": memory_rows(package),
            "layer_remainder_instructions": None if figures.counts is None else figures.counts.remainder_instructions,
            "arena_bound_bytes": sum(package.planned.bounds.values()),
        }
    )
    return Artifact(model, package, EvidenceSet(figures.evidence), details, Recipe((settings,)).to_yaml())


def _details(prepared: Prepared, tools: Tools, options: Options, requantization: str) -> RunDetails:
    compiler = tools.compiler
    return RunDetails(
        model=prepared.model.graph.name or options.name,
        device=tools.device.name,
        device_title=tools.device.title,
        command=options.command,
        metric=prepared.metric.name,
        requantization=requantization,
        toolchain="" if compiler is None else f"{compiler.name} {compiler.version}",
        flags="" if compiler is None else compiler.flags,
        passes=prepared.passes,
        notes=prepared.notes + ((tools.why_not,) if tools.why_not else ()),
    )


def _first(prepared: Prepared, count: int) -> list[dict[str, Array]]:
    return list(prepared.feeds(prepared.split.selection[:count], batch=1))


@dataclass(frozen=True)
class Score:
    """How a candidate did on the selection part.

    Attributes:
        metric: its figure.
        standard_error: of that figure; 0 where the metric is no mean over samples.
        sqnr_db: ratio of the outputs to their noise against the original's.
    """

    metric: float
    standard_error: float
    sqnr_db: float


def ranked(scores: Sequence[Score], *, higher_is_better: bool) -> list[int]:
    """Indices, best first: of those within one standard error of the best metric, the least noisy outputs come first.

    A few samples more or less are chance; how close the outputs stay to the original's is seen on every sample.

    Source: Breiman et al., Classification and Regression Trees (1984), section 3.4.3 (the one standard error rule).
    """
    sign = -1.0 if higher_is_better else 1.0
    best = min(scores, key=lambda score: sign * score.metric)
    limit = sign * best.metric + best.standard_error
    tied = [sign * score.metric <= limit for score in scores]
    keys = [
        (0, -score.sqnr_db, 0.0) if tie else (1, sign * score.metric, -score.sqnr_db)
        for score, tie in zip(scores, tied, strict=True)
    ]
    return sorted(range(len(scores)), key=lambda index: keys[index])


def _scores(
    prepared: Prepared,
    space: Sequence[PTQ],
    statistics: Statistics,
    context: Context,
    device: Device,
    options: Options,
    progress: Progress,
) -> list[Score]:
    if len(space) == 1:
        return [_score(prepared, space[0].quantize(prepared.model, statistics, context), _original(prepared))]
    study = Study(study_key(prepared, space[0].requantization or device.requantization))
    original: Floats | None = None
    scores = []
    for done, candidate in enumerate(space):
        progress("search", done, len(space))
        key = candidate.model_dump_json()
        known = study.get(key) if options.resume else None
        if known is None:
            original = _original(prepared) if original is None else original
            score = _score(prepared, candidate.quantize(prepared.model, statistics, context), original)
            study.put(key, (score.metric, score.standard_error, score.sqnr_db))
        else:
            score = Score(*known)
        scores.append(score)
    progress("search", len(space), len(space))
    return scores


def _original(prepared: Prepared) -> Floats:
    return evaluate(prepared.model, prepared.feeds(prepared.split.selection))


def _score(prepared: Prepared, model: ir.Model, original: Floats) -> Score:
    outputs = evaluate(model, prepared.feeds(prepared.split.selection))
    targets = original if prepared.metric.against_original else prepared.labels(prepared.split.selection)
    values = prepared.metric.compute(outputs, targets)
    error = float(values.std() / np.sqrt(values.size)) if values.ndim else 0.0
    return Score(float(values.mean()), error, sqnr_db(original, outputs))


def _candidate_row(candidate: PTQ, score: Score, *, chosen: bool) -> CandidateRow:
    settings = {
        "calibration": candidate.calibration,
        "weights": "per channel" if candidate.per_channel else "per tensor",
        "activations": "symmetric" if candidate.symmetric else "affine",
    }
    note = f"outputs {score.sqnr_db:.1f} dB over noise"
    return CandidateRow(settings=settings, metric=score.metric, chosen=chosen, note=note)


def _finish(
    prepared: Prepared,
    model: ir.Model,
    settings: PTQ,
    candidates: tuple[CandidateRow, ...],
    budget: Budget,
    tools: Tools,
    options: Options,
    progress: Progress,
) -> Result:
    """Compile and run the chosen model, then read the report part."""
    progress("compile and count", 0, 1)
    artifact = _measured(prepared, model, settings, tools, options)
    progress("compile and count", 1, 1)
    report = prepared.split.report()
    samples = [as_inputs(model, feeds) for feeds in prepared.feeds(report[: options.host_samples], batch=1)]
    files, manifest = artifact.package.files, artifact.manifest
    checks = (
        *check_compiled(
            model, files, manifest, tools, samples, emulated_samples=options.emulated_samples, progress=progress
        ),
        *outside_checks(model, samples[:OUTSIDE_SAMPLES]),
    )
    require_passed(checks)
    comparison = _report(prepared, model, report, options, progress)
    context = context_of(artifact.manifest)
    evidence = EvidenceSet(
        (
            *comparison.evidence("measured", context),
            *artifact.evidence.items,
            *check_evidence(checks, context),
            Evidence.exact("samples", len(report), "samples", "counted", context),
        )
    )
    noise = layer_sqnr(prepared.model, model, prepared.feeds(prepared.split.selection[:SQNR_SAMPLES]))
    rows = tuple(
        row.model_copy(update={"sqnr_db": noise.get(name)})
        for row, name in zip(artifact.details.layers, _sources(artifact), strict=True)
    )
    details = artifact.details.model_copy(update={"layers": rows, "checks": checks, "candidates": candidates})
    verdicts = judge(budget, evidence)
    finished = with_verdicts(replace(artifact, evidence=evidence, details=details), verdicts)
    met = all(verdict.met for verdict in verdicts)
    return Result(finished if met else None, finished, verdicts, candidates)


def _sources(artifact: Artifact) -> list[str]:
    """Graph value that each layer writes."""
    program = artifact.package.planned.program
    return [program.view(call.writes[0]).source for call in calls(program.entries[0].body)]


def _report(
    prepared: Prepared, model: ir.Model, report: np.ndarray[tuple[int, ...], np.dtype[np.intp]], options: Options,
    progress: Progress,
) -> Comparison:  # fmt: skip
    progress("report part", 0, 2)
    original = evaluate(prepared.model, prepared.feeds(report))
    progress("report part", 1, 2)
    outputs = evaluate(model, prepared.feeds(report))
    progress("report part", 2, 2)
    rng = generator(options.seed, "intervals")
    return compare(prepared.metric, original, outputs, prepared.labels(report), rng)


def with_verdicts(artifact: Artifact, verdicts: Sequence[Verdict]) -> Artifact:
    """The artifact with its budget lines in the details."""
    rows = tuple(_verdict_row(verdict) for verdict in verdicts)
    return replace(artifact, details=artifact.details.model_copy(update={"verdicts": rows}))


def _verdict_row(verdict: Verdict) -> VerdictRow:
    item = verdict.evidence
    return VerdictRow(
        line=verdict.line,
        metric=verdict.metric,
        limit=verdict.limit,
        value=None if item is None else item.value,
        pessimistic=None if item is None else item.high,
        unit="" if item is None else item.unit,
        how="" if item is None else item.how,
        met=verdict.met,
    )
