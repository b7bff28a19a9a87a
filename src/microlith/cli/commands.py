"""The commands. Each imports what it needs when it runs, so that ``--help`` stays instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from microlith.cli import options as opt
from microlith.cli.progress import progress

app = typer.Typer(
    help="A trained network and a device in; the smallest, fastest program that still does the job, proved by running it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
apply_app = typer.Typer(help="Apply one technique by itself.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(apply_app, name="apply")


def _version(value: bool) -> None:
    if value:
        from microlith import __version__

        print(f"microlith {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A trained network and a device in; the smallest, fastest program that still does the job, proved by running it."""


@app.command()
def check(
    model: opt.Model,
    device: opt.DeviceName,
    shape: opt.Shape = None,
    json: opt.Json = False,
) -> None:
    """Will the model fit, and what stands in the way? Takes seconds, no data and no compiler."""
    from microlith import api
    from microlith.cli.show import print_check

    target = api.device(device)
    found = api.check(api.load(model, opt.shapes(shape)), target)
    print_check(found, model.name, target, json=json)


@app.command()
def compile(
    model: opt.Model,
    device: opt.DeviceName,
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write.")],
    name: opt.Name = None,
    compiler: opt.Compiler = None,
    float_ops: opt.FloatOps = None,
    shape: opt.Shape = None,
    seed: opt.Seed = 0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Compile the model as it is, without data and without changing what it computes: graph to C library."""
    from microlith import api
    from microlith.cli.show import print_artifact

    symbol = opt.symbol(name, model)
    target = api.device(device)
    loaded = api.load(model, opt.shapes(shape))
    with progress(quiet=quiet) as show:
        artifact = api.compile(
            loaded,
            target,
            name=symbol,
            compiler=compiler,
            float_ops=tuple(float_ops or ()),
            seed=seed,
            command=f"microlith compile {model.name} --device {target.name}",
            progress=show,
        )
        artifact.export(out)
    print_artifact(artifact, out, json=json)


@app.command()
def optimize(
    model: opt.Model,
    device: opt.DeviceName,
    data: opt.Data,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Directory to write.")] = None,
    max_drop: Annotated[str | None, typer.Option(help="Largest accuracy drop in percentage points, as 1pp.")] = None,
    flash: Annotated[str | None, typer.Option(help="Most bytes of flash, as 256K.")] = None,
    ram: Annotated[str | None, typer.Option(help="Most bytes of RAM, as 64K.")] = None,
    latency: Annotated[str | None, typer.Option(help="Longest inference, as 50ms.")] = None,
    energy: Annotated[str | None, typer.Option(help="Most energy an inference, as 3mJ.")] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="accuracy, auc, mse, agreement or MODULE.py:FUNCTION; without labels, agreement."),
    ] = None,
    input_range: opt.InputRange = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    layout: opt.Layout = None,
    calibration: Annotated[str | None, typer.Option(help="Samples to calibrate on: a count or a fraction.")] = None,
    selection: Annotated[str | None, typer.Option(help="Samples to choose by; 0 takes the calibration part.")] = None,
    report_samples: Annotated[str | None, typer.Option(help="Samples to report on; the rest by default.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Run the steps of this YAML file instead of searching.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be run and what is feasible, and stop.")
    ] = False,
    verify_samples: Annotated[
        int, typer.Option(min=1, help="Inputs on which the compiled code is compared with the reference.")
    ] = 100,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Use the scores of an interrupted search of the same data.")
    ] = True,
    name: opt.Name = None,
    compiler: opt.Compiler = None,
    shape: opt.Shape = None,
    seed: opt.Seed = 0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Find the best artifact within a budget: quantize, compile, run on the (emulated) device, and check."""
    from microlith import api
    from microlith.cli.show import print_dry_run, print_optimized
    from microlith.core.budget import parse_budget
    from microlith.core.errors import InputError

    symbol = opt.symbol(name, model)
    budget = parse_budget(max_drop=max_drop, flash=flash, ram=ram, latency=latency, energy=energy)
    steps = None if recipe is None else api.Recipe.read(recipe)
    if out is None and not dry_run:
        raise InputError("there is nowhere to write to", hint="Name a directory: --out out/, or use --dry-run.")
    target = api.device(device)
    loaded = api.load(model, opt.shapes(shape))
    settled = opt.preprocessing(input_range, mean, std, layout)
    sizes = opt.parts(calibration, selection, report_samples)
    if dry_run:
        plan = api.dry_run(loaded, target, data, budget, steps, preprocessing=settled, parts=sizes, metric=metric)
        print_dry_run(plan, target, budget, json=json)
        return
    assert out is not None, "checked above"
    with progress(quiet=quiet) as show:
        result = api.optimize(
            loaded,
            target,
            data=data,
            budget=budget,
            recipe=steps,
            preprocessing=settled,
            parts=sizes,
            metric=metric,
            options=api.Options(
                name=symbol,
                seed=seed,
                compiler=compiler,
                host_samples=verify_samples,
                emulated_samples=verify_samples,
                resume=resume,
                command=f"microlith optimize {model.name} --device {target.name}",
            ),
            progress=show,
        )
        if result.best is not None:
            result.best.export(out)
    print_optimized(result, out, json=json)


@apply_app.command("ptq")
def apply_ptq(
    model: opt.Model,
    data: opt.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.")],
    device: Annotated[
        str | None, typer.Option("--device", "-d", help="Device whose arithmetic to quantize for; float by default.")
    ] = None,
    calibration_method: Annotated[str, typer.Option("--method", help="minmax, percentile or mse.")] = "mse",
    percentile: Annotated[float, typer.Option(help="For --method percentile.")] = 99.99,
    per_channel: Annotated[
        bool, typer.Option("--per-channel/--per-tensor", help="Scales of weights: one a channel, or one a tensor.")
    ] = True,
    symmetric: Annotated[
        bool, typer.Option("--symmetric/--affine", help="Whether zero points of activations are in the middle.")
    ] = False,
    activations: Annotated[str, typer.Option(help="int8 or uint8.")] = "int8",
    io: Annotated[str, typer.Option(help="int or float: type of the graph's inputs and outputs.")] = "int",
    float_ops: opt.FloatOps = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Use the first N samples only.")] = None,
    input_range: opt.InputRange = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    layout: opt.Layout = None,
    shape: opt.Shape = None,
    seed: opt.Seed = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Static post-training quantization: a float model in, a standard ONNX model with Q/DQ out."""
    from microlith import api

    step = api.technique(
        "ptq",
        calibration=calibration_method,
        percentile=percentile,
        per_channel=per_channel,
        symmetric=symmetric,
        activations=activations,
        io=io,
        float_ops=tuple(float_ops or ()),
    )
    target = None if device is None else api.device(device)
    with progress(quiet=quiet) as show:
        quantized = api.apply(
            api.load(model, opt.shapes(shape)),
            [step],
            data=data,
            target=target,
            preprocessing=opt.preprocessing(input_range, mean, std, layout),
            calibration=samples,
            seed=seed,
            progress=show,
        )
    api.save_model(quantized, out)
    print(f"wrote {out}")


@app.command()
def infer(
    out: opt.Out,
    input: Annotated[list[Path], typer.Option("--input", "-i", help="A .npy file an input, in order.")],
    emulate: Annotated[bool, typer.Option("--emulate", help="Run the device's own code in the emulator.")] = False,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the first output, as real numbers, as .npy.")
    ] = None,
    compiler: opt.Compiler = None,
    json: opt.Json = False,
) -> None:
    """Run one input through an artifact, on this machine or on the emulated device."""
    from microlith import api
    from microlith.cli.arrays import read_array, write_array
    from microlith.cli.show import print_outputs

    arrays = [read_array(path) for path in input]
    outputs = api.infer(api.Opened.read(out), arrays, emulate=emulate, compiler=compiler)
    if save is not None:
        write_array(save, outputs[0].real)
    print_outputs(outputs, json=json)


@app.command()
def verify(
    out: opt.Out,
    data: Annotated[
        str | None, typer.Option("--data", help="Inputs as the artifact takes them; random ones by default.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many inputs to compare.")] = 20,
    board_log: Annotated[
        Path | None,
        typer.Option("--board-log", help="What selftest/ printed on a real board: figures become measured."),
    ] = None,
    compiler: opt.Compiler = None,
    seed: opt.Seed = 0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Compare reference, C on this machine, C on the emulated device and ONNX Runtime; or take in a board's log."""
    from microlith import api
    from microlith.cli.show import print_board, print_checks

    opened = api.Opened.read(out)
    if board_log is not None:
        print_board(api.take_board_log(opened, board_log), out, json=json)
        return
    with progress(quiet=quiet) as show:
        feeds = api.artifact_samples(opened, data, samples)
        rows = api.verify(opened, samples=feeds, count=samples, compiler=compiler, seed=seed, progress=show)
    print_checks(rows, json=json)


@app.command()
def report(
    out: Annotated[list[Path], typer.Argument(help="One directory, or several to compare.", show_default=False)],
    html: Annotated[Path | None, typer.Option("--html", help="File to write; OUT/report.html by default.")] = None,
    json: opt.Json = False,
) -> None:
    """The trade-off report: one self-contained HTML file, and the same summary in the terminal."""
    from microlith.cli.show import print_report

    print_report(out, html, json=json)


@app.command()
def devices(json: opt.Json = False) -> None:
    """List the device profiles."""
    from microlith import api
    from microlith.cli.show import print_devices

    print_devices(api.devices(), json=json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write.")] = Path("microlith-demo"),
    device: opt.DeviceName = "nrf52840",
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Optimize a small network that comes along (Fashion-MNIST) for a microcontroller, and verify it in the emulator."""
    from microlith.cli.demo import run_demo

    run_demo(out, device, json=json, quiet=quiet)
