"""A made-up but plausible run, for tests and for looking at the page: ``python tests/report/example_run.py DIR``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from microlith.core.details import (
    BufferRow,
    CandidateRow,
    CheckRow,
    LayerRow,
    MemoryPlanRow,
    PassRow,
    RegionRow,
    RunDetails,
    TradeRow,
    VerdictRow,
)
from microlith.core.evidence import Evidence, EvidenceSet
from microlith.core.statistics import paired_difference, wilson
from microlith.report.load import Run

CONTEXT = {
    "device": "nrf52840",
    "compiler": "clang 19.1.7 (zig 0.15)",
    "flags": "-O3 -mcpu=cortex_m4+vfp4d16sp -ffreestanding",
    "artifact": "3f7a9c21d0be",
}
_BLOCKS = [(48, 8, 24), (24, 16, 24), (24, 24, 12), (12, 32, 12), (12, 32, 6), (6, 64, 6)]


def layers() -> tuple[LayerRow, ...]:
    """A small MobileNet."""
    rng = np.random.default_rng(4)
    rows = [_layer(0, "stem/conv_relu", "conv2d", "s8_conv2d__dsp_2x2", 48, 8, 27, 3.6, rng)]
    for block, (side, channels, out_side) in enumerate(_BLOCKS):
        name = f"block{block + 1}"
        wider = channels * 2 if block % 2 else channels
        rows.append(
            _layer(
                len(rows),
                f"{name}/depthwise",
                "depthwise_conv2d",
                "s8_depthwise_conv2d__dsp",
                out_side,
                channels,
                9,
                7.2,
                rng,
            )
        )
        rows.append(
            _layer(len(rows), f"{name}/pointwise", "conv2d", "s8_conv2d__dsp_2x2", out_side, wider, channels, 1.7, rng)
        )
        assert side >= out_side
    rows.append(_layer(len(rows), "pool", "reduce_mean", "s8_reduce_mean__portable", 1, 128, 0, 0, rng))
    rows.append(_layer(len(rows), "classifier", "fully_connected", "s8_fully_connected__dsp", 1, 10, 128, 2.1, rng))
    rows.append(_layer(len(rows), "softmax", "softmax", "s8_softmax__portable", 1, 10, 0, 0, rng))
    return tuple(rows)


def _layer(
    index: int,
    name: str,
    op: str,
    kernel: str,
    side: int,
    channels: int,
    depth: int,
    per_mac: float,
    rng: np.random.Generator,
) -> LayerRow:
    outputs = side * side * channels
    macs = outputs * depth
    instructions = round(macs * per_mac + outputs * 11 + 300)
    return LayerRow(
        index=index,
        name=name,
        op=op,
        kernel=kernel,
        why="fewest modelled cycles of 3 that fit" if "dsp" in kernel else "the only kernel of this op",
        output_shape=(1, side, side, channels) if side > 1 else (1, channels),
        macs=macs,
        weight_bytes=depth * channels + 4 * channels if depth else 0,
        instructions=instructions,
        cycles=round(instructions * 1.21),
        sqnr_db=float(36 - 0.9 * index + rng.normal(0, 1.4)),
        expected_cycles=1.25 * instructions,
        expected_by="estimate",
        bound=0.5 * macs + 4.5 * outputs if macs else None,
        read_bytes=outputs,
        written_bytes=outputs,
    )


def memory(rows: tuple[LayerRow, ...]) -> tuple[BufferRow, ...]:
    """Every output lives until the next layer has read it; they lie at both ends in turn."""
    sizes = [int(np.prod(row.output_shape)) for row in rows]
    top = 27648
    plan = [BufferRow(name="input", space="ram", offset=top - 2304, bytes=2304, first=0, last=0)]
    for index, size in enumerate(sizes):
        offset = 0 if index % 2 == 0 else top - size
        last = min(index + 1, len(sizes) - 1)
        plan.append(BufferRow(name=rows[index].name, space="ram", offset=offset, bytes=size, first=index, last=last))
    return tuple(plan)


def evidence() -> EvidenceSet:
    """All metrics that a full run produces."""
    first = np.ones(1000, bool)
    first[885:] = False
    second = first.copy()
    second[:9] = False
    second[990:995] = True
    agreement = wilson(983, 1000)
    rows = layers()
    instructions = sum(row.instructions or 0 for row in rows) + 1840
    cycles = sum(row.cycles or 0 for row in rows) + 2300
    exact = Evidence.exact
    return EvidenceSet(
        (
            wilson(int(first.sum()), 1000).evidence("accuracy_float", "fraction", "measured", {"device": "host"}),
            wilson(int(second.sum()), 1000).evidence("accuracy", "fraction", "measured", CONTEXT),
            paired_difference(first, second).scaled(100).evidence("accuracy_drop", "pp", "measured", CONTEXT),
            agreement.evidence("agreement", "fraction", "measured", CONTEXT),
            exact("flash_bytes", 71236, "B", "counted", CONTEXT),
            exact("ram_bytes", 30212, "B", "counted", CONTEXT),
            exact("arena_bytes", 27648, "B", "counted", CONTEXT),
            exact("stack_bytes", 612, "B", "emulated", CONTEXT),
            exact("macs", sum(row.macs for row in rows), "MAC", "counted"),
            exact("instructions", instructions, "instructions", "emulated", CONTEXT),
            exact("cycles", cycles, "cycles", "modelled", {**CONTEXT, "table": "Cortex-M4, zero wait states"}),
            exact("latency_s", cycles / 64e6, "s", "modelled", {**CONTEXT, "clock_hz": "64000000"}),
            exact("bit_exact", 1, "", "emulated", CONTEXT),
            exact("samples", 100, "samples", "emulated", CONTEXT),
        )
    )


def details(figures: EvidenceSet, *, ram_limit: float = 32768) -> RunDetails:
    """A run whose budget is met, unless the RAM limit is set too low."""
    rows = layers()
    return RunDetails(
        model="fashion_cnn",
        device="nrf52840",
        device_title="Nordic nRF52840 (Cortex-M4F, 64 MHz)",
        command="microlith optimize fashion_cnn.onnx --device nrf52840 --data fashion.npz "
        "--max-drop 2pp --flash 128K --ram 32K --latency 150ms -o out",
        metric="accuracy",
        requantization="float",
        toolchain=CONTEXT["compiler"],
        flags=CONTEXT["flags"],
        verdicts=tuple(
            _verdict(figures, *line)
            for line in (
                ("max_drop", "accuracy_drop", 2.0),
                ("flash", "flash_bytes", 131072.0),
                ("ram", "ram_bytes", ram_limit),
                ("latency", "latency_s", 0.15),
            )
        ),
        layers=rows,
        layer_remainder_instructions=1840,
        trades=(
            _trade("s8_conv2d__dsp_winograd_2x2", 12_400.0, 5_888, taken=True),
            _trade("s8_conv2d__dsp_int16", 1_200.0, 864, taken=False),
        ),
        opt="balanced",
        memory=memory(rows),
        arena_bound_bytes=27648,
        memory_plan=MemoryPlanRow(
            peak_layer="block1/depthwise, block1/project",
            peak_bytes=27648,
            arena_bytes=27664,
            bound_bytes=27648,
            order_peak_bytes=36864,
            order_bound_bytes=36864,
            in_place=9,
            regions=(RegionRow(first=1, last=2, rows=2, ring_rows={"block1/depthwise": 3}),),
        ),
        passes=(
            PassRow(name="InferShapes", changes=41, nodes_before=44, nodes_after=44),
            PassRow(name="FoldConstants", changes=3, nodes_before=44, nodes_after=41, note="3 shape computations"),
            PassRow(name="EliminateIdentities", changes=2, nodes_before=41, nodes_after=39, note="Dropout, Identity"),
            PassRow(name="FoldBatchNormIntoConv", changes=13, nodes_before=39, nodes_after=26),
            PassRow(name="PlaceQuantization", changes=31, nodes_before=26, nodes_after=88, note="int8, per channel"),
        ),
        candidates=(
            CandidateRow(settings=_settings("min-max", "no", "affine"), metric=0.861, note="7 of 250 samples worse"),
            CandidateRow(settings=_settings("min-max", "yes", "affine"), metric=0.881),
            CandidateRow(
                settings=_settings("percentile 99.99", "yes", "affine"),
                metric=0.884,
                chosen=True,
                note="best, and within the budget",
            ),
            CandidateRow(settings=_settings("MSE", "yes", "symmetric"), metric=0.88),
        ),
        checks=(
            CheckRow(
                what="NumPy specification = host C",
                samples=100,
                elements=1000,
                differing=0,
                worst=0,
                bound=0,
                passed=True,
            ),
            CheckRow(
                what="host C = emulated C", samples=100, elements=1000, differing=0, worst=0, bound=0, passed=True
            ),
            CheckRow(
                what="ONNX Runtime, layer by layer",
                samples=20,
                elements=1284500,
                differing=137,
                worst=1,
                bound=1,
                passed=True,
            ),
        ),
        notes=(
            "Cycles are modelled with zero wait states; on a board with flash wait states expect some 1.25 to "
            "1.4 times as many.",
        ),
    )


def _trade(kernel: str, cycles: float, flash_bytes: int, *, taken: bool) -> TradeRow:
    return TradeRow(
        layer=2,
        kernel=kernel,
        against="s8_conv2d__dsp_2x2",
        cycles=cycles,
        flash_bytes=flash_bytes,
        scratch_bytes=1_312,
        taken=taken,
    )


def _settings(calibration: str, per_channel: str, scheme: str) -> dict[str, str]:
    return {"calibration": calibration, "per channel": per_channel, "activations": scheme}


def _verdict(figures: EvidenceSet, line: str, metric: str, limit: float) -> VerdictRow:
    item = figures.get(metric)
    assert item is not None
    return VerdictRow(
        line=line,
        metric=metric,
        limit=limit,
        value=item.value,
        pessimistic=item.high,
        unit=item.unit,
        how=item.how,
        met=item.high <= limit,
    )


def bare() -> RunDetails:
    """A run without toolchain, data or emulator: nothing was counted."""
    rows = [row.model_copy(update={"instructions": None, "cycles": None, "sqnr_db": None}) for row in layers()]
    return RunDetails(model="fashion_cnn", device="rp2040", device_title="Raspberry Pi RP2040", layers=tuple(rows))


def runs() -> tuple[Run, Run]:
    """Two runs, the second with a smaller RAM limit and without some evidence."""
    figures = evidence()
    fewer = EvidenceSet(tuple(item for item in figures.items if item.metric not in ("cycles", "latency_s"))[:-3])
    return Run("out", details(figures), figures), Run("out2", details(figures, ram_limit=8192), fewer)


def main(folder: Path) -> None:
    """Write the pages into a folder."""
    from microlith.report.html import render, render_comparison

    figures = evidence()
    (folder / "report.html").write_text(render(details(figures), figures))
    (folder / "missed.html").write_text(render(details(figures, ram_limit=8192), figures))
    (folder / "bare.html").write_text(render(bare(), EvidenceSet((Evidence.exact("macs", 2e6, "MAC", "counted"),))))
    (folder / "comparison.html").write_text(render_comparison(runs()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
