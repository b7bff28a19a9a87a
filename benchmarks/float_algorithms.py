"""Float convolutions and products on this machine: every kernel that fits against the direct one.

    PYTHONPATH=tests python benchmarks/float_algorithms.py [--portable] [--seconds S] [NAME ...]

The candidates of a layer run in turns, so that a slow moment of the machine meets all of them; a time is the least and
the median of the turns, a ratio that of the direct kernel's time to a candidate's. "error" is the greatest difference
from float64, relative to the greatest output, on normal inputs. ``--portable`` compiles without AVX2.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from kernels import cases_f32 as f32
from kernels.harness import Case, Library, guarded
from microlith.device.load import host
from microlith.device.toolchain import find_toolchain
from microlith.kernels import candidates
from microlith.program.attrs import MatMul, Window

SAME = (1, 1, 1, 1)


def layers(rng: np.random.Generator) -> Iterator[tuple[str, Callable[[], Case]]]:
    """Layers by name, made on demand."""
    for size, channels, filters in (
        (56, 64, 64),
        (28, 128, 128),
        (14, 256, 256),
        (32, 16, 16),
        (8, 64, 64),
        (96, 3, 8),
    ):
        name = f"3x3 {size}x{size}x{channels}->{filters}"
        shape = (size, size, channels)
        yield name, lambda a=shape, b=filters: f32.conv2d(rng, a, b, Window((3, 3), pad=SAME))
    for size, channels, filters in ((28, 64, 128), (14, 256, 256), (7, 512, 512)):
        shape = (size, size, channels)
        yield (
            f"1x1 {size}x{size}x{channels}->{filters}",
            lambda a=shape, b=filters: f32.conv2d(rng, a, b, Window((1, 1))),
        )
    for kernel, size, channels, filters, stride in (
        (7, 112, 3, 32, 2),
        (5, 28, 32, 32, 1),
        (7, 28, 32, 32, 1),
        (9, 32, 16, 16, 1),
        (11, 32, 16, 16, 1),
        (15, 64, 8, 8, 1),
        (31, 64, 4, 4, 1),
    ):
        window = Window((kernel, kernel), (stride, stride), pad=(kernel // 2,) * 4)
        name = f"{kernel}x{kernel}/{stride} {size}x{size}x{channels}->{filters}"
        yield name, lambda a=(size, size, channels), b=filters, c=window: f32.conv2d(rng, a, b, c)
    for kernel, size, channels in ((3, 28, 64), (7, 28, 64), (11, 28, 32), (15, 64, 16), (31, 64, 16)):
        window = Window((kernel, kernel), pad=(kernel // 2,) * 4)
        name = f"depthwise {kernel}x{kernel} {size}x{size}x{channels}"
        yield name, lambda a=(size, size, channels), c=window: f32.depthwise_conv2d(rng, a, 1, c)
    for rows, depth, outputs in ((1, 256, 128), (1, 1024, 1000), (2, 512, 512), (64, 256, 256)):
        yield (
            f"fully connected {rows}x{depth}->{outputs}",
            lambda a=(rows, depth, outputs): f32.fully_connected(rng, *a),
        )
    for batch, rows, depth, columns in ((4, 64, 32, 64), (1, 128, 128, 128), (8, 1, 64, 64)):
        name = f"matmul {batch}x{rows}x{depth}x{columns}"
        yield name, lambda a=(batch, rows, depth, columns): f32.matmul(rng, MatMul(*a))


def measure(case: Case, isas: tuple[str, ...], seconds: float) -> list[tuple[str, float, float, float, float]]:
    """Name, least and median microseconds, error and estimated cycles of each kernel that fits."""
    device = host().model_copy(update={"isas": isas})
    fitting = [kernel for kernel, fit in candidates(case.ctx, device) if fit]
    flags = tuple(flag for flag in find_toolchain(device).compile_flags if flag not in ("-ffreestanding",))
    with tempfile.TemporaryDirectory() as directory:
        library = Library(Path(directory), flags=flags, checks=())
        for kernel in fitting:
            library.add(kernel, case.ctx)
        library.compile()
        reads = [guarded(np.ascontiguousarray(item)) for item in case.inputs]
        outputs = [guarded(np.zeros(case.expected.shape, np.float32)) for _ in fitting]
        height = case.ctx.writes[0].shape[1] if case.ctx.writes[0].shape[1:] else 1
        runs = [
            library.prepared(kernel, case.ctx, [item.ctypes.data for item in reads], out.ctypes.data, 0, height)
            for kernel, out in zip(fitting, outputs, strict=True)
        ]
        times: list[list[float]] = [[] for _ in runs]
        repeats = []
        for run in runs:
            run()
            begin = time.perf_counter()
            run()
            repeats.append(max(1, int(2e-4 / (time.perf_counter() - begin))))
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times[0]) < 5:
            for run, count, own in zip(runs, repeats, times, strict=True):
                begin = time.perf_counter_ns()
                for _ in range(count):
                    run()
                own.append((time.perf_counter_ns() - begin) / count / 1000)
    greatest = np.abs(case.expected).max()
    return [
        (
            kernel.name,
            min(own),
            float(np.median(own)),
            float(np.abs(out - case.expected).max() / greatest),
            kernel.cost(case.ctx, device).cycles,
        )
        for kernel, own, out in zip(fitting, times, outputs, strict=True)
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of the names of layers; all unless given")
    parser.add_argument("--portable", action="store_true", help="without AVX2")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each layer")
    options = parser.parse_args()
    isas = ("portable",) if options.portable else host().isas
    print(f"isas {', '.join(isas)}")
    print("| layer | kernel | least us | median us | ratio of least | of medians | estimated ratio | error |")
    print("|---|---|---|---|---|---|---|---|")
    for name, make in layers(np.random.default_rng(0)):
        if options.names and not any(part in name for part in options.names):
            continue
        found = measure(make(), isas, options.seconds)
        _, least, median, _, cycles = found[0]
        for kernel, own_least, own_median, error, own_cycles in found:
            print(
                f"| {name} | {kernel} | {own_least:,.1f} | {own_median:,.1f} | {least / own_least:.2f} "
                f"| {median / own_median:.2f} | {cycles / own_cycles:.2f} | {error:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
