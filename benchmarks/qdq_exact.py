"""Compiled ``.onnx`` models against ONNX Runtime: quantized ones (Q/DQ) layer by layer and from end to end, float ones.

    python benchmarks/qdq_exact.py MODELS --data DATA [--limit N]

MODELS holds the MLPerf Tiny reference models as ``NAME_int8_qdq.onnx`` and ``NAME_float.onnx``, DATA the arrays
``cifar10_lossless500.npz``, ``vww96.npz`` and ``speech_commands_mfcc49x10.npz``, of which all samples are taken unless
``--limit`` is given. ONNX Runtime runs with ``session.x64quantprecision=1``, since its default int8 kernels saturate on
AVX2.

*Layer by layer* every integer tensor of the graph that is compiled is computed by ONNX Runtime from the very integers
that the reference computed before it, so that differences do not accumulate. *C differs* counts values of all those
tensors that the C, run from end to end on this machine, has otherwise than the reference.

*From end to end* ONNX Runtime runs the file as it is. The autoencoder has no classes: what is compared is its anomaly
score, the mean square of what it does not reproduce.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

import microlith as ml
from microlith.compile.pipeline import compile_graph
from microlith.device.host import HostRunner
from microlith.device.toolchain import find_toolchain
from microlith.graph.expose import expose
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.reference import Reference
from microlith.verify.agreement import from_bytes, to_bytes
from microlith.verify.outside import layers_against_outside, raw_session
from microlith.verify.workbench import Workbench

Array = np.ndarray[Any, Any]
QUANTIZED = ("resnet8", "dscnn_kws", "mobilenetv1_vww", "autoencoder_ad")
FLOAT = ("resnet8", "mobilenetv1_vww")
TURN = 100
TOP1_BOUND = 0.995
SCORE_BOUND = 0.01
FLOAT_BOUND = 1e-4
LAYER_HEADS = ("model", "samples", "integers", "differ", "worst, in quanta", "ONNX Runtime with", "C differs")
END_HEADS = ("model", "samples", "same top-1", "top-1 of C", "top-1 of ONNX Runtime", "worst score difference")
FLOAT_HEADS = ("model", "samples", "worst relative difference", "same top-1")


@dataclass(frozen=True)
class Samples:
    """Inputs of a model, one a row, in the shape of its graph less the batch, and classes where there are any."""

    inputs: Array
    labels: Array | None


def load_samples(name: str, data: Path, shape: Sequence[int], limit: int | None) -> Samples:
    """All the data of a model's task, as the model takes it."""
    file = {"resnet8": "cifar10_lossless500", "mobilenetv1_vww": "vww96"}.get(name, "speech_commands_mfcc49x10")
    with np.load(data / f"{file}.npz") as arrays:
        inputs, labels = np.asarray(arrays["x"][:limit], np.float32), arrays["y"][:limit]
    if name == "mobilenetv1_vww":
        inputs /= np.float32(255)
    if name == "autoencoder_ad":
        # There are no machine sounds; speech features, repeated to the length, are at least no noise.
        return Samples(np.resize(inputs.reshape(len(inputs), -1), (len(inputs), *shape)), None)
    if inputs.ndim == 4 and shape[0] == 3:
        inputs = inputs.transpose(0, 3, 1, 2)
    return Samples(np.ascontiguousarray(inputs).reshape(-1, *shape), labels)


def run_outside(path: Path, samples: Array) -> Array:
    """What ONNX Runtime gives for the file as it is, one sample at a time."""
    session = raw_session(path.read_bytes())
    (given,), (wanted,) = session.get_inputs(), session.get_outputs()
    return np.concatenate([session.run([wanted.name], {given.name: sample[None]})[0] for sample in samples])


def run_compiled(graph: ir.Model, name: str, samples: Array) -> Iterator[dict[str, Array]]:
    """What the C for this machine gives, by output, for a hundred samples at a time."""
    host = ml.device("host")
    package = compile_graph(graph, host, name=name)
    entry = package.manifest.entries[0]
    given = entry.inputs[0].name
    bench = Workbench(package.files, package.manifest, find_toolchain(host))
    with bench, HostRunner(bench.shared_library()) as runner:
        for start in range(0, len(samples), TURN):
            feeds = [to_bytes(entry, {given: sample[None]}) for sample in samples[start : start + TURN]]
            columns = zip(entry.outputs, zip(*runner.infer_many(feeds), strict=True), strict=True)
            yield {what.name: np.concatenate([from_bytes(what, item) for item in raw]) for what, raw in columns}


def single_output(graph: ir.Model, name: str, samples: Array) -> Array:
    """The output of a model that has one."""
    return np.concatenate([next(iter(found.values())) for found in run_compiled(graph, name, samples)])


