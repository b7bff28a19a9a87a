"""The demo: a small network that comes along, optimized for a microcontroller and verified in the emulator."""

from __future__ import annotations

import shlex
import time
from importlib import resources
from pathlib import Path

from microlith import api
from microlith.cli.progress import progress
from microlith.cli.scratch import scratch
from microlith.cli.show import print_optimized, say
from microlith.core.files import check_directory
from microlith.core.units import format_bytes
from microlith.device.profile import Device

MAX_DROP_PP = 1.0
PARTS = api.Parts(calibration=200, selection=300, report=1000)
VERIFY_SAMPLES = 100
NAME = "fashion_mnist"


def run_demo(out: Path, device_name: str, *, json: bool, quiet: bool) -> None:
    """Optimize the network that comes along, write the artifact, and say what to do next.

    Raises:
        BudgetUnmetError: the network does not fit the device, or loses too much.
    """
    target = api.device(device_name)
    check_directory(out)
    if not json:
        _introduce(target)
    budget = api.Budget(max_drop=MAX_DROP_PP, flash=target.capacity("flash"), ram=target.capacity("ram"))
    begun = time.monotonic()
    data = resources.files("microlith.cli") / "demo_data"
    with (
        scratch(),
        resources.as_file(data / "model.onnx") as model,
        resources.as_file(data / "images.npz") as images,
        progress(quiet=quiet) as show,
    ):
        result = api.optimize(
            api.load(model),
            target,
            data=str(images),
            budget=budget,
            preprocessing=api.Preprocessing(layout="nhwc", low=0.0, high=1.0),
            parts=PARTS,
            options=api.Options(
                name=NAME,
                host_samples=VERIFY_SAMPLES,
                emulated_samples=VERIFY_SAMPLES,
                command=f"microlith demo --device {target.name}",
            ),
            progress=show.step,
            announce=show.announce,
        )
        if result.best is not None:
            result.best.export(out)
    print_optimized(result, out, json=json)
    if result.best is None:
        raise api.unmet(result.verdicts, result.nearest.built)
    if not json:
        _conclude(out, target, time.monotonic() - begun)


def _introduce(target: Device) -> None:
    flash, ram = target.capacity("flash"), target.capacity("ram")
    memory = "" if flash is None or ram is None else f", {format_bytes(flash)} flash and {format_bytes(ram)} RAM"
    say(
        "A small convolutional network for Fashion-MNIST, trained in float32, becomes an int8 C library for the "
        f"{target.title}{memory}. Its accuracy may drop by {MAX_DROP_PP:g} percentage point at most. "
        f"{PARTS.calibration} images calibrate, {PARTS.selection} choose among the settings of quantization, and "
        f"{PARTS.report:,} others report.",
        "",
    )


def _conclude(out: Path, target: Device, seconds: float) -> None:
    place = shlex.quote(str(out))
    emulated = [] if target.is_host else [("run the artifact again and compare", f"microlith verify {place}")]
    other = "rp2040" if target.name != "rp2040" else "nrf52840"
    steps = [
        *emulated,
        ("the same network on a smaller core", f"microlith demo --device {other} -o {place}-{other}"),
        ("what else it would fit", f"microlith check {place}/model.onnx --device stm32f746"),
        ("your own model", "microlith optimize MODEL.onnx --device DEVICE --data FILE.npz --max-drop 1pp -o out"),
    ]
    width = max(len(what) for what, _ in steps)
    lines = (f"  {what:<{width}}  {command}" for what, command in steps)
    say(f"This took {seconds:.0f} s. Next:", "", *lines, wrap=False)
