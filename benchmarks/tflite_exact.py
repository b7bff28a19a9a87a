"""Compiled ``.tflite`` models against LiteRT: int8 ones bit for bit on this machine and on an emulated device.

    python benchmarks/tflite_exact.py MODELS --data DATA [--device nrf52840] [--samples 100]

MODELS holds the MLPerf Tiny reference models as ``NAME_int8.tflite`` and ``NAME_float.tflite``, DATA the arrays
``cifar10_lossless500.npz``, ``vww96.npz`` and ``speech_commands_mfcc49x10.npz``. The reference is LiteRT
(``ai-edge-litert``) with the resolver BUILTIN_WITHOUT_DEFAULT_DELEGATES. Float models run on this machine only and are
compared within a bound relative to the greatest output; where a float file stores weights as int8, LiteRT gets a copy
with those weights dequantized, since its own kernels would quantize the activations as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import microlith as ml
from microlith.compile.pipeline import compile_graph
from microlith.device.emulator import Emulator
from microlith.device.host import HostRunner
from microlith.device.profile import Device
from microlith.device.toolchain import find_toolchain
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.verify.workbench import Workbench

Array = np.ndarray[Any, Any]
MODELS = ("resnet8", "dscnn_kws", "mobilenetv1_vww", "autoencoder_ad")
FLOAT_BOUND = 1e-5
HEADS = ("model", "inputs", "n", "values", "host differs", "emulated differs", "worst")


def real_inputs(name: str, data: Path, count: int) -> Array:
    """Real values as the model takes them, N,H,W,C."""
    if name == "resnet8":
        return np.asarray(np.load(data / "cifar10_lossless500.npz")["x"][:count], np.float32)
    if name == "mobilenetv1_vww":
        return np.asarray(np.load(data / "vww96.npz")["x"][:count], np.float32) / np.float32(255)
    features = np.asarray(np.load(data / "speech_commands_mfcc49x10.npz")["x"][:count], np.float32)
    if name == "dscnn_kws":
        return features.reshape(-1, 49, 10, 1)
    # There are no machine sounds; speech features, repeated to the length, are at least no noise.
    return np.resize(features.reshape(len(features), -1), (len(features), 640))


def interpreter(content: bytes) -> Interpreter:
    """LiteRT with the kernels that define the integers."""
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=1)
    made.allocate_tensors()
    return made


def evaluate(oracle: Interpreter, samples: Array) -> Array:
    """LiteRT's outputs, one sample at a time."""
    found = []
    for sample in samples:
        oracle.set_tensor(oracle.get_input_details()[0]["index"], sample[None])
        oracle.invoke()
        found.append(oracle.get_tensor(oracle.get_output_details()[0]["index"]).copy())
    return np.concatenate(found)


def dequantized(content: bytes) -> bytes:
    """The file with every int8 constant as float32."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.INT8 or data is None or not len(data):
            continue
        scale = np.asarray(tensor.quantization.scale, np.float32)
        zero = np.asarray(tensor.quantization.zeroPoint, np.float32)
        shape = [1] * len(tensor.shape)
        if scale.size > 1:
            shape[tensor.quantization.quantizedDimension] = -1
        values = np.asarray(data, np.uint8).view(np.int8).reshape(tensor.shape).astype(np.float32)
        values = (values - zero.reshape(shape)) * scale.reshape(shape)
        model.buffers[tensor.buffer].data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def sample_sets(name: str, detail: dict[str, Any], data: Path, count: int) -> Iterator[tuple[str, Array]]:
    """(kind, samples) in the type of the model's input."""
    rng = np.random.default_rng(7)
    shape = (count, *detail["shape"][1:])
    real = real_inputs(name, data, count).reshape(-1, *shape[1:])
    if detail["dtype"] is np.float32:
        yield "random", rng.uniform(real.min(), real.max(), shape).astype(np.float32)
        yield "real", real
        return
    scale, zero = detail["quantization"]
    yield "random", rng.integers(-128, 128, shape, dtype=np.int8)
    yield "real", np.clip(np.rint(real / np.float32(scale)) + zero, -128, 127).astype(np.int8)


def packaged(path: Path, device: Device, name: str) -> Workbench:
    """The model compiled for a device."""
    graph = ml.load(path)
    run_passes(graph, DEFAULT_PASSES)
    package = compile_graph(graph, device, name=name)
    return Workbench(package.files, package.manifest, find_toolchain(device))


def outputs(runner: HostRunner | Emulator, samples: Array, like: Array) -> Array:
    """What a compiled model gives, as the reference gives it."""
    raw = runner.infer_many([[np.ascontiguousarray(sample).tobytes()] for sample in samples])
    return np.stack([np.frombuffer(item[0], like.dtype) for item in raw]).reshape(like.shape)


def exact(models: Path, data: Path, device: Device, count: int) -> bool:
    """Print the table of the int8 models; True where no bit differs."""
    print("| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS))
    good = True
    for name in MODELS:
        path = models / f"{name}_int8.tflite"
        oracle = interpreter(path.read_bytes())
        with packaged(path, ml.device("host"), name) as here, packaged(path, device, name) as there:
            host, emulator = HostRunner(here.shared_library()), Emulator(there.selftest(), device, time_limit_s=3600)
            with host, emulator:
                for kind, samples in sample_sets(name, oracle.get_input_details()[0], data, count):
                    want = evaluate(oracle, samples)
                    found = [outputs(runner, samples, want) for runner in (host, emulator)]
                    counts = [int((item != want).sum()) for item in found]
                    worst = max(int(np.abs(item.astype(int) - want).max()) for item in found)
                    row = (name, kind, len(samples), want.size, *counts, worst)
                    print("| " + " | ".join(map(str, row)) + " |", flush=True)
                    good &= not any(counts) and np.unique(want).size > 1
    return good


def close(models: Path, data: Path, count: int) -> bool:
    """Print the table of the float models; True where all are within the bound."""
    print("\n| model | inputs | n | worst relative difference |\n|---|---|---|---|")
    good = True
    for name in MODELS:
        path = models / f"{name}_float.tflite"
        oracle = interpreter(dequantized(path.read_bytes()))
        with packaged(path, ml.device("host"), name) as here, HostRunner(here.shared_library()) as host:
            for kind, samples in sample_sets(name, oracle.get_input_details()[0], data, count):
                want = evaluate(oracle, samples)
                got = outputs(host, samples, want)
                relative = np.abs(got - want).max(axis=1) / np.abs(want).max(axis=1)
                print(f"| {name} | {kind} | {len(samples)} | {relative.max():.2e} |", flush=True)
                good &= bool(relative.max() <= FLOAT_BOUND)
    return good


def main() -> int:
    """0 where every comparison holds, else 4, as the command line has it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="nrf52840")
    parser.add_argument("--samples", type=int, default=100)
    given = parser.parse_args()
    results = [
        exact(given.models, given.data, ml.device(given.device), given.samples),
        close(given.models, given.data, given.samples),
    ]
    return 0 if all(results) else 4


if __name__ == "__main__":
    sys.exit(main())
