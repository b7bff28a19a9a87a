"""Start-up code, linker script and board helper: what makes a program of a bare microcontroller.

They are copied into the user's package, and the emulator runs the very same files.
"""

from __future__ import annotations

from importlib import resources

from microlith.device.profile import Device, Region

LINKER_SCRIPT = "linker.ld"
STACK_BYTES_AT_LEAST = 512


def support_files(device: Device) -> dict[str, str]:
    """File name to text: ``startup_<core>.c``, ``ml_board.c``, ``ml_board.h`` and ``linker.ld``."""
    baseline = device.core == "cortex-m0plus"
    startup = _read("startup_baseline.c" if baseline else "startup_mainline.c").replace("@CORE@", _core_title(device))
    return {
        f"startup_{device.core}.c": startup,
        "ml_board.c": _read("ml_board.c"),
        "ml_board.h": board_header(),
        LINKER_SCRIPT: linker_script(device),
    }


def board_header() -> str:
    """``ml_board.h``, which a program on a host can use as well."""
    return _read("ml_board.h")


def linker_script(device: Device) -> str:
    """A GNU ld script, which lld takes as well: code and constants in ``flash``, data in ``ram``, the stack above it.

    Every other region gets an output section of its name, which takes input sections ``.NAME`` and ``.NAME.*``; its
    contents are loaded where they lie (flash) or not at all (RAM, which start-up leaves uninitialized).
    """
    others = [region for region in device.regions if region.name not in ("flash", "ram")]
    values = {
        "@TITLE@": device.title,
        "@NOTE@": _boot_note(device),
        "@MEMORY@": "\n".join(_memory(region) for region in device.regions),
        "@PHDRS@": "".join(f"\n  {region.name} PT_LOAD;" for region in others),
        "@OTHERS@": "".join(_section(region) for region in others),
        "@STACK@": str(STACK_BYTES_AT_LEAST),
    }
    text = _read(LINKER_SCRIPT)
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _boot_note(device: Device) -> str:
    flash = next(region for region in device.regions if region.name == "flash")
    if not flash.external:
        return ""
    return """
 *
 * The flash is outside the chip. Before this program starts, the board's own boot loader has to make the flash readable
 * and then start from the vector table below; it is not part of this file. On the RP2040 it is the second stage (boot2)
 * of the Pico SDK, in the 256 bytes before the table."""


def _core_title(device: Device) -> str:
    names = {"m0plus": "M0+", "m3": "M3", "m4f": "M4F", "m7": "M7", "m33": "M33", "m55": "M55"}
    return f"the Arm Cortex-{names[device.core.removeprefix('cortex-')]}"


def _memory(region: Region) -> str:
    access = "rx" if region.kind == "flash" else "rwx"
    return f"  {region.name} ({access}) : ORIGIN = {region.start:#010x}, LENGTH = {region.bytes}"


def _section(region: Region) -> str:
    kind = "" if region.kind == "flash" else " (NOLOAD)"
    inputs = f"*(.{region.name} .{region.name}.*)"
    return f"\n\n  .{region.name}{kind} : ALIGN(8) {{\n    {inputs}\n  }} > {region.name} :{region.name}"


def _read(name: str) -> str:
    return (resources.files("microlith.device") / "target" / name).read_text(encoding="utf-8")
