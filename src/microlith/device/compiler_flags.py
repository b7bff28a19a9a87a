"""Which flags make a compiler produce code for a core, and nothing that changes its arithmetic."""

from __future__ import annotations

from typing import Literal

from microlith.core.errors import ToolchainError
from microlith.device.profile import Device

Family = Literal["zig", "gcc", "clang"]

# A product and the sum that follows it must round separately, or results differ between machines; and no compiler
# may assume away what the reference computes.
ARITHMETIC = ("-std=c99", "-ffp-contract=off", "-fno-fast-math", "-fno-strict-aliasing")
SECTIONS = ("-ffunction-sections", "-fdata-sections")
FREESTANDING = ("-ffreestanding", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fomit-frame-pointer")

# (zig -mcpu without and with a single- or double-precision FPU; gcc -mcpu; gcc -mfpu for single and double)
_CORES: dict[str, tuple[dict[str, str], str, dict[str, str]]] = {
    "cortex-m0plus": ({"none": "cortex_m0plus"}, "cortex-m0plus", {}),
    "cortex-m3": ({"none": "cortex_m3"}, "cortex-m3", {}),
    "cortex-m4f": ({"single": "cortex_m4+vfp4d16sp"}, "cortex-m4", {"single": "fpv4-sp-d16"}),
    "cortex-m7": (
        {"none": "cortex_m7", "single": "cortex_m7+fp_armv8d16sp", "double": "cortex_m7+fp_armv8d16"},
        "cortex-m7",
        {"single": "fpv5-sp-d16", "double": "fpv5-d16"},
    ),
    "cortex-m33": (
        {"none": "cortex_m33-fp_armv8d16sp", "single": "cortex_m33+fp_armv8d16sp"},
        "cortex-m33",
        {"single": "fpv5-sp-d16"},
    ),
    "cortex-m55": (
        {"none": "cortex_m55-mve_fp-mve-fp_armv8d16sp", "double": "cortex_m55+mve_fp+fp_armv8d16"},
        "cortex-m55",
        {"double": "auto"},
    ),
}


def target_flags(device: Device, family: Family) -> tuple[str, ...]:
    """Flags that select the device's core, floating point and instruction-set extensions.

    Raises:
        ToolchainError: the combination of core, FPU and compiler is not one that this version can build for.
    """
    if device.is_host:
        return _host_flags(device, family)
    if device.is_riscv:
        return _riscv_flags(device, family)
    zig, gcc_cpu, gcc_fpu = _CORES[device.core]
    if device.fpu not in zig:
        raise ToolchainError(
            f"{device.name}: a {device.core} with fpu = {device.fpu!r} is not known; known are {', '.join(zig)}",
            hint="Correct the device profile.",
        )
    optional_dsp = device.core == "cortex-m33"
    dsp = "dsp" in device.isas
    if family == "zig":
        target = "thumb-freestanding-eabi" if device.fpu == "none" else "thumb-freestanding-eabihf"
        return ("-target", target, f"-mcpu={zig[device.fpu]}{('+dsp' if dsp else '-dsp') if optional_dsp else ''}")
    if family == "gcc":
        cpu = gcc_cpu + ("+nodsp" if optional_dsp and not dsp else "")
        floats = ("-mfloat-abi=soft",) if device.fpu == "none" else ("-mfloat-abi=hard", f"-mfpu={gcc_fpu[device.fpu]}")
        return (f"-mcpu={cpu}", "-mthumb", *floats)
    raise _no_runtime(device, "Arm")


def _riscv_flags(device: Device, family: Family) -> tuple[str, ...]:
    # Zicsr has the instructions that reach the processor's own registers, which start-up code needs.
    if family == "zig":
        return ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c+zicsr-d-f-a")
    if family == "gcc":
        return ("-march=rv32imc_zicsr", "-mabi=ilp32")
    raise _no_runtime(device, "RISC-V")


def _no_runtime(device: Device, architecture: str) -> ToolchainError:
    return ToolchainError(
        f"a plain clang cannot link for {device.name}: it brings no run-time library for bare-metal {architecture}",
        hint='Use zig cc, which is clang with one: pip install "microlith[zig]".',
    )


def _host_flags(device: Device, family: Family) -> tuple[str, ...]:
    # zig's default is the very processor that compiles; the artifact may only use what the device names.
    base = ("-mcpu=baseline",) if family == "zig" else ()
    return (*base, *(("-mavx2", "-mfma") if "avx2" in device.isas else ()))
