"""What a linked program holds: sizes and symbols of an ELF file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from microlith.core.errors import InputError, ToolchainError

MCU_HINT = 'Install what emulation needs with: pip install "microlith[mcu]"'

_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
# Between the end of code and the initial values of variables the linker leaves less than their alignment.
_ALIGNMENT_GAP_BYTES = 16


@dataclass(frozen=True)
class ElfSizes:
    """Bytes that a program takes.

    Attributes:
        text: code.
        rodata: constants, with the vector table and unwinding tables.
        data: variables with an initial value; they take RAM, and flash for the value.
        bss: variables that start as zero, and RAM that stays uninitialized.
        flash: everything that is written to flash, alignment included.
        ram_static: data + bss, without the stack.
    """

    text: int
    rodata: int
    data: int
    bss: int
    flash: int

    @property
    def ram_static(self) -> int:
        """Bytes of RAM that are taken before the first call; the stack comes on top."""
        return self.data + self.bss


@dataclass(frozen=True)
class Symbol:
    """A name in a program; the address of a function is without the Thumb bit."""

    name: str
    address: int
    bytes: int
    kind: Literal["function", "object", "other"]


def require_modules(*names: str) -> None:
    """Refuse with the install command where one of these modules is missing; nothing is imported.

    Raises:
        ToolchainError: one is missing.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ToolchainError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing", hint=MCU_HINT)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    require_modules("elftools")
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as stream:
            yield ELFFile(stream)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ELFError as error:
        raise InputError(f"{path} is not an ELF file: {error}") from error


def sizes(path: Path) -> ElfSizes:
    """Sizes of the linked sections.

    Raises:
        InputError: the file cannot be read or is no ELF file.
    """
    totals = {"text": 0, "rodata": 0, "data": 0, "bss": 0}
    with _open(path) as elf:
        for section in elf.iter_sections():
            flags = section["sh_flags"]
            if not flags & _ALLOC:
                continue
            if section["sh_type"] == "SHT_NOBITS":
                kind = "bss"
            elif flags & _EXECUTE:
                kind = "text"
            else:
                kind = "data" if flags & _WRITE else "rodata"
            totals[kind] += section["sh_size"]
        return ElfSizes(**totals, flash=_flash_bytes(elf))


def _flash_bytes(elf: Any) -> int:
    loads = sorted(
        (segment["p_paddr"], segment["p_filesz"])
        for segment in elf.iter_segments()
        if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]
    )
    total, end = 0, None
    for start, length in loads:
        if end is not None and 0 < start - end < _ALIGNMENT_GAP_BYTES:
            total += start - end
        total += length
        end = start + length
    return total


def symbols(path: Path) -> dict[str, Symbol]:
    """Symbols by name; where a local and a global one share a name, the global one.

    Raises:
        InputError: the file cannot be read or is no ELF file.
    """
    found: dict[str, Symbol] = {}
    kinds: dict[str, Literal["function", "object"]] = {"STT_FUNC": "function", "STT_OBJECT": "object"}
    with _open(path) as elf:
        table = elf.get_section_by_name(".symtab")
        for entry in table.iter_symbols() if table is not None else ():
            info = entry["st_info"]
            if not entry.name or info["type"] in ("STT_FILE", "STT_SECTION") or entry["st_shndx"] == "SHN_UNDEF":
                continue
            kind: Literal["function", "object", "other"] = kinds.get(info["type"], "other")
            address = entry["st_value"] & ~1 if kind == "function" else entry["st_value"]
            if entry.name not in found or info["bind"] != "STB_LOCAL":
                found[entry.name] = Symbol(entry.name, address, entry["st_size"], kind)
    return found


def load_segments(path: Path) -> list[tuple[int, bytes]]:
    """What a programmer writes to the device: (physical address, bytes) of each loadable segment."""
    with _open(path) as elf:
        return [
            (segment["p_paddr"], segment.data())
            for segment in elf.iter_segments()
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]
        ]
