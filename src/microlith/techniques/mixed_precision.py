"""Mixed precision: the bits of each layer's weights by an integer program, from measured losses and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import onnx_ir as ir
from pydantic import Field, model_validator

from microlith.compile.lower import lower
from microlith.compile.plan import plan
from microlith.core.details import PrecisionOption, PrecisionPlan, PrecisionRow
from microlith.core.errors import BudgetUnmetError, InputError
from microlith.core.solver import Limit, least_loss
from microlith.device.profile import Device
from microlith.graph.layer_constants import rounded_constants, with_constants
from microlith.graph.metadata import set_precision_plan
from microlith.graph.values import Array, constant, input_at
from microlith.program.types import calls
from microlith.quant.schemes import Override, WeightType, weight_grid
from microlith.techniques.base import Context, Feeds, first_samples
from microlith.techniques.ptq import PTQ, Statistics
from microlith.techniques.sensitivity import MEASURES, Measure, outputs_of, sensitivities

_LAYERS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
Rounded = Mapping[str, tuple[Array | None, ...]]


class MixedPrecision(PTQ):
    """Post-training quantization in which each layer's weights get the bits that the whole network needs of them.

    The loss of every kind of weights in every layer is measured with that layer alone quantized; bytes and cycles are
    those of the device's own kernels. An integer program picks the kinds with the least sum of losses under the limits;
    what it picked is measured as a whole, and single layers are exchanged while that measures better.

    Attributes:
        kinds: of weights to choose from, widest first.
        weight_share: most bytes of weights, as a share of those at the first kind; None for no limit.
        cycles_share: most cycles, likewise; needs a device.
        measure: ``loss``, the divergence of the classes' probabilities, or ``sqnr``, the noise of the output.
        sensitivity_samples: most samples of the calibration set to measure losses on.
        repairs: most exchanges of single layers afterwards.
    """

    name: ClassVar[str] = "mixed_precision"
    paper: ClassVar[str] = (
        "Yao et al., HAWQ-V3: Dyadic Neural Network Quantization, ICML 2021, section 3.4 (integer program); losses are "
        "measured layer by layer instead of by second derivatives"
    )

    kinds: tuple[WeightType, ...] = ("int8", "int4")
    weight_share: float | None = Field(default=0.6, gt=0.0, le=1.0)
    cycles_share: float | None = Field(default=None, gt=0.0)
    measure: Measure = "loss"
    sensitivity_samples: int = Field(default=64, ge=1)
    repairs: int = Field(default=4, ge=0)
    weights: Literal["int8"] = "int8"

    @model_validator(mode="after")
    def _choices(self) -> Self:
        if len(self.kinds) < 2 or len(set(self.kinds)) < len(self.kinds):
            raise ValueError("kinds needs two or more different kinds of weights to choose from")
        if self.activations == "float":
            raise ValueError("losses are measured with integer activations; set activations to an integer type")
        return self

    def quantize(self, model: ir.Model, statistics: Statistics, context: Context) -> ir.Model:
        """Choose the kinds, and quantize with them.

        Raises:
            InputError: there is no data, or no layer with weights.
            BudgetUnmetError: no choice keeps the limits.
        """
        if context.data is None:
            raise InputError(f"{self.name} needs data to measure losses on", hint="Give --data.")
        search = _Search(self, model, statistics, context, first_samples(context.data(), self.sensitivity_samples))
        chosen, found = search.run()
        result = self.with_kinds(chosen).quantize(model, statistics, context)
        set_precision_plan(result, found)
        return result

    def with_kinds(self, kinds: Mapping[str, WeightType]) -> PTQ:
        """Plain quantization with these kinds of weights; the user's own overrides hold over them."""
        own = {name: getattr(self, name) for name in PTQ.model_fields}
        made = tuple(Override(match=_literally(name), weights=kind) for name, kind in kinds.items())
        return PTQ.model_validate(own | {"overrides": (*made, *self.overrides)})


