"""Device profiles: the built-in ones, the host as detected, or a user's own TOML file."""

from __future__ import annotations

import difflib
import os
import platform
import tomllib
from importlib import resources
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError

from microlith.core.errors import InputError
from microlith.device.profile import Device, Isa

PROFILES = ("nrf52840", "stm32f446", "stm32l4r5", "stm32f746", "stm32u575", "rp2040", "mps3-an547", "esp32c3")
# What a core may have beside the portable instructions; those that are not named here have the DSP extension.
_ISAS: dict[str, set[Isa]] = {
    "cortex-m0plus": {"thumb1"},
    "cortex-m3": {"scalar"},
    "cortex-m55": {"dsp", "mve"},
    "rv32imc": {"scalar"},
}
_NO_FPU = ("cortex-m0plus", "cortex-m3", "rv32imc")
CPUINFO = Path("/proc/cpuinfo")


def device(name_or_path: str | os.PathLike[str]) -> Device:
    """The device of that name, or the one that a TOML file describes.

    Args:
        name_or_path: ``host``, a built-in name, or a path that ends in ``.toml``.

    Raises:
        InputError: the name is unknown, or the file cannot be read or is no profile.
    """
    text = os.fspath(name_or_path)
    if text.endswith(".toml"):
        return _parse(_read(Path(text)), text)
    if text == "host":
        return host()
    if text in PROFILES:
        return _builtin(text)
    known = ("host", *PROFILES)
    close = difflib.get_close_matches(text.lower(), known, n=3)
    guess = f"Did you mean {' or '.join(close)}? " if close else ""
    raise InputError(
        f"unknown device {text!r}; known are {', '.join(known)}",
        hint=f"{guess}Name one of these, or the path of your own profile, which must end in .toml.",
    )


def devices() -> tuple[Device, ...]:
    """Every built-in device, the host first."""
    return (host(), *(_builtin(name) for name in PROFILES))


def host() -> Device:
    """This machine. AVX2 is claimed only where Linux reports it together with FMA; elsewhere kernels are portable."""
    isas: tuple[Isa, ...] = ("portable", "avx2") if _has_avx2() else ("portable",)
    machine = platform.machine() or "unknown processor"
    sources = {"core": "detected at run time", "isas": "/proc/cpuinfo", "fpu": "IEEE 754 double is required of a host"}
    title = f"this machine ({machine})"
    return Device(name="host", title=title, core="host", fpu="double", isas=isas, sources=sources)


def _has_avx2() -> bool:
    if platform.machine() not in ("x86_64", "AMD64") or not CPUINFO.is_file():
        return False
    lines = CPUINFO.read_text(errors="replace").splitlines()
    flags = [set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")]
    return bool(flags) and all({"avx2", "fma"} <= found for found in flags)


def _builtin(name: str) -> Device:
    resource = resources.files("microlith.device") / "profiles" / f"{name}.toml"
    return _parse(resource.read_text(encoding="utf-8"), f"{name}.toml")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"cannot read the device profile {path}: {reason}") from error


def _parse(text: str, where: str) -> Device:
    try:
        found = Device.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the device profile {where} is not TOML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise InputError(
            f"the device profile {where} is malformed: {faults}",
            hint="Compare it with the profile of a similar device that comes with microlith.",
        ) from error
    _check(found, where)
    return found


def _check(found: Device, where: str) -> None:
    """What the types cannot say: memory to run in, regions apart, and instructions that the core has."""
    if found.is_host:
        return
    for kind in ("flash", "ram"):
        if not any(region.name == kind and region.kind == kind for region in found.regions):
            raise InputError(
                f"the device profile {where} has no region named {kind!r} of kind {kind!r}",
                hint="Add a [[regions]] table for it: the program is linked into flash and ram.",
            )
    seen = [(start, region) for region in found.regions for start in (region.start, region.data_start)]
    ordered = sorted((start, region.bytes, region.name) for start, region in seen if start is not None)
    for (start, size, low), (after, _, high) in pairwise(ordered):
        if start + size > after:
            raise InputError(f"the device profile {where}: regions {low!r} and {high!r} overlap")
    names = [region.name for region in found.regions]
    if len(set(names)) != len(names):
        raise InputError(f"the device profile {where} has two regions of one name")
    wrong = set(found.isas) - {"portable"} - _ISAS.get(found.core, {"dsp"})
    if wrong:
        raise InputError(f"the device profile {where}: a {found.core} has no {' and no '.join(sorted(wrong))}")
    needs_fpu = found.core == "cortex-m4f"
    if (needs_fpu and found.fpu == "none") or (found.core in _NO_FPU and found.fpu != "none"):
        raise InputError(f"the device profile {where}: fpu = {found.fpu!r} does not go with core = {found.core!r}")
