"""Exact instruction counts and modelled cycles from the basic blocks that a processor enters, by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from microlith.device.cycle_table import TAKEN_BRANCH_CYCLES, Block

_NOWHERE = -1


class Decoder(Protocol):
    """What knows the instructions of a core."""

    has_cycles: bool

    def decode(self, code: bytes) -> Block:
        """Decode one basic block."""
        ...


@dataclass
class Tally:
    """What ran in one layer, or outside all of them.

    Attributes:
        blocks: times that each basic block, by address and size, was entered.
        taken: branches taken out of these blocks.
        entries: times that the layer was called.
    """

    blocks: dict[tuple[int, int], int] = field(default_factory=dict)
    taken: int = 0
    entries: int = 0


class BlockCounter:
    """Counts basic blocks, each for the layer that runs, with everything the layer calls.

    A layer runs from the entry of its function until the processor is back at the return address with the stack
    pointer that it had. The branch that enters a layer belongs to its caller, the one that leaves it to the layer.

    Args:
        layers: entry address to symbol.
        registers: reads (link register, stack pointer).
        memory: reads (address, bytes) of code.
        decoder: of the core that runs.
    """

    def __init__(
        self,
        layers: Mapping[int, str],
        registers: Callable[[], tuple[int, int]],
        memory: Callable[[int, int], bytes],
        decoder: Decoder,
    ) -> None:
        self._layers = dict(layers)
        self._registers = registers
        self._memory = memory
        self._decoder = decoder
        self._decoded: dict[tuple[int, int], Block] = {}
        self.outside = Tally()
        self.tallies = {symbol: Tally() for symbol in layers.values()}
        self._now = self.outside
        self._fall_through = _NOWHERE
        self._return_address = _NOWHERE
        self._stack_pointer = 0
        self._last = (_NOWHERE, 0)
        self.layer: str | None = None

    def on_block(self, _engine: Any, address: int, size: int, _data: Any) -> None:
        """To be called whenever a basic block is entered."""
        tally = self._now
        if address != self._fall_through and self._fall_through != _NOWHERE:
            tally.taken += 1
        self._fall_through = address + size
        if address == self._return_address or (self.layer is None and address in self._layers):
            tally = self._cross(address)
        key = self._last = (address, size)
        tally.blocks[key] = tally.blocks.get(key, 0) + 1

    def reset(self) -> None:
        """Start counting anew."""
        for tally in (self.outside, *self.tallies.values()):
            tally.blocks.clear()
            tally.taken = tally.entries = 0

    def settle(self) -> None:
        """Bring the tallies up to date; here they always are."""

    def break_off(self) -> None:
        """Forget where the processor is: it is about to be started elsewhere by hand, which is no branch."""
        self._fall_through = _NOWHERE

    def _cross(self, address: int) -> Tally:
        """Enter or leave a layer."""
        link, stack_pointer = self._registers()
        if address == self._return_address and stack_pointer == self._stack_pointer:
            self.layer, self._return_address, self._now = None, _NOWHERE, self.outside
        if self.layer is None and address in self._layers:
            self.layer = self._layers[address]
            self._return_address, self._stack_pointer = link & ~1, stack_pointer
            self._now = self.tallies[self.layer]
            self._now.entries += 1
        return self._now

    def instructions(self, tally: Tally) -> int:
        """Instructions that ran; one that a condition skips counts as executed."""
        return sum(self._block(key).instructions * times for key, times in tally.blocks.items())

    def cycles(self, tally: Tally) -> int | None:
        """Modelled cycles; None where the core has no table."""
        if not self._decoder.has_cycles:
            return None
        straight = sum(self._block(key).cycles * times for key, times in tally.blocks.items())
        return straight + TAKEN_BRANCH_CYCLES * tally.taken

    def cycles_until(self, pc: int) -> int:
        """Modelled cycles of everything up to an instruction of the block that runs; 0 where the core has no table."""
        if not self._decoder.has_cycles:
            return 0
        self.settle()
        total = sum(self.cycles(tally) or 0 for tally in (self.outside, *self.tallies.values()))
        block = self._block(self._last)
        index = block.offsets.index(pc - self._last[0])
        return total - block.cycles + block.cycles_before[index]

    def executed(self) -> dict[int, bytes]:
        """Address to code of every instruction that ran."""
        found: dict[int, bytes] = {}
        self.settle()
        for tally in (self.outside, *self.tallies.values()):
            for address, size in tally.blocks:
                code, offsets = self._memory(address, size), self._block((address, size)).offsets
                ends = (*offsets[1:], size)
                found |= {address + start: code[start:end] for start, end in zip(offsets, ends, strict=True)}
        return found

    def _block(self, key: tuple[int, int]) -> Block:
        block = self._decoded.get(key)
        if block is None:
            block = self._decoded[key] = self._decoder.decode(self._memory(*key))
        return block
