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
    startup = _read(_startup(device)).replace("@CORE@", _core_title(device))
    return {
        f"startup_{device.core}.c": startup,
        "ml_board.c": _read("ml_board.c"),
        "ml_board.h": board_header(),
        LINKER_SCRIPT: linker_script(device),
    }


def _startup(device: Device) -> str:
    if device.is_riscv:
        return "startup_riscv.c"
    return "startup_baseline.c" if device.core == "cortex-m0plus" else "startup_mainline.c"


def board_header() -> str:
    """``ml_board.h``, which a program on a host can use as well."""
    return _read("ml_board.h")


def linker_script(device: Device) -> str:
    """A GNU ld script, which lld takes as well: code and constants in ``flash``, data in ``ram``, the stack above it.

    Every other region gets an output section of its name, which takes input sections ``.NAME`` and ``.NAME.*``; its
    contents are loaded where they lie (flash) or not at all (RAM, which start-up leaves uninitialized).
    """
    others = [region for region in device.regions if region.name not in ("flash", "ram")]
    windows = _flash(device).data_start is not None
    segments = [*(["constants"] if windows else []), *(region.name for region in others)]
    values = {
        "@TITLE@": device.title,
        "@NOTE@": _boot_note(device),
        "@MEMORY@": "\n".join(_memory(region) for region in device.regions),
        "@CONSTANTS@": _constants(device),
        "@TEXT_END@": "\n    . = ALIGN(16);" if windows else "",
        "@DATA_LOAD@": " - ORIGIN(flash) + ORIGIN(flash_data)" if windows else "",
        "@PHDRS@": "".join(f"\n  {name} PT_LOAD;" for name in segments),
        "@OTHERS@": "".join(_section(region) for region in others),
        "@STACK@": str(STACK_BYTES_AT_LEAST),
    }
    text = _read(LINKER_SCRIPT)
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _boot_note(device: Device) -> str:
    if not _flash(device).external:
        return ""
    if device.is_riscv:
        return """
 *
 * The flash is outside the chip's own memory. Before this program starts, the board's boot loader has to make it
 * readable, and then start at its first byte; that is not part of this file. On the ESP32-C3 the boot ROM does so
 * where the 8 bytes before this program are its mark of a direct boot. Clocks and watchdogs are left as it leaves them:
 * to run on such a board, use the package for ESP-IDF, or a project of the vendor's."""
    return """
 *
 * The flash is outside the chip. Before this program starts, the board's own boot loader has to make the flash readable
 * and then start from the vector table below; it is not part of this file. On the RP2040 it is the second stage (boot2)
 * of the Pico SDK, in the 256 bytes before the table."""


def _flash(device: Device) -> Region:
    return next(region for region in device.regions if region.name == "flash")


def _constants(device: Device) -> str:
    """The section of constants: in the flash, at the address by which loads find it."""
    inputs = "*(.rodata .rodata.* .srodata .srodata.*)"
    if _flash(device).data_start is None:
        return f"  .rodata : ALIGN(8) {{\n    {inputs}\n  }} > flash :code"
    return f"""  /* Loads find the flash at an address of its own; what follows the code is the same bytes by both. */
  .rodata ORIGIN(flash_data) + ADDR(.text) + SIZEOF(.text) - ORIGIN(flash) : {{
    {inputs}
  }} > flash_data AT > flash :constants"""


def _core_title(device: Device) -> str:
    if device.is_riscv:
        return "RISC-V (RV32IMC)"
    names = {"m0plus": "M0+", "m3": "M3", "m4f": "M4F", "m7": "M7", "m33": "M33", "m55": "M55"}
    return f"the Arm Cortex-{names[device.core.removeprefix('cortex-')]}"


def _memory(region: Region) -> str:
    access = "rx" if region.kind == "flash" else "rwx"
    line = f"  {region.name} ({access}) : ORIGIN = {region.start:#010x}, LENGTH = {region.bytes}"
    if region.data_start is None:
        return line
    return f"{line}\n  {region.name}_data (r) : ORIGIN = {region.data_start:#010x}, LENGTH = {region.bytes}"


def _section(region: Region) -> str:
    kind = "" if region.kind == "flash" else " (NOLOAD)"
    inputs = f"*(.{region.name} .{region.name}.*)"
    return f"\n\n  .{region.name}{kind} : ALIGN(8) {{\n    {inputs}\n  }} > {region.name} :{region.name}"


def _read(name: str) -> str:
    return (resources.files("microlith.device") / "target" / name).read_text(encoding="utf-8")