def integers_that_differ(graph: ir.Model, name: str, samples: Array) -> int:
    """Values of integer tensors that the C, from end to end, has otherwise than the reference."""
    names = [node.outputs[0].name or "" for node in graph.graph if node.op_type == "QuantizeLinear"]
    watched = expose(graph, names)
    reference, given = Reference(watched), watched.graph.inputs[0].name or ""
    differing = compared = 0
    for index, found in enumerate(run_compiled(watched, name, samples)):
        expected = reference.run({given: samples[index * TURN : (index + 1) * TURN]})
        integers = [key for key, array in expected.items() if array.dtype.kind in "iu"]
        differing += sum(int((found[key] != expected[key]).sum()) for key in integers)
        compared += sum(expected[key].size for key in integers)
    if not compared:
        raise SystemExit(f"{name} has no integer tensor")
    return differing


def relative_difference(ours: Array, theirs: Array) -> float:
    """The worst difference of a sample, relative to the greatest magnitude of its output."""
    return float((np.abs(ours - theirs).max(axis=1) / np.abs(theirs).max(axis=1)).max())


def opened(path: Path, name: str, data: Path, limit: int | None) -> tuple[ir.Model, Samples, list[dict[str, Array]]]:
    """The graph as it is compiled, its data, and that data as feeds of one sample."""
    graph = ml.load(path)
    run_passes(graph, DEFAULT_PASSES)
    (value,) = graph.graph.inputs
    samples = load_samples(name, data, [int(size) for size in value.shape or ()][1:], limit)
    return graph, samples, [{value.name or "": sample[None]} for sample in samples.inputs]


def anomaly_scores(samples: Samples, outputs: Array) -> Array:
    """Mean square of what an autoencoder does not reproduce, for each sample."""
    return np.square(outputs.astype(np.float64) - samples.inputs).mean(axis=1)


def end_row(name: str, samples: Samples, ours: Array, theirs: Array) -> tuple[tuple[object, ...], bool]:
    """A row of the table from end to end, and whether it is within its bound."""
    if samples.labels is None:
        mine, other = anomaly_scores(samples, ours), anomaly_scores(samples, theirs)
        worst = float((np.abs(mine - other) / other).max())
        return (name, len(ours), "", "", "", f"{worst:.2e}"), worst <= SCORE_BOUND
    same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    right = [f"{(item.argmax(axis=1) == samples.labels).mean():.2%}" for item in (ours, theirs)]
    return (name, len(ours), f"{same:.2%}", *right, ""), same >= TOP1_BOUND


def print_row(row: Sequence[object]) -> None:
    """One row of a table."""
    print("| " + " | ".join(map(str, row)) + " |", flush=True)


def print_heads(heads: Sequence[str]) -> None:
    """The first two rows of a table."""
    print()
    print_row(heads)
    print("|" + "---|" * len(heads), flush=True)


def quantized(models: Path, data: Path, limit: int | None) -> bool:
    """Print both tables of the quantized models; True where all is within the bounds."""
    print_heads(LAYER_HEADS)
    good, ends = True, []
    for name in QUANTIZED:
        path = models / f"{name}_int8_qdq.onnx"
        graph, samples, feeds = opened(path, name, data, limit)
        layers = layers_against_outside(graph, feeds)
        differing = integers_that_differ(graph, name, samples.inputs)
        how = "Q/DQ unfused" if "without" in layers.what else "its integer kernels"
        print_row((name, len(feeds), layers.elements, layers.differing, layers.worst, how, differing))
        ours = single_output(graph, name, samples.inputs)
        row, within = end_row(name, samples, ours, run_outside(path, samples.inputs))
        ends.append(row)
        good &= layers.passed and layers.elements > 0 and differing == 0 and within
    print_heads(END_HEADS)
    for row in ends:
        print_row(row)
    return good


def floats(models: Path, data: Path, limit: int | None) -> bool:
    """Print the table of the float models; True where all are within the bound."""
    print_heads(FLOAT_HEADS)
    good = True
    for name in FLOAT:
        path = models / f"{name}_float.onnx"
        graph, samples, _ = opened(path, name, data, limit)
        ours, theirs = single_output(graph, name, samples.inputs), run_outside(path, samples.inputs)
        worst = relative_difference(ours, theirs)
        same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
        print_row((name, len(ours), f"{worst:.2e}", f"{same:.2%}"))
        good &= worst <= FLOAT_BOUND
    return good


def main() -> int:
    """0 where every comparison holds, else 4, as the command line has it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="samples of each model; all unless given")
    given = parser.parse_args()
    print(f"ONNX Runtime {onnxruntime.__version__}")
    results = [
        quantized(given.models, given.data, given.limit),
        floats(given.models, given.data, given.limit),
    ]
    return 0 if all(results) else 4


if __name__ == "__main__":
    sys.exit(main())
