"""Measures the int8 kernels on an emulated Cortex-M4F and fits what the parts of their work cost.

    PYTHONPATH=tests python -m kernels.cost_model [--kernel NAME ...] [--write]

Calls of many shapes run once each; three of four are fitted, the others tell the error, of which median and worst are
printed for each code path. ``--write`` replaces those kernels in the table that the descriptors read.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from kernel_batch import RUNNER_SYMBOLS
from kernels import cases_s8
from kernels.cases_s8 import Bounds, Layer
from kernels.harness import Case, Library
from kernels.mcu_program import McuProgram, write_program
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels.cost_table import evaluate
from microlith.kernels.work import Work, work
from microlith.program.attrs import Window
from microlith.quant.types import Requantization

DEVICE = "stm32l4r5"
TABLES = Path(__file__).parents[2] / "src/microlith/kernels/cost_tables"
MOST_PRODUCTS = 60_000
SHAPES = 80
HELD_OUT = 4
PROGRAM_CALLS = 120

HEADS = ("code path", "fitted", "held out", "median error", "worst error", "worst call")

Rng = np.random.Generator
Pair = tuple[int, int]


@dataclass(frozen=True)
class Measured:
    """A call, what it did and what that took."""

    case: Case
    work: Work
    cycles: int
    instructions: int


class _CallProgram(McuProgram):
    """Every call in a function of its own, as the layers of a package are."""

    def _call(self, index: int, case: Case, library: Library) -> str:
        call = super()._call(index, case, library)
        self.lines.append(f"void call_{index}(void);\nML_NOINLINE void call_{index}(void)\n{{\n    {call}\n}}\n")
        return f"call_{index}();"


def measure(cases: Sequence[Case]) -> Iterator[Measured]:
    """Run every call once on the emulated core, and check its result."""
    device = load_device(DEVICE)
    for start in range(0, len(cases), PROGRAM_CALLS):
        some = cases[start : start + PROGRAM_CALLS]
        with tempfile.TemporaryDirectory() as folder:
            directory, program = Path(folder), _CallProgram(some)
            elf, sources = directory / "program.elf", write_program(program, device, directory)
            find_toolchain(device).link_elf(sources, [directory], directory / "linker.ld", elf, keep=RUNNER_SYMBOLS)
            with Emulator(elf, device) as emulator:
                found = emulator.infer_counted([bytes(program.reads)], [f"call_{i}" for i in range(len(some))])
        program.check(found.outputs[0])
        for case, counts in zip(some, found.layers, strict=True):
            done = work(case.kernel, case.ctx)
            assert done is not None and counts.cycles is not None
            yield Measured(case, done, counts.cycles, counts.instructions)


def non_negative_least_squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The x >= 0 of least |a x - b|.

    Source: Lawson and Hanson, Solving Least Squares Problems (1974), section 23.3.
    """
    x, passive = np.zeros(a.shape[1]), np.zeros(a.shape[1], bool)
    for _ in range(3 * a.shape[1]):
        slope = np.where(passive, -np.inf, a.T @ (b - a @ x))
        if passive.all() or slope.max() <= 1e-9:
            break
        passive[slope.argmax()] = True
        while True:
            trial = np.zeros_like(x)
            trial[passive] = np.linalg.lstsq(a[:, passive], b, rcond=None)[0]
            if (trial[passive] > 0).all():
                break
            low = passive & (trial <= 0)
            step = (x[low] / (x[low] - trial[low])).min()
            x = x + step * (trial - x)
            passive &= x > 1e-12
            x[~passive] = 0
        x = trial
    return x


def fit(measured: Sequence[Measured], quantity: str) -> dict[str, float]:
    """What each part costs, by the least relative errors."""
    parts = sorted({part for item in measured for part in item.work.counts})
    taken = np.array([getattr(item, quantity) for item in measured], float)
    counts = np.array([[item.work.counts.get(part, 0) for part in parts] for item in measured], float)
    parts = [part for part, column in zip(parts, counts.T, strict=True) if column.any()]
    counts = counts[:, counts.any(axis=0)] / taken[:, None]
    size = np.linalg.norm(counts, axis=0)
    found = non_negative_least_squares(counts / size, np.ones(len(taken))) / size
    return {part: round(float(cost), 4) for part, cost in zip(parts, found, strict=True)}


