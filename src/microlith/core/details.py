"""What a run knows beyond its figures: layers, memory, passes, candidates. It is kept as ``details.json``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class LayerRow(_Row):
    """One kernel call.

    Attributes:
        index: position in the program.
        name: of the graph nodes that it computes.
        op: op of the Program.
        kernel: chosen kernel.
        why: why that kernel.
        output_shape: in N,H,W,C order.
        macs: multiply-accumulates.
        weight_bytes: stored constants.
        instructions: counted in the emulator; None where it did not run.
        cycles: modelled from the instructions; None where the core's table gives none.
        sqnr_db: signal to quantization noise of its output against the float model; None where not computed.
        schedule: of the kernel; empty where it has one only.
        expected_cycles: what the choice of the kernel reckoned with.
        expected_by: ``estimate`` by the cost model, or ``tuning``.
        bound: least cycles, or instructions where the core has no table, that the instruction set allows; see
            :mod:`microlith.compile.bound`.
        read_bytes: of activations.
        written_bytes: likewise.
    """

    index: int
    name: str
    op: str
    kernel: str
    why: str = ""
    output_shape: tuple[int, ...]
    macs: int
    weight_bytes: int
    instructions: int | None = None
    cycles: int | None = None
    sqnr_db: float | None = None
    schedule: str = ""
    expected_cycles: float | None = None
    expected_by: str = ""
    bound: float | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None


class TradeRow(_Row):
    """Cycles for bytes: what a faster way to run one layer costs.

    Attributes:
        layer: its index.
        kernel: the faster way, with its schedule.
        against: the smaller way.
        cycles: saved.
        flash_bytes: more.
        scratch_bytes: more, of RAM while the layer runs.
        taken: whether it is what was compiled; an offer otherwise.
    """

    layer: int
    kernel: str
    against: str
    cycles: float
    flash_bytes: int
    scratch_bytes: int
    taken: bool


class PrecisionOption(_Row):
    """A kind of weights that a layer could have.

    Attributes:
        kind: of weights.
        loss: what it alone costs the network, in the unit of the measure.
        weight_bytes: stored weights and biases.
        cycles: modelled, of the layer; None without a device.
    """

    kind: str
    loss: float
    weight_bytes: int
    cycles: float | None = None


class PrecisionRow(_Row):
    """What precision a layer got, and what else it could have.

    Attributes:
        layer: name of the node.
        op: its type.
        chosen: kind of weights.
        options: all kinds.
        why: reason in words.
    """

    layer: str
    op: str
    chosen: str
    options: tuple[PrecisionOption, ...]
    why: str = ""


class PrecisionPlan(_Row):
    """How the precision of each layer was chosen.

    Attributes:
        measure: how losses were measured.
        samples: on how many samples.
        rows: the layers, in order.
        most_bytes: limit on the weights; None without one.
        most_cycles: likewise on cycles.
        expected_loss: sum of the losses of what was chosen.
        found_loss: loss of all of it together, measured.
        repairs: changes made after that because they measured better.
    """

    measure: str
    samples: int
    rows: tuple[PrecisionRow, ...]
    most_bytes: float | None
    most_cycles: float | None
    expected_loss: float
    found_loss: float
    repairs: int


class BufferRow(_Row):
    """One item of the memory plan: ``bytes`` at ``offset`` of ``space`` from step ``first`` to step ``last``."""

    name: str
    space: str
    offset: int
    bytes: int
    first: int
    last: int


class RegionRow(_Row):
    """Calls that run together, a few rows at a time.

    Attributes:
        first: position of the first call.
        last: position of the last.
        rows: output rows of the last call in each turn.
        ring_rows: rows that are held between the calls, by tensor.
    """

    first: int
    last: int
    rows: int
    ring_rows: dict[str, int]


class MemoryPlanRow(_Row):
    """How the memory plan came about.

    Attributes:
        peak_layer: the call, or the calls that run together, during which the most bytes are alive.
        peak_bytes: alive then, every permitted overlap taken as complete.
        arena_bytes: of the plan.
        bound_bytes: least arena that any placement of these buffers in this order could reach.
        order_peak_bytes: most bytes alive in this order, were every call run by itself.
        order_bound_bytes: what that is in no order less than; the same where the order is proven to be best.
        in_place: results that lie over an input.
        regions: calls that run together.
    """

    peak_layer: str
    peak_bytes: int
    arena_bytes: int
    bound_bytes: int
    order_peak_bytes: int
    order_bound_bytes: int
    in_place: int
    regions: tuple[RegionRow, ...] = ()


class PassRow(_Row):
    """What one graph pass did.

    Attributes:
        name: of the pass.
        changes: places changed.
        nodes_before: number of nodes.
        nodes_after: likewise.
        note: what was done.
        macs_before: multiply-accumulates of one inference; None where not measured or not known.
        macs_after: likewise.
        weight_bytes_before: constants in use.
        weight_bytes_after: likewise.
        peak_activation_bytes_before: most bytes of tensors alive at one node, where nothing is computed in place.
        peak_activation_bytes_after: likewise.
    """

    name: str
    changes: int
    nodes_before: int
    nodes_after: int
    note: str = ""
    macs_before: int | None = None
    macs_after: int | None = None
    weight_bytes_before: int | None = None
    weight_bytes_after: int | None = None
    peak_activation_bytes_before: int | None = None
    peak_activation_bytes_after: int | None = None


class FusionRow(_Row):
    """What lowering joined: ``count`` nodes of one ``kind`` that became no kernel call of their own."""

    kind: str
    count: int
    note: str = ""


class CandidateRow(_Row):
    """One recipe that was tried.

    Attributes:
        settings: of the recipe, as text.
        metric: on the selection part.
        chosen: whether it is the one that was exported.
        note: why it was not, or what it costs.
    """

    settings: dict[str, str]
    metric: float
    chosen: bool = False
    note: str = ""


class VerdictRow(_Row):
    """One budget line judged; figures in the metric's unit, None where there is no evidence."""

    line: str
    metric: str
    limit: float
    value: float | None
    pessimistic: float | None
    unit: str
    how: str
    met: bool