def _literally(name: str) -> str:
    """A pattern that matches one name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@dataclass(frozen=True, eq=False)
class _Search:
    settings: MixedPrecision
    model: ir.Model
    statistics: Statistics
    context: Context
    batches: tuple[Feeds, ...]

    def run(self) -> tuple[dict[str, WeightType], PrecisionPlan]:
        layers = self._layers()
        names = [str(node.name) for node in layers]
        uniform = {kind: self._quantized(dict.fromkeys(names, kind)) for kind in self.settings.kinds}
        losses = self._losses(names, {kind: rounded_constants(model) for kind, model in uniform.items()})
        costs = {kind: self._costs(model, layers, kind) for kind, model in uniform.items()}
        rows = [
            tuple(PrecisionOption(kind=kind, loss=loss[kind], **costs[kind][name]) for kind in self.settings.kinds)
            for name, loss in zip(names, losses, strict=True)
        ]
        limits = self._limits(rows)
        picked = least_loss([[item.loss for item in row] for row in rows], list(limits.values()))
        if picked is None:
            least = sum(min(item.weight_bytes for item in row) for row in rows)
            raise BudgetUnmetError(
                f"no choice among {', '.join(self.settings.kinds)} keeps the limits; the least weights are {least:,} B"
            )
        picked, found, repairs = self._repaired(names, rows, list(limits.values()), picked)
        kinds = {name: self.settings.kinds[index] for name, index in zip(names, picked, strict=True)}
        return kinds, self._plan(layers, rows, picked, limits, found, repairs)

    def _layers(self) -> list[ir.Node]:
        kept = set(self.settings.float_ops)
        layers = [
            node
            for node in self.model.graph
            if node.op_type in _LAYERS
            and constant(input_at(node, 1)) is not None
            and node.name not in kept
            and node.op_type not in kept
        ]
        layers = [node for node in layers if not self._is_settled(node, layers)]
        if not layers:
            raise InputError("the model has no layer whose precision could be chosen")
        return layers

    def _is_settled(self, node: ir.Node, layers: Sequence[ir.Node]) -> bool:
        """Whether an override of the user's states this layer's weights."""
        ends = {layers[0]: "first", layers[-1]: "last"} if len(layers) > 1 else {layers[0]: "both"}
        return any(
            item.weights is not None and item.selects(str(node.name), node.op_type, ends.get(node))
            for item in self.settings.overrides
        )

    def _quantized(self, kinds: Mapping[str, WeightType]) -> ir.Model:
        return self.settings.with_kinds(kinds).quantize(self.model, self.statistics, self.context)

    def _losses(self, names: Sequence[str], rounded: Mapping[str, Rounded]) -> list[dict[str, float]]:
        return sensitivities(
            self.model,
            names,
            rounded,
            self.batches,
            self.settings.measure,
            lambda done, total: self.context.progress("sensitivity", done, total),
        )

    def _costs(self, model: ir.Model, layers: Sequence[ir.Node], kind: WeightType) -> dict[str, dict[str, Any]]:
        if self.context.device is not None:
            return _device_costs(model, self.context.device, {str(node.name) for node in layers})
        return {str(node.name): {"weight_bytes": _bits_as_bytes(node, kind)} for node in layers}

    def _limits(self, rows: Sequence[tuple[PrecisionOption, ...]]) -> dict[str, Limit]:
        """By ``bytes`` and ``cycles``, where the settings limit them."""
        limits = {}
        if self.settings.weight_share is not None:
            sizes = [[float(item.weight_bytes) for item in row] for row in rows]
            limits["bytes"] = Limit(sizes, self.settings.weight_share * sum(row[0] for row in sizes))
        if self.settings.cycles_share is not None:
            if any(item.cycles is None for row in rows for item in row):
                raise InputError("a limit of cycles needs a device", hint="Name one with --device.")
            times = [[item.cycles or 0.0 for item in row] for row in rows]
            limits["cycles"] = Limit(times, self.settings.cycles_share * sum(row[0] for row in times))
        return limits

    def _repaired(
        self,
        names: Sequence[str],
        rows: Sequence[tuple[PrecisionOption, ...]],
        limits: Sequence[Limit],
        picked: tuple[int, ...],
    ) -> tuple[tuple[int, ...], float, int]:
        """The choice after exchanges that measure better as a whole, its loss, and how many were made."""
        exact = outputs_of(self.model, self.batches)

        def measured(choice: Sequence[int]) -> float:
            kinds = {name: self.settings.kinds[index] for name, index in zip(names, choice, strict=True)}
            constants = rounded_constants(self._quantized(kinds))
            changed = with_constants(self.model, {name: constants[name] for name in names})
            return MEASURES[self.settings.measure](exact, outputs_of(changed, self.batches))

        loss, repairs = measured(picked), 0
        for done in range(self.settings.repairs):
            self.context.progress("repair", done, self.settings.repairs)
            other = _exchange(rows, limits, picked, done)
            if other is None:
                break
            found = measured(other)
            if found < loss:
                picked, loss, repairs = other, found, repairs + 1
        self.context.progress("repair", self.settings.repairs, self.settings.repairs)
        return picked, loss, repairs

    def _plan(
        self,
        layers: Sequence[ir.Node],
        rows: Sequence[tuple[PrecisionOption, ...]],
        picked: Sequence[int],
        limits: Mapping[str, Limit],
        found: float,
        repairs: int,
    ) -> PrecisionPlan:
        made = tuple(
            PrecisionRow(
                layer=str(node.name),
                op=node.op_type,
                chosen=row[index].kind,
                options=row,
                why=_why(row, index),
            )
            for node, row, index in zip(layers, rows, picked, strict=True)
        )
        return PrecisionPlan(
            measure=self.settings.measure,
            samples=sum(max(len(array) for array in feeds.values()) for feeds in self.batches),
            rows=made,
            most_bytes=limits["bytes"].most if "bytes" in limits else None,
            most_cycles=limits["cycles"].most if "cycles" in limits else None,
            expected_loss=sum(row[index].loss for row, index in zip(rows, picked, strict=True)),
            found_loss=found,
            repairs=repairs,
        )


def _exchange(
    rows: Sequence[tuple[PrecisionOption, ...]], limits: Sequence[Limit], picked: tuple[int, ...], rank: int
) -> tuple[int, ...] | None:
    """The best choice in which the layer with the ``rank``-th greatest loss is one kind wider."""
    order = sorted(range(len(rows)), key=lambda i: -rows[i][picked[i]].loss)
    narrow = [index for index in order if picked[index] > 0]
    if rank >= len(narrow):
        return None
    forced = narrow[rank]
    losses = [[item.loss for item in row] for row in rows]
    widest = math.fsum(max(row) for row in losses) + 1.0
    losses[forced] = [
        value if index == picked[forced] - 1 else value + widest for index, value in enumerate(losses[forced])
    ]
    found = least_loss(losses, limits)
    return found if found is not None and found[forced] == picked[forced] - 1 else None


def _why(row: Sequence[PrecisionOption], index: int) -> str:
    taken, first = row[index], row[0]
    if index == 0:
        narrower = min(row[1:], key=lambda item: item.loss)
        saved = taken.weight_bytes - narrower.weight_bytes
        return f"{narrower.kind} would save {saved:,} B and add a loss of {narrower.loss - taken.loss:.2g}"
    saved = first.weight_bytes - taken.weight_bytes
    return f"saves {saved:,} B against {first.kind} and adds a loss of {taken.loss - first.loss:.2g}"


def _bits_as_bytes(node: ir.Node, kind: WeightType) -> int:
    weights = constant(input_at(node, 1))
    assert weights is not None
    return math.ceil(weights.size * math.log2(weight_grid(kind).values) / 8)


def _device_costs(model: ir.Model, device: Device, names: set[str]) -> dict[str, dict[str, Any]]:
    """Stored bytes and modelled cycles of the layers, as the compiler would run them."""
    planned = plan(lower(model, "model"), device)
    found = {name: {"weight_bytes": 0, "cycles": 0.0} for name in names}
    for call, item in zip(calls(planned.program.entries[0].body), planned.chosen, strict=True):
        for name in names.intersection(call.source_nodes):
            stored = {ref.id for ref in call.consts.values()}
            found[name]["weight_bytes"] += sum(planned.program.storage[key].bytes for key in stored)
            found[name]["cycles"] += float(item.cycles)
    return found
