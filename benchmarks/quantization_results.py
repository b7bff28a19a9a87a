"""Accuracy of quantized models, a row for each model and way to quantize it; writes docs/results/quantization.md.

    make results-quantization MODELS=MODELS DATA=DATA
    python benchmarks/quantization_results.py --models MODELS --data DATA [--only TEXT] [--again]

MODELS holds the MLPerf Tiny reference models in float (``mobilenetv1_vww_float.onnx``, ``dscnn_kws_float.tflite``,
``resnet8_float.onnx``), DATA the arrays ``vww96.npz``, ``speech_commands_mfcc49x10.npz`` and
``cifar10_lossless500.npz``. Each row is kept in ``benchmarks/results/quantization.json`` as soon as it is there, and
a row that is there is not computed again, so that an interrupted run goes on where it was.

Some samples calibrate, all others report. No row chooses anything by the report samples; but that weights of 4 bits
keep their whole range by default was settled after rows of this table had been seen. Accuracy is that of the integer
reference, which the C equals bit for bit, and of ONNX Runtime on the same file. Drops are paired, with 95% intervals.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

import microlith as ml
from microlith.core.files import write_text
from microlith.core.random import generator
from microlith.data.metrics import ACCURACY, compare
from microlith.data.split import Split
from microlith.graph.export import export_model
from microlith.graph.feeds import as_inputs
from microlith.graph.metadata import io_qparams
from microlith.graph.save import model_bytes
from microlith.quant.types import QArray
from microlith.search.prepare import evaluate, optimize_graph
from microlith.techniques import technique
from microlith.techniques.base import Context
from microlith.techniques.recipe import Recipe, run_recipe
from microlith.verify.outside import raw_session

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "benchmarks" / "results" / "quantization.json"
PAGE = ROOT / "docs" / "results" / "quantization.md"
BATCH = 16


@dataclass(frozen=True)
class Task:
    """A model with its data.

    Attributes:
        title: for people.
        file: of the model.
        data: file of the samples.
        calibration: samples that calibrate.
        bars: greatest drop allowed in points, by the widths of weights and activations.
    """

    title: str
    file: str
    data: str
    calibration: int
    bars: Mapping[str, float]


TASKS = {
    "vww": Task(
        "MobileNetV1-0.25, Visual Wake Words", "mobilenetv1_vww_float.onnx", "vww96", 200, {"W8A8": 0.5, "W4A8": 2.0}
    ),
    "dscnn": Task(
        "DS-CNN, keyword spotting",
        "dscnn_kws_float.tflite",
        "speech_commands_mfcc49x10",
        512,
        {"W8A8": 0.5, "W4A8": 2.0},
    ),
    "resnet8": Task("ResNet-8, CIFAR-10", "resnet8_float.onnx", "cifar10_lossless500", 100, {"W8A8": 0.5, "W4A8": 2.5}),
}

ENDS = [{"layers": "first", "weights": "int8"}, {"layers": "last", "weights": "int8"}]
FOUR: dict[str, Any] = {"weights": "int4", "overrides": ENDS}
Steps = Sequence[tuple[str, Mapping[str, Any]]]

WAYS: dict[tuple[str, str], Steps] = {
    ("W8A8", "ptq"): [("ptq", {})],
    ("W8A8", "ptq, one weight scale a tensor"): [("ptq", {"per_channel": False})],
    ("W8A8", "equalize, ptq, one weight scale a tensor"): [("equalize", {}), ("ptq", {"per_channel": False})],
    ("W8A8", "equalize, ptq, correct_biases, one weight scale a tensor"): [
        ("equalize", {}),
        ("ptq", {"per_channel": False}),
        ("correct_biases", {}),
    ],
    ("W4A8", "ptq, nearest, minmax weights"): [("ptq", FOUR)],
    ("W4A8", "ptq, nearest, mse weights"): [("ptq", FOUR | {"weights_calibration": "mse"})],
    ("W4A8", "ptq, correct_biases"): [("ptq", FOUR), ("correct_biases", {})],
    ("W4A8", "gptq"): [("gptq", FOUR)],
    ("W4A8", "gptq, correct_biases"): [("gptq", FOUR), ("correct_biases", {})],
    ("W4A8", "adaround"): [("adaround", FOUR)],
    ("W4A8", "adaround, correct_biases"): [("adaround", FOUR), ("correct_biases", {})],
}


INTRODUCTION = """\
Written by `make results-quantization`; benchmarks/quantization_results.py says with which models and data, and how.
W4A8 has weights of 4 bits everywhere but in the first and the last layer. A drop is that of top-1 accuracy in
percentage points against the float model on the report samples, with its paired 95% interval; with fewer than 2,000 of
them a bar is met where the lower end is within it and 97% of the answers or more are the float model's. That weights of
4 bits keep their whole range by default was settled after the first two rows of W4A8, and GPTQ and AdaRound with either
range, had been seen on these samples. The penalty of AdaRound was settled by the error of layers on 100 images of VWW
without labels, of which some are among its report samples.
"""


def load_task(task: Task, models: Path, data: Path) -> tuple[ir.Model, Array, Array]:
    """The float graph after its passes, its inputs, and classes."""
    model, _ = optimize_graph(ml.load(models / task.file))
    with np.load(data / f"{task.data}.npz") as arrays:
        inputs, labels = np.asarray(arrays["x"], np.float32), np.asarray(arrays["y"])
    (value,) = model.graph.inputs
    shape = [int(size) for size in value.shape or ()][1:]
    if "vww" in task.data:
        inputs /= np.float32(255)
    if inputs.ndim == 4 and shape[0] == 3:
        inputs = inputs.transpose(0, 3, 1, 2)
    return model, np.ascontiguousarray(inputs).reshape(-1, *shape), labels


def outside(model: ir.Model, feeds: Sequence[Mapping[str, Array]]) -> Array:
    """ONNX Runtime's outputs for the nodes as they are written, as real numbers."""
    session = raw_session(model_bytes(export_model(model)), fused=False)
    name = session.get_outputs()[0].name
    qparams, found = io_qparams(model, name), []
    for batch in feeds:
        given = as_inputs(model, batch)
        for index in range(len(next(iter(given.values())))):
            one = {key: array[index : index + 1] for key, array in given.items()}
            found.append(session.run([name], one)[0])
    result = np.concatenate(found)
    return result if qparams is None else QArray(result, qparams).dequantize()


