"""``microlith bench``: each layer's time, or the model in every runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from microlith.cli import options as opt
from microlith.cli.progress import progress
from microlith.cli.scratch import scratch
from microlith.core.errors import InputError

SHORT_HELP = "Each layer's time and its bound; or --runtimes: other runtimes."
EXAMPLES = (
    "bench out",
    "bench out --why",
    "bench out --runtimes --data test.npz",
    "bench out --runtimes --data test.npz --original kws.onnx --json",
)


def bench(
    out: opt.Out,
    why: Annotated[bool, typer.Option("--why", help="Show why each kernel was chosen.")] = False,
    runtimes: Annotated[
        bool, typer.Option("--runtimes", help="Compare C, ONNX Runtime, LiteRT and OpenVINO on the same model.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option("--data", help="For --runtimes: inputs as the artifact takes them; random by default."),
    ] = None,
    original: Annotated[
        Path | None, typer.Option("--original", help="For --runtimes: the model before, to agree with.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="accuracy, auc, mse, agreement or MODULE.py:FUNCTION; by labels, agreement.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples for --runtimes.")] = 200,
    emulated: Annotated[int, typer.Option(min=1, help="How many of them run on the emulated device.")] = 20,
    input_range: opt.InputRange = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    layout: opt.Layout = None,
    compiler: opt.Compiler = None,
    seed: opt.Seed = 0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Show what each layer does with its time: cycles and instructions a MAC, bytes moved, and the bound.

    The bound is the least that products, requantized results and memory traffic take on the instruction set: half a
    cycle a product with the DSP extension (SMLAD does two), 4 cycles a result in fixed and 6 in float requantization,
    and four bytes a cycle for activations and constants, each once. Nothing for addresses, loops, unpacking.

    With --runtimes, instead: the same model in C on this machine and on the emulated device, in ONNX Runtime, LiteRT
    and OpenVINO: accuracy, agreement, size, and values that differ from the specification. The report shows it then.
    """
    from microlith import api
    from microlith.cli.show import print_bench, print_runtimes

    if not runtimes:
        if data is not None or original is not None or metric is not None:
            raise InputError("data is given, and layers are counted without", hint="Add --runtimes to compare by it.")
        print_bench(*api.bench(out), why=why, json=json)
        return
    beside = api.Beside(
        None if original is None else api.load(original),
        opt.given_preprocessing(input_range, mean, std, layout),
        metric,
    )
    with scratch(), progress(quiet=quiet) as show:
        run = api.bench_runtimes(
            out,
            data=data,
            samples=samples,
            emulated_samples=emulated,
            beside=beside,
            compiler=compiler,
            seed=seed,
            progress=show.step,
        )
    print_runtimes(run.details, json=json)
