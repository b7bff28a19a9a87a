"""What models take on emulated devices, by each compiler: flash, RAM, instructions and cycles of an inference.

    python benchmarks/devices.py MODEL... [--device stm32l4r5 ...] [--opt balanced] [--beside arm-none-eabi-gcc]

MODEL is any file that ``microlith compile`` takes. Flash is that of the linked minimal application, RAM what it uses,
its stack among it; instructions are exact, cycles are modelled on cores that have a table. "of the first" are the
instructions against those of the first device, by the same compiler. The compiler beside is left out where it does not
compile for a device; a Cortex-M55 needs ``qemu-system-arm``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import microlith as ml
from microlith.compile.choose import OPTS
from microlith.core.errors import ToolchainError
from microlith.device.profile import Device
from microlith.device.toolchain import find_toolchain
from microlith.report.summary import CompilerRow, compilers

DEVICES = ("stm32l4r5", "stm32f746", "stm32u575", "rp2040", "mps3-an547", "esp32c3")
HEADS = ("model", "device", "core", "compiler", "flash", "RAM", "instructions", "of the first", "cycles")


def compiles(compiler: str, device: Device) -> bool:
    """Whether a compiler is there and knows the device."""
    try:
        find_toolchain(device, compiler)
    except ToolchainError:
        return False
    return True


def figures(path: Path, device: Device, opt: str, beside: Sequence[str]) -> tuple[CompilerRow, ...]:
    """By zig's compiler, then by the others."""
    artifact = ml.compile(ml.load(path), device, opt=opt, beside=[name for name in beside if compiles(name, device)])
    evidence, details = artifact.evidence, artifact.details
    counts = {item.metric: int(item.value) for item in evidence.items}
    metrics = ("flash_bytes", "ram_bytes", "instructions", "cycles")
    rows = [row for row in compilers(details, evidence) if row.instructions is not None]
    return tuple(rows) or (CompilerRow(details.toolchain, *(counts.get(metric) for metric in metrics)),)


def lines(paths: Sequence[Path], devices: Sequence[Device], opt: str, beside: Sequence[str]) -> Iterator[str]:
    """The rows of the table, as Markdown."""
    for path in paths:
        first: dict[str, int] = {}
        for device in devices:
            for row in figures(path, device, opt, beside):
                share = ""
                if row.instructions is not None:
                    share = f"{row.instructions / first.setdefault(row.compiler, row.instructions):.3f}"
                numbers = [
                    "" if number is None else f"{number:,}"
                    for number in (row.flash_bytes, row.ram_bytes, row.instructions, row.cycles)
                ]
                cells = (path.stem, device.name, device.core, row.compiler, *numbers[:3], share, numbers[3])
                yield "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--device", action="append", default=[])
    parser.add_argument("--opt", choices=OPTS, default="balanced")
    parser.add_argument("--beside", action="append", default=[])
    given = parser.parse_args()
    devices = [ml.device(name) for name in given.device or DEVICES]
    print("| " + " | ".join(HEADS) + " |\n" + "|---" * len(HEADS) + "|")
    for line in lines(given.models, devices, given.opt, given.beside or ["arm-none-eabi-gcc"]):
        print(line)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