def measure(task: Task, steps: Steps, models: Path, data: Path) -> dict[str, Any]:
    """One row: quantize, evaluate, compare."""
    model, inputs, labels = load_task(task, models, data)
    (value,) = model.graph.inputs
    name = str(value.name)
    split = Split.of(len(inputs), calibration=task.calibration, selection=0)
    chosen, report = split.calibration, split.report()

    def batches(indices: Array) -> list[dict[str, Array]]:
        return [{name: inputs[indices[start : start + BATCH]]} for start in range(0, len(indices), BATCH)]

    recipe = Recipe(tuple(technique(step, **settings) for step, settings in steps))
    begun = time.monotonic()
    quantized = run_recipe(model, recipe, Context(data=lambda: batches(chosen), rng=generator(0, "results")))
    seconds = time.monotonic() - begun
    feeds = batches(report)
    original, found = evaluate(model, feeds), evaluate(quantized, feeds)
    comparison = compare(ACCURACY, original, found, labels[report], generator(0, "intervals"))
    other = compare(ACCURACY, original, outside(quantized, feeds), labels[report], generator(0, "intervals"))
    assert comparison.agreement is not None, "these models have classes"
    return {
        "calibration": len(chosen),
        "report": len(report),
        "float": comparison.reference.value,
        "accuracy": comparison.value.value,
        "drop_pp": [comparison.drop.value, comparison.drop.low, comparison.drop.high],
        "agreement": comparison.agreement.value,
        "onnxruntime": other.value.value,
        "seconds": seconds,
        "recipe": recipe.to_yaml(),
    }


def is_met(row: Mapping[str, Any], bar_pp: float) -> bool:
    """Whether a drop is within its bar: its lower end, with an agreement of 97%, below 2,000 samples, else itself."""
    drop, low, _ = row["drop_pp"]
    return bool(drop <= bar_pp if row["report"] >= 2000 else low <= bar_pp and row["agreement"] >= 0.97)


def page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The document."""
    lines = ["# Results of quantization", "", *INTRODUCTION.splitlines()]
    for key, task in TASKS.items():
        own = {way: rows[f"{key} {' '.join(way)}"] for way in WAYS if f"{key} {' '.join(way)}" in rows}
        if not own:
            continue
        first = next(iter(own.values()))
        lines += [
            "",
            f"## {task.title}",
            "",
            f"{first['calibration']} samples calibrate, {first['report']} report; float {100 * first['float']:.2f}%.",
            "",
            "| widths | way | accuracy | drop, pp | agreement | in ONNX Runtime | bar, pp | met | quantized in |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for (widths, way), row in own.items():
            drop, low, high = row["drop_pp"]
            tensor = "a tensor" in way
            bar = 2.0 if tensor else task.bars[widths]
            lines.append(
                f"| {widths} | {way} | {100 * row['accuracy']:.2f}% | {drop:+.2f} ({low:+.2f} to {high:+.2f}) "
                f"| {100 * row['agreement']:.2f}% | {100 * row['onnxruntime']:.2f}% | {bar:.1f} "
                f"| {'yes' if is_met(row, bar) else 'no'} | {row['seconds']:.0f} s |"
            )
    total = sum(row["seconds"] for row in rows.values())
    lines += ["", f"Quantizing took {total / 60:.0f} minutes in all."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compute the rows that are missing, one at a time."""
    parser = argparse.ArgumentParser(description="Accuracy of quantized models.")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--again", action="store_true", help="compute rows that are there already, too")
    given = parser.parse_args()
    rows: dict[str, dict[str, Any]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for key, task in TASKS.items():
        for way, steps in WAYS.items():
            name = f"{key} {' '.join(way)}"
            if given.only not in name or (name in rows and not given.again):
                continue
            rows[name] = measure(task, steps, given.models, given.data)
            row = rows[name]
            print(
                f"{name}: {100 * row['accuracy']:.2f}% ({row['drop_pp'][0]:+.2f} pp), agreement "
                f"{100 * row['agreement']:.2f}%, ONNX Runtime {100 * row['onnxruntime']:.2f}%, {row['seconds']:.0f} s",
                flush=True,
            )
            write_text(KEPT, json.dumps(rows, indent=1, sort_keys=True) + "\n")
    write_text(PAGE, page(rows))


if __name__ == "__main__":
    main()