class CheckRow(_Row):
    """One comparison of two executors.

    Attributes:
        what: the two sides.
        samples: inputs compared.
        elements: values compared.
        differing: values that differ.
        worst: largest difference, in quanta (integers) or relative to the largest value (floats).
        bound: what was allowed.
        passed: whether it holds.
    """

    what: str
    samples: int
    elements: int
    differing: int
    worst: float
    bound: float
    passed: bool


Figures = tuple[float, float, float]
"""A figure and the ends of its 95% interval."""


class RuntimeRow(_Row):
    """The model in one runtime.

    Attributes:
        runtime: its name; also ``original model`` and ``specification`` (the NumPy reference).
        version: of the runtime or the compiler.
        missing: why it was not run, and what to do about it; empty where it was.
        size_bytes: of what the runtime is given; None where that is nothing of its own.
        size_of: what that is.
        samples: inputs that ran.
        metric: figure of merit on these samples; None without labels and original model.
        agreement: of the top-1 output with the original model's; None where that is not known.
        elements: output values compared with the specification.
        differing: values that differ.
        worst: largest difference, in quanta of integers, as it is of floats.
        remarks: what the runtime was given otherwise than the graph says.
    """

    runtime: str
    version: str = ""
    missing: str = ""
    size_bytes: int | None = None
    size_of: str = ""
    samples: int = 0
    metric: Figures | None = None
    agreement: Figures | None = None
    elements: int = 0
    differing: int = 0
    worst: float = 0.0
    remarks: tuple[str, ...] = ()


class RunDetails(_Row):
    """Everything that the report shows beside ``evidence.json``.

    Attributes:
        model: name of the model.
        device: profile name.
        device_title: as the vendor writes it.
        command: what was run, without machine paths.
        metric: ``accuracy``, ``auc``, ``mse`` or ``agreement``.
        requantization: of the artifact.
        toolchain: compiler and version; empty without one.
        flags: compiler flags.
        verdicts: budget lines; empty without a budget.
        layers: in order.
        layer_remainder_instructions: executed outside every layer.
        trades: cycles for bytes, paid and on offer.
        opt: what kernels were chosen for: ``size``, ``balanced`` or ``speed``.
        memory: the memory plan.
        memory_plan: how it came about; None where nothing was planned.
        arena_bound_bytes: least arena that any placement of these buffers in this order could reach.
        passes: in order.
        fusions: what lowering joined.
        candidates: recipes tried.
        checks: executors compared.
        precision: how the precision of each layer was chosen; None where all have the same.
        runtimes: the model in other runtimes, where that was asked for.
        runtimes_metric: what their figures of merit are.
        notes: what the reader must know, such as a selection made on the calibration part.
    """

    schema_version: Literal[1] = 1
    model: str
    device: str
    device_title: str
    command: str = ""
    metric: str = ""
    requantization: str = ""
    toolchain: str = ""
    flags: str = ""
    verdicts: tuple[VerdictRow, ...] = ()
    layers: tuple[LayerRow, ...] = ()
    layer_remainder_instructions: int | None = None
    trades: tuple[TradeRow, ...] = ()
    opt: str = ""
    memory: tuple[BufferRow, ...] = ()
    arena_bound_bytes: int | None = None
    memory_plan: MemoryPlanRow | None = None
    passes: tuple[PassRow, ...] = ()
    fusions: tuple[FusionRow, ...] = ()
    candidates: tuple[CandidateRow, ...] = ()
    checks: tuple[CheckRow, ...] = ()
    precision: PrecisionPlan | None = None
    runtimes: tuple[RuntimeRow, ...] = ()
    runtimes_metric: str = ""
    notes: tuple[str, ...] = Field(default=())
