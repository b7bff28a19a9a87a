"""The search for the best artifact within a budget, in its first form: over the settings of static quantization."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.compile.choose import Goal, Opt
from microlith.compile.ecosystems import package_kinds
from microlith.compile.fusions import fusion_rows
from microlith.compile.package import Package
from microlith.core.budget import Budget, Verdict, judge
from microlith.core.details import CandidateRow, CheckRow, LayerRow, RunDetails
from microlith.core.errors import BudgetUnmetError, InputError
from microlith.core.evidence import Evidence, EvidenceSet
from microlith.core.random import generator
from microlith.data.metrics import Comparison, compare
from microlith.device.profile import Device
from microlith.graph.feeds import as_inputs
from microlith.graph.metadata import precision_plan
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
    plan_row,
    require_passed,
    trade_rows,
)
from microlith.search.choice import Score, candidate_row, ranked
from microlith.search.prepare import BATCH, Prepared, evaluate
from microlith.search.study import Study, study_key
from microlith.search.verdicts import budget_needs_toolchain, show, unmet, with_verdicts
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ, Statistics, observe, ptq_search_space
from microlith.techniques.recipe import Recipe
from microlith.verify.figures import context_of

HOST_SAMPLES = 100
EMULATED_SAMPLES = 100
OUTSIDE_SAMPLES = 4
SQNR_SAMPLES = 32


Floats = NDArray[np.float32]
Indices = NDArray[np.intp]


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
        opt: ``size``, ``balanced`` or ``speed``; see :class:`microlith.compile.choose.Goal`.
        packages: build systems to package the library for, beside plain C.
    """

    name: str = "model"
    seed: int = 0
    compiler: str | None = None
    host_samples: int = HOST_SAMPLES
    emulated_samples: int = EMULATED_SAMPLES
    resume: bool = True
    command: str = ""
    opt: Opt = "balanced"
    packages: tuple[str, ...] = ("c",)


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
    announce: Callable[[str], None] = lambda text: None,
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
        announce: called with what is feasible, before the search starts.

    Raises:
        InputError: the budget states a drop in percentage points, and the metric is no fraction; or a package is
            asked for that there is not.
        ToolchainError: a budget line needs a compiler, and there is none.
        VerificationError: the compiled code does not compute what the reference does.
    """
    if budget.max_drop is not None and not prepared.metric.higher_is_better:
        raise InputError(
            f"a drop in percentage points has no meaning for the metric {prepared.metric.name}, where less is better",
            hint="Leave out --max-drop, or choose another --metric.",
        )
    package_kinds(options.packages, device)  # said before anything is calibrated
    tools = Tools.find(device, options.compiler, required=budget_needs_toolchain(budget))
    return _Search(prepared, budget, tools, options, progress, announce).run(recipe)


@dataclass(frozen=True, eq=False)
class _Search:
    prepared: Prepared
    budget: Budget
    tools: Tools
    options: Options
    progress: Progress
    announce: Callable[[str], None]
    made: dict[PTQ, ir.Model] = field(default_factory=dict)

    def run(self, recipe: PTQ | None) -> Result:
        space = ptq_search_space() if recipe is None else (recipe,)
        statistics = self._observe(space[0])
        feasible = self._feasible(space, statistics)
        if isinstance(feasible, Result):
            return feasible
        scores = self._scores(feasible, statistics)
        order = ranked(scores, higher_is_better=self.prepared.metric.higher_is_better)
        rows = tuple(candidate_row(feasible[i], scores[i], chosen=i == order[0]) for i in order)
        chosen = feasible[order[0]]
        return self._finish(self._quantized(chosen, statistics), chosen, rows)

    def _quantized(self, settings: PTQ, statistics: Statistics) -> ir.Model:
        """The model with these settings; they are asked for again and again, and some take long."""
        if settings not in self.made:
            chosen = self.prepared.split.calibration
            context = Context(
                data=lambda: self.prepared.feeds(chosen),
                batches=-(-len(chosen) // BATCH),
                labels=self.prepared.labels(chosen),
                device=self.tools.device,
                rng=generator(self.options.seed, "search"),
                progress=self.progress,
            )
            self.made[settings] = settings.quantize(self.prepared.model, statistics, context)
        return self.made[settings]

    def _observe(self, first: PTQ) -> Statistics:
        chosen = self.prepared.split.calibration
        batches = -(-len(chosen) // BATCH)
        return observe(
            self.prepared.model,
            self.prepared.feeds(chosen),
            float_ops=first.float_ops,
            progress=lambda done: self.progress("calibrate", done, batches),
        )

    # ---- what can meet the budget at all

    def _feasible(self, space: Sequence[PTQ], statistics: Statistics) -> tuple[PTQ, ...] | Result:
        """The settings whose flash, RAM, latency and energy meet the budget, or the nearest miss where none do.

        These figures depend on how weights are stored, and not on what was calibrated.
        """
        hardware = self.budget.model_copy(update={"max_drop": None})
        if not hardware.lines():
            return tuple(space)
        kinds = {candidate.per_channel: candidate for candidate in reversed(space)}
        met: dict[bool, bool] = {}
        misses: list[tuple[float, Artifact]] = []
        for done, (kind, candidate) in enumerate(kinds.items()):
            self.progress("feasibility", done, len(kinds))
            artifact = self._measured(self._quantized(candidate, statistics), candidate, thorough=False)
            verdicts = judge(hardware, artifact.evidence)
            met[kind] = all(verdict.met for verdict in verdicts)
            misses.append((max(verdict.excess for verdict in verdicts), artifact))
            self.announce(_feasibility(candidate, verdicts))
        self.progress("feasibility", len(kinds), len(kinds))
        if any(met.values()):
            return tuple(candidate for candidate in space if met[candidate.per_channel])
        nearest = min(misses, key=lambda miss: miss[0])[1]
        note = (
            "No settings of quantization change these figures enough, so none was searched and accuracy was not read."
        )
        details = nearest.details.model_copy(update={"notes": (*nearest.details.notes, note)})
        nearest = with_verdicts(replace(nearest, details=details), judge(self.budget, nearest.evidence))
        return Result(None, nearest, judge(hardware, nearest.evidence), ())

    def _measured(self, model: ir.Model, settings: PTQ, *, thorough: bool) -> Artifact:
        """An artifact with its hardware figures, without accuracy."""
        first = self.prepared.feeds(self.prepared.split.selection[:2], batch=1)
        samples = [as_inputs(model, feeds) for feeds in first]
        package, chosen_for = self._package(model, samples)
        figures = figures_of(model, package, self.tools, samples, thorough=thorough)
        counts = figures.counts
        details = self._details(package.manifest.requantization).model_copy(
            update={
                "layers": layer_rows(model, package, counts, {}),
                "trades": trade_rows(package),
                "opt": chosen_for,
                "memory": memory_rows(package),
                "memory_plan": plan_row(package),
                "notes": self._notes() + figures.notes,
                "layer_remainder_instructions": None if counts is None else counts.remainder_instructions,
                "arena_bound_bytes": sum(package.planned.bounds.values()),
                "fusions": fusion_rows(model, package.planned.program),
                "precision": precision_plan(model),
            }
        )
        return Artifact(model, package, EvidenceSet(figures.evidence), details, Recipe((settings,)).to_yaml())

    def _package(self, model: ir.Model, samples: Sequence[Mapping[str, NDArray[np.generic]]]) -> tuple[Package, Opt]:
        """The package within the budget's flash and RAM, or else of the least, and what kernels were chosen for."""
        tools, options = self.tools, self.options

        def build(goal: Goal, flash_bytes: int | None, ram_bytes: int | None) -> Package:
            return build_package(
                model,
                tools,
                options.name,
                samples,
                options.seed,
                options.packages,
                goal=goal,
                flash_bytes=flash_bytes,
                ram_bytes=ram_bytes,
            )

        try:
            return build(Goal(options.opt), self.budget.flash, self.budget.ram), options.opt
        except BudgetUnmetError:
            least = Goal("size", ram_bytes=None if self.budget.ram is None else 1)
            return build(least, None, None), "size"

    def _details(self, requantization: str) -> RunDetails:
        compiler, prepared, tools = self.tools.compiler, self.prepared, self.tools
        return RunDetails(
            model=self.options.name,
            device=tools.device.name,
            device_title=tools.device.title,
            command=self.options.command,
            metric=prepared.metric.name,
            requantization=requantization,
            toolchain="" if compiler is None else f"{compiler.name} {compiler.version}",
            flags="" if compiler is None else compiler.flags,
            passes=prepared.passes,
        )

    def _notes(self) -> tuple[str, ...]:
        return self.prepared.notes + ((self.tools.why_not,) if self.tools.why_not else ())

    # ---- which of them is the best

    def _scores(self, space: Sequence[PTQ], statistics: Statistics) -> list[Score]:
        mode = space[0].requantization or self.tools.device.requantization
        study = Study(study_key(self.prepared, mode))
        original: Floats | None = None
        scores = []
        for done, candidate in enumerate(space):
            self.progress("search", done, len(space))
            key = candidate.model_dump_json()
            known = study.get(key) if self.options.resume else None
            if known is None:
                original = self._selected(self.prepared.model) if original is None else original
                score = self._score(self._quantized(candidate, statistics), original)
                study.put(key, (score.metric, score.standard_error, score.sqnr_db))
            else:
                score = Score(*known)
            scores.append(score)
        self.progress("search", len(space), len(space))
        return scores

    def _selected(self, model: ir.Model) -> Floats:
        return evaluate(model, self.prepared.feeds(self.prepared.split.selection))

    def _score(self, model: ir.Model, original: Floats) -> Score:
        metric, outputs = self.prepared.metric, self._selected(model)
        targets = original if metric.against_original else self.prepared.labels(self.prepared.split.selection)
        values = metric.compute(outputs, targets)
        error = float(values.std() / np.sqrt(values.size)) if values.ndim else 0.0
        return Score(float(values.mean()), error, sqnr_db(original, outputs))

    # ---- what the chosen one is worth

    def _finish(self, model: ir.Model, settings: PTQ, candidates: tuple[CandidateRow, ...]) -> Result:
        """Compile and run the chosen model, then read the report part."""
        self.progress("compile and count", 0, 1)
        artifact = self._measured(model, settings, thorough=True)
        self.progress("compile and count", 1, 1)
        report = self.prepared.split.report()
        checks = self._checked(artifact, report)
        comparison = self._compared(model, report)
        context = context_of(artifact.manifest)
        evidence = EvidenceSet(
            (
                *comparison.evidence("measured", context),
                *artifact.evidence.items,
                *check_evidence(checks, context),
                Evidence.exact("samples", len(report), "samples", "counted", context),
            )
        )
        layers = self._with_noise(artifact)
        details = artifact.details.model_copy(update={"layers": layers, "checks": checks, "candidates": candidates})
        verdicts = judge(self.budget, evidence)
        finished = with_verdicts(replace(artifact, evidence=evidence, details=details), verdicts)
        met = all(verdict.met for verdict in verdicts)
        return Result(finished if met else None, finished, verdicts, candidates)

    def _checked(self, artifact: Artifact, report: Indices) -> tuple[CheckRow, ...]:
        """The executors against each other; fails where they must agree and do not.

        Without a toolchain nothing compiled can be checked; a note says that there is none.
        """
        model, options = artifact.model, self.options
        most = max(options.host_samples, options.emulated_samples)
        samples = [as_inputs(model, feeds) for feeds in self.prepared.feeds(report[:most], batch=1)]
        compiled = (
            []
            if self.tools.target is None
            else check_compiled(
                model,
                artifact.package.files,
                artifact.manifest,
                self.tools,
                samples[: options.host_samples],
                emulated_samples=options.emulated_samples,
                progress=self.progress,
            )
        )
        checks = (*compiled, *outside_checks(model, samples[:OUTSIDE_SAMPLES]))
        require_passed(checks)
        return checks

    def _compared(self, model: ir.Model, report: Indices) -> Comparison:
        self.progress("report part", 0, 2)
        original = evaluate(self.prepared.model, self.prepared.feeds(report))
        self.progress("report part", 1, 2)
        outputs = evaluate(model, self.prepared.feeds(report))
        self.progress("report part", 2, 2)
        rng = generator(self.options.seed, "intervals")
        return compare(self.prepared.metric, original, outputs, self.prepared.labels(report), rng)

    def _with_noise(self, artifact: Artifact) -> tuple[LayerRow, ...]:
        """The layers with the signal-to-noise ratio of what each writes."""
        selection = self.prepared.split.selection[:SQNR_SAMPLES]
        noise = layer_sqnr(self.prepared.model, artifact.model, self.prepared.feeds(selection))
        program = artifact.package.planned.program
        written = [program.view(call.writes[0]).source for call in calls(program.entries[0].body)]
        return tuple(
            row.model_copy(update={"sqnr_db": noise.get(name)})
            for row, name in zip(artifact.details.layers, written, strict=True)
        )


def _feasibility(settings: PTQ, verdicts: Sequence[Verdict]) -> str:
    """One line on what the weights' storage means for the budget."""
    parts = []
    for verdict in verdicts:
        limit = show(verdict.line, verdict.limit)
        got = "no evidence" if verdict.evidence is None else show(verdict.line, verdict.evidence.high)
        parts.append(f"{verdict.line} {got} of {limit}{'' if verdict.met else ' (too much)'}")
    kind = "per channel" if settings.per_channel else "per tensor"
    judged = "feasible" if all(verdict.met for verdict in verdicts) else "infeasible"
    return f"{judged}, weights {kind}: {', '.join(parts)}"
