"""The commands. Each imports what it needs when it runs, so that ``--help`` stays instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from microlith.cli import bench
from microlith.cli import options as opt
from microlith.cli.apply import apply_app
from microlith.cli.pages import examples, help_if_alone
from microlith.cli.progress import progress
from microlith.cli.scratch import scratch
from microlith.core.errors import InputError

ORDER = ("check", "compile", "optimize", "apply", "infer", "verify", "bench", "report", "devices", "demo")


class InOrder(TyperGroup):
    """Commands in the order in which one meets them."""

    def list_commands(self, context: typer.Context) -> list[str]:  # type: ignore[override]
        """The names that help lists."""
        return list(ORDER)


app = typer.Typer(
    cls=InOrder,
    epilog=examples("demo", "check kws.onnx --device nrf52840", "optimize --help"),
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(apply_app, name="apply", short_help="Techniques by themselves: apply ptq.", invoke_without_command=True)


def _version(value: bool) -> None:
    if value:
        from microlith import __version__

        print(f"microlith {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A trained network and a device in; the smallest, fastest program that does the job, proved by running it."""
    help_if_alone(context)


@app.command(
    short_help="Will it fit? No data, no compiler, seconds.",
    epilog=examples(
        "check kws.onnx --device nrf52840",
        "check kws.onnx --device rp2040 --passes",
        "check kws.onnx --device rp2040 --stop-after FoldBatchNormIntoConv -o folded.onnx",
        "check kws.onnx --device nrf52840 --data kws.npz --html ranges.html",
        "check kws.onnx --device stm32f746 --shape audio=1,1,49,10 --json",
    ),
)
def check(
    model: opt.Model,
    device: opt.DeviceName,
    passes: Annotated[bool, typer.Option("--passes", help="Show what each graph pass does.")] = False,
    stop_after: Annotated[
        str | None, typer.Option("--stop-after", metavar="PASS", help="Write the graph as it is after this pass.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File for --stop-after.")] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Samples: show ranges, clipping and each layer's quantization noise on them too."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with pictures of what --data shows.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Most samples of --data to look at.")] = 100,
    input_range: opt.InputRange = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    layout: opt.Layout = None,
    opset: opt.Opset = None,
    shape: opt.Shape = None,
    state: opt.State = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Will the model fit, and what stands in the way? Takes seconds, no data and no compiler.

    With data, also what quantization does to each value and layer. Exits 2 where the model cannot be compiled at all,
    and 3 where no form of it fits the device.
    """
    from microlith import api
    from microlith.cli.show import print_check, print_remarks

    target = api.device(device)
    loaded = api.load(model, shapes=opt.shapes(shape), state=opt.states(state))
    if html is not None and data is None:
        raise InputError("--html is given without --data", hint="Name samples, as --data kws.npz.")
    if (stop_after is None) != (out is None):
        raise InputError("--stop-after and -o are given one without the other", hint="Name a pass and a file to write.")
    if opset is not None and stop_after is None:
        raise InputError(
            "--opset is given, and nothing is written", hint="Name what to write: --stop-after PASS -o FILE."
        )
    if stop_after is not None and out is not None:
        print_remarks(api.save_model(api.graph_after(loaded, stop_after), out, opset))
    found = api.check(loaded, target)
    ranges = None
    if data is not None:
        with progress(quiet=quiet) as show:
            ranges = api.check_ranges(
                loaded,
                target,
                data=data,
                samples=samples,
                preprocessing=opt.preprocessing(input_range, mean, std, layout),
                progress=show.step,
            )
        if html is not None:
            api.write_ranges(ranges, model.name, target, html)
    print_check(found, model.name, target, passes=passes, written=out, ranges=ranges, page=html, json=json)
    api.require_fit(found, target)


@app.command(
    short_help="The model as it is, as a C library; no data.",
    epilog=examples(
        "compile kws.onnx --device nrf52840 -o out",
        "compile kws_int8.onnx --device stm32u575 --name kws -o out",
        "compile kws_int8.onnx --device stm32u575 --opt speed --flash 300K -o out",
        "compile kws_int8.onnx --device stm32u575 --ram 12K -o out",
        "compile cell.onnx --device rp2040 --state h_in=h_out -o out",
        "compile kws.onnx --device nrf52840 --package arduino --package zephyr -o out",
        "compile kws_int8.onnx --device stm32u575 --beside arm-none-eabi-gcc -o out",
    ),
)
def compile(
    model: opt.Model,
    device: opt.DeviceName,
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write.")],
    name: opt.Name = None,
    compiler: opt.Compiler = None,
    beside: opt.Beside = None,
    level: opt.OptLevel = "balanced",
    flash: opt.Flash = None,
    ram: opt.Ram = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Count kernels and schedules on the emulated device before choosing.")
    ] = False,
    float_ops: opt.FloatOps = None,
    package: opt.Package = None,
    shape: opt.Shape = None,
    state: opt.State = None,
    seed: opt.Seed = 0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Compile the model as it is, without data and without changing what it computes: graph to C library."""
    from microlith import api
    from microlith.cli.show import print_artifact
    from microlith.core.files import check_directory

    symbol = opt.symbol(name, model)
    target = api.device(device)
    check_directory(out)
    loaded = api.load(model, shapes=opt.shapes(shape), state=opt.states(state))
    with scratch(), progress(quiet=quiet) as show:
        artifact = api.compile(
            loaded,
            target,
            name=symbol,
            compiler=compiler,
            beside=tuple(beside or ()),
            float_ops=tuple(float_ops or ()),
            opt=level,
            flash=flash,
            ram=ram,
            tune=tune,
            seed=seed,
            packages=tuple(package or ()),
            command=opt.command_line(
                "compile",
                model,
                device=target.name,
                opt=None if level == "balanced" else level,
                flash=flash,
                ram=ram,
                tune=tune,
                beside=[Path(name) for name in beside or ()],
                float_ops=float_ops,
                package=package,
                shape=shape,
                state=state,
            ),
            progress=show.step,
        )
        artifact.export(out)
    print_artifact(artifact, out, json=json)


@app.command(
    short_help="Quantize within a budget, compile, run, check.",
    epilog=examples(
        "optimize kws.onnx --device nrf52840 --data kws.npz --max-drop 1pp --ram 64K -o out",
        "optimize kws.onnx --device nrf52840 --data kws.npz --ram 64K --dry-run",
        "optimize kws.onnx --device host --data loader.py:samples --recipe out/recipe.yaml -o out2",
    ),
)
def optimize(
    model: opt.Model,
    device: opt.DeviceName,
    data: opt.Data,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Directory to write.")] = None,
    max_drop: Annotated[str | None, typer.Option(help="Largest accuracy drop in percentage points, as 1pp.")] = None,
    flash: opt.Flash = None,
    ram: opt.Ram = None,
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
    level: opt.OptLevel = "balanced",
    name: opt.Name = None,
    compiler: opt.Compiler = None,
    package: opt.Package = None,
    shape: opt.Shape = None,
    state: opt.State = None,
    seed: opt.Seed = 0,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Find the best artifact within a budget: quantize, compile, run on the (emulated) device, and check."""
    from microlith import api
    from microlith.cli.show import print_dry_run, print_optimized
    from microlith.core.budget import parse_budget
    from microlith.core.errors import BudgetUnmetError, InputError
    from microlith.core.files import check_directory

    symbol = opt.symbol(name, model)
    budget = parse_budget(max_drop=max_drop, flash=flash, ram=ram, latency=latency, energy=energy)
    steps = None if recipe is None else api.Recipe.read(recipe)
    if out is None and not dry_run:
        raise InputError("there is nowhere to write to", hint="Name a directory: --out out, or use --dry-run.")
    if out is not None:
        check_directory(out)
    target = api.device(device)
    api.package_kinds(package or (), target)
    loaded = api.load(model, shapes=opt.shapes(shape), state=opt.states(state))
    settled = opt.preprocessing(input_range, mean, std, layout)
    sizes = opt.parts(calibration, selection, report_samples)
    if dry_run:
        plan = api.dry_run(loaded, target, data, budget, steps, preprocessing=settled, parts=sizes, metric=metric)
        print_dry_run(plan, target, budget, json=json)
        if plan.infeasible:
            raise BudgetUnmetError("the budget cannot be met: " + "; ".join(plan.infeasible))
        return
    assert out is not None, "checked above"
    with scratch(), progress(quiet=quiet) as show:
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
                opt=level,
                packages=tuple(package or ()),
                command=opt.command_line(
                    "optimize",
                    model,
                    device=target.name,
                    data=Path(data),
                    max_drop=max_drop,
                    flash=flash,
                    ram=ram,
                    latency=latency,
                    energy=energy,
                    metric=None if metric is None else Path(metric),
                    input_range=input_range,
                    mean=mean,
                    std=std,
                    layout=layout,
                    calibration=calibration,
                    selection=selection,
                    report_samples=report_samples,
                    recipe=recipe,
                    opt=None if level == "balanced" else level,
                    package=package,
                    shape=shape,
                    state=state,
                    seed=seed or None,
                ),
            ),
            progress=show.step,
            announce=show.announce,
        )
        if result.best is not None:
            result.best.export(out)
    print_optimized(result, out, json=json)
    if result.best is None:
        raise api.unmet(result.verdicts, result.nearest.built)


@app.command(
    short_help="One input through an artifact.",
    epilog=examples(
        "infer out --input image.npy",
        "infer out --input image.npy --emulate --save scores.npy",
    ),
)
def infer(
    out: opt.Out,
    input: Annotated[list[Path], typer.Option("--input", "-i", help="A .npy file an input, in order.")],
    emulate: Annotated[bool, typer.Option("--emulate", help="Run the device's own code in the emulator.")] = False,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the first output, as real numbers, as .npy.")
    ] = None,
    reset_each: Annotated[
        bool, typer.Option("--reset-each", help="Start every step from the initial state of a model with state.")
    ] = False,
    compiler: opt.Compiler = None,
    json: opt.Json = False,
) -> None:
    """Run one input through an artifact, on this machine or on the emulated device.

    Where the model keeps state, a leading axis of the input are the steps of one sequence.
    """
    from microlith import api
    from microlith.cli.arrays import read_array, write_array
    from microlith.cli.show import print_outputs

    arrays = [read_array(path) for path in input]
    with scratch():
        outputs = api.infer(api.Opened.read(out), arrays, emulate=emulate, compiler=compiler, reset_each=reset_each)
    if save is not None:
        write_array(save, outputs[0].real)
    print_outputs(outputs, json=json)


@app.command(
    short_help="Run an artifact again and compare; read a board log.",
    epilog=examples(
        "verify out",
        "verify out --data test.npz --samples 100",
        "verify out --board-log uart.txt",
    ),
)
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
    with scratch(), progress(quiet=quiet) as show:
        feeds = api.artifact_samples(opened, data, samples)
        rows = api.verify(opened, samples=feeds, count=samples, compiler=compiler, seed=seed, progress=show.step)
    print_checks(rows, json=json)
    api.require_passed(rows)


@app.command(
    short_help="The report again, or several runs compared.",
    epilog=examples(
        "report out",
        "report out out2 out3 --html comparison.html",
    ),
)
def report(
    out: Annotated[list[Path], typer.Argument(help="One directory, or several to compare.", show_default=False)],
    html: Annotated[
        Path | None, typer.Option("--html", help="File to write, instead of OUT/report.html or comparison.html.")
    ] = None,
    json: opt.Json = False,
) -> None:
    """The trade-off report: one self-contained HTML file, and the same summary in the terminal.

    One directory: the page is OUT/report.html. Several: they are compared side by side in comparison.html.
    """
    from microlith import api
    from microlith.cli.show import print_report

    runs, page = api.write_report(out, html)
    print_report(runs, page, json=json)


app.command(short_help=bench.SHORT_HELP, epilog=examples(*bench.EXAMPLES))(bench.bench)


@app.command(
    short_help="What is known of each device.",
    epilog=examples(
        "devices",
        "devices --json",
    ),
)
def devices(json: opt.Json = False) -> None:
    """List the device profiles."""
    from microlith import api
    from microlith.cli.show import print_devices

    print_devices(api.devices(), json=json)


@app.command(
    short_help="A small network, optimized and emulated.",
    epilog=examples(
        "demo",
        "demo --device rp2040 -o demo-rp2040",
    ),
)
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to write.")] = Path("microlith-demo"),
    device: opt.DeviceName = "nrf52840",
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Optimize a small network that comes along (Fashion-MNIST) for a microcontroller, and emulate it."""
    from microlith.cli.demo import run_demo

    run_demo(out, device, json=json, quiet=quiet)
