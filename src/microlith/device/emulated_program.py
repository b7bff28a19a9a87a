"""A linked program, as what emulates it sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from microlith.core.errors import RunError
from microlith.device import elf

_LAYER = re.compile(r"_layer_\d+$")


@dataclass(frozen=True)
class Program:
    """An ELF file, read once."""

    path: Path
    segments: tuple[tuple[int, bytes], ...]
    symbols: dict[str, elf.Symbol]

    @classmethod
    def read(cls, path: Path) -> Program:
        """Read segments and symbols."""
        return cls(path, tuple(elf.load_segments(path)), elf.symbols(path))

    def address(self, name: str) -> int:
        """Where a symbol lies.

        Raises:
            RunError: the program has no such symbol.
        """
        symbol = self.symbols.get(name)
        if symbol is None:
            raise RunError(
                f"the program has no symbol {name}",
                hint="Link it with the linker script of microlith, and keep the symbols that the runner calls.",
            )
        return symbol.address

    def layers(self) -> dict[int, str]:
        """Entry address to symbol of every function that is named like a layer."""
        found = (symbol for symbol in self.symbols.values() if symbol.kind == "function")
        return {symbol.address: symbol.name for symbol in found if _LAYER.search(symbol.name)}

    def function_at(self, pc: int) -> str:
        """The function that holds an address, or a note that none does."""
        for symbol in self.symbols.values():
            if symbol.kind == "function" and symbol.address <= pc < symbol.address + max(symbol.bytes, 2):
                return symbol.name
        return "no function"