def errors(measured: Sequence[Measured], cycles: Mapping[str, float]) -> np.ndarray:
    """Relative error of the cycles of each call, in percent; infinite where a part was not fitted."""
    estimates = [(evaluate(cycles, item.work), item.cycles) for item in measured]
    return np.array([np.inf if guess is None else 100 * abs(guess / real - 1) for guess, real in estimates])


def random_window(
    rng: Rng, kernels: Sequence[tuple[int, int]], strides: Sequence[int], size: tuple[int, int]
) -> Window:
    """A window that fits, with padding as networks have it, or none."""
    stride = int(rng.choice(strides))
    inside = [kernel for kernel in kernels if kernel[0] <= size[0] and kernel[1] <= size[1]]
    if inside and rng.random() < 0.5:
        return Window(inside[rng.integers(len(inside))], (stride, stride), (1, 1), (0, 0, 0, 0))
    kernel = kernels[rng.integers(len(kernels))]
    totals = [max((-(-length // stride) - 1) * stride + k - length, 0) for length, k in zip(size, kernel, strict=True)]
    before = [total // 2 for total in totals]
    after = [total - low for total, low in zip(totals, before, strict=True)]
    return Window(kernel, (stride, stride), (1, 1), (before[0], before[1], after[0], after[1]))


CHANNELS = (1, 2, 3, 4, 5, 8, 12, 16, 24, 32, 40, 64)
OUTPUTS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 16, 21, 24, 32)
KERNELS = ((1, 1), (1, 1), (3, 3), (3, 3), (5, 5), (1, 3), (3, 1), (4, 10))


def random_size(rng: Rng) -> Pair:
    """Height and width of a small image."""
    return int(rng.integers(1, 15)), int(rng.integers(1, 15))


def conv_shapes(rng: Rng, outputs: Sequence[int]) -> tuple[tuple[int, int, int], int, Window]:
    """A convolution that is not too long."""
    while True:
        size, channels, chosen = random_size(rng), int(rng.choice(CHANNELS)), int(rng.choice(outputs))
        window = random_window(rng, KERNELS, (1, 1, 2), size)
        height, width = cases_s8.output_size(window, size)
        if height * width * chosen * channels * window.kernel[0] * window.kernel[1] <= MOST_PRODUCTS:
            return (*size, channels), chosen, window


def depthwise_shapes(rng: Rng, kernels: Sequence[Pair], least: int) -> tuple[tuple[int, int, int], Window]:
    """A depthwise convolution."""
    size = random_size(rng) if rng.random() < 0.7 else (int(rng.integers(8, 33)), int(rng.integers(8, 33)))
    channels = int(
        rng.choice([item for item in (*CHANNELS, 6, 7, 9) if item >= least and item * size[0] * size[1] < 8000])
    )
    return (*size, channels), random_window(rng, kernels, (1, 2), size)


def layers(*, fast: bool) -> Iterator[Layer]:
    """The requantizations and clamps that differ in code."""
    for per_channel, (mode, gain) in product((True, False), (("float", 1.0), ("fixed", 1.0), ("fixed", 2000.0))):
        if fast or gain == 1:
            layer = Layer(mode, per_channel, gain=gain)  # type: ignore[arg-type]
            yield from (layer, replace(layer, bounds=Bounds(-90, 100))) if fast else (layer,)


def conv_calls(rng: Rng, name: str) -> Iterator[Case]:
    """Convolutions of every code path; the DSP kernel of int8 weights joins two to a number where there is room."""
    fast = "dsp" in name
    storages = (False, True) if name == "s8_conv2d__dsp_2x4" else (False,)
    for apart, layer in product(storages, layers(fast=fast)):
        # One output channel has no scales by channel.
        least = 2 if layer.per_channel else 1
        for outputs in [[o for o in OUTPUTS if o >= least]] * (3 * SHAPES // 2 if fast else 4 * SHAPES):
            x, chosen, window = conv_shapes(rng, outputs)
            used = replace(layer, symmetric=not apart, apart=apart)
            yield cases_s8.conv2d(rng, x, chosen, window, layer=used, name=name)


def winograd_calls(rng: Rng, name: str) -> Iterator[Case]:
    """Convolutions of windows of 3x3 and quads of channels."""
    for layer in layers(fast=True):
        for _ in range(SHAPES // 2):
            size, channels = random_size(rng), int(rng.choice((4, 8, 12, 16, 24, 32, 40, 64)))
            outputs = int(rng.choice([o for o in OUTPUTS if o > layer.per_channel]))
            window = random_window(rng, ((3, 3),), (1,), size)
            yield cases_s8.conv2d(rng, (*size, channels), outputs, window, layer=layer, name=name)


def depthwise_calls(rng: Rng, name: str) -> Iterator[Case]:
    """Depthwise convolutions of every code path."""
    fast = "dsp" in name
    for layer in layers(fast=fast):
        for _ in range(3 * SHAPES if fast else 2 * SHAPES):
            x, window = depthwise_shapes(rng, ((3, 3),) if fast else ((3, 3), (5, 5)), 4 if fast else 1)
            yield cases_s8.depthwise_conv2d(rng, x, 1, window, layer, name)


def depthwise_lines_calls(rng: Rng, name: str) -> Iterator[Case]:
    """Depthwise convolutions with lines along rows and along columns, at strides of 1 and 2."""
    flat = ((5, 5), (5, 5), (3, 5), (1, 3), (1, 9), (2, 2), (1, 1), (4, 7), (5, 6))
    upright = ((3, 1), (5, 1), (9, 1), (4, 1), (7, 1))
    chosen = [layer for layer in layers(fast=True) if layer.per_channel]
    for layer, kernels, (stride, dilation) in product(chosen, (flat, upright), ((1, 1), (1, 2), (2, 1))):
        for _ in range(SHAPES // 2 if dilation == 1 else SHAPES):
            while True:
                x, window = depthwise_shapes(rng, kernels, 4)
                if window.stride == (stride, stride):
                    break
            if dilation == 2:
                reach = tuple(2 * (size - 1) for size in window.kernel)
                pads = (reach[0] // 2, reach[1] // 2, reach[0] - reach[0] // 2, reach[1] - reach[1] // 2)
                window = replace(window, dilation=(2, 2), pad=pads)
            yield cases_s8.depthwise_conv2d(rng, x, 1, window, layer, name)


def fully_connected_calls(rng: Rng, name: str) -> Iterator[Case]:
    """Fully connected layers of every code path."""
    for layer in layers(fast="dsp" in name):
        for _ in range(SHAPES // 2):
            rows, depth = int(rng.choice((1, 1, 2, 3))), int(rng.integers(1, 200))
            outputs = int(rng.integers(1, 40))
            yield cases_s8.fully_connected(rng, rows, depth, outputs, layer, name)


def pool_calls(rng: Rng, name: str) -> Iterator[Case]:
    """Pools; those of the DSP kernels clamp or not."""
    fast = "dsp" in name
    modes: tuple[Requantization, ...] = ("float", "fixed") if "average" in name else ("float",)
    for mode, bounds in product(modes, (Bounds(), Bounds(-100, 120)) if fast else (Bounds(-100, 120),)):
        for _ in range(5 * SHAPES):
            size = random_size(rng)
            channels = int(rng.choice([item for item in (*CHANNELS, 6, 7, 9) if item >= 4] if fast else CHANNELS))
            window = random_window(rng, ((2, 2), (3, 3)), (1, 2), size)
            if "max" in name:
                yield cases_s8.max_pool2d(rng, (*size, channels), window, bounds if fast else Bounds(), name)
            else:
                yield cases_s8.average_pool2d(rng, (*size, channels), window, False, mode, False, name, bounds)


def mean_calls(rng: Rng, name: str) -> Iterator[Case]:
    """Means of images."""
    modes: tuple[Requantization, ...] = ("float", "fixed")
    for mode, _ in product(modes, range(SHAPES)):
        count, inner = int(rng.integers(2, 100)), int(rng.integers(4 if "dsp" in name else 1, 65))
        if "dsp" in name and rng.random() < 0.2:
            count, inner = int(rng.integers(255, 700)), int(rng.integers(4, 12))
        yield cases_s8.reduce_mean(rng, int(rng.choice((1, 1, 2))), count, inner, mode, name)


def sum_calls(rng: Rng, name: str) -> Iterator[Case]:
    """Sums of two tensors of one shape."""
    for mode, _ in product(("float", "fixed"), range(SHAPES // 2)):
        shape = (1, *random_size(rng), int(rng.choice(CHANNELS)))
        yield cases_s8.binary(rng, name, shape, shape, mode)  # type: ignore[arg-type]


CALLS: Mapping[str, Callable[[Rng, str], Iterator[Case]]] = {
    "s8_conv2d__dsp_2x4": conv_calls,
    "s8_conv2d__dsp_2x4_s16": conv_calls,
    "s8_conv2d__dsp_winograd_2x2": winograd_calls,
    "s8_depthwise_conv2d__dsp_3x3": depthwise_calls,
    "s8_depthwise_conv2d__dsp_lines": depthwise_lines_calls,
    "s8_fully_connected__dsp_1x4": fully_connected_calls,
    "s8_conv2d__portable": conv_calls,
    "s8_depthwise_conv2d__portable": depthwise_calls,
    "s8_fully_connected__portable": fully_connected_calls,
    "s8_max_pool2d__dsp_1x4": pool_calls,
    "s8_average_pool2d__dsp_1x4": pool_calls,
    "s8_reduce_mean__dsp_1x4": mean_calls,
    "s8_max_pool2d__portable": pool_calls,
    "s8_average_pool2d__portable": pool_calls,
    "s8_reduce_mean__portable": mean_calls,
    "s8_add__flat": sum_calls,
}


def fitted_paths(measured: Sequence[Measured]) -> dict[str, dict[str, object]]:
    """The table of one kernel: every code path with its costs and errors."""
    by_path: dict[str, list[Measured]] = {}
    for item in measured:
        by_path.setdefault(item.work.path, []).append(item)
    paths: dict[str, dict[str, object]] = {}
    for path, items in sorted(by_path.items()):
        known = [item for i, item in enumerate(items) if i % HELD_OUT]
        cycles, instructions = fit(known, "cycles"), fit(known, "instructions")
        missed = errors(items[::HELD_OUT], cycles)
        paths[path] = {
            "cycles": cycles,
            "instructions": instructions,
            "median_percent": round(float(np.median(missed)), 2),
            "worst_percent": round(float(missed.max()), 2),
            "calls": len(missed),
        }
        worst = items[HELD_OUT * int(missed.argmax())]
        row = (path, len(known), len(missed), *(f"{paths[path][f'{q}_percent']}%" for q in ("median", "worst")))
        print("| " + " | ".join(map(str, row)) + f" | {worst.case.label} {worst.cycles} |", flush=True)
    return paths


def main() -> int:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", choices=tuple(CALLS), nargs="*", default=tuple(CALLS))
    parser.add_argument("--write", action="store_true", help="into the table that the descriptors read")
    given = parser.parse_args()
    core = load_device(DEVICE).core
    file = TABLES / f"{core}.json"
    content = json.loads(file.read_text()) if file.exists() else {}
    for name in given.kernel:
        print(f"\n{name}\n\n| {' | '.join(HEADS)} |\n{'|---' * len(HEADS)}|")
        rng = np.random.default_rng(1)
        content[name] = fitted_paths(list(measure(list(CALLS[name](rng, name)))))
    if given.write:
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
