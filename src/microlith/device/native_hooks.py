"""The emulator's hooks in C: they count what the Python ones count, at a tenth of the time."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

from microlith.device.alignment import AlignedAccess
from microlith.device.block_counter import BlockCounter, Decoder, Tally

_NOWHERE = 2**64 - 1
_FIRST_BLOCKS = 4096
_CROSS = ctypes.CFUNCTYPE(None, ctypes.c_uint32)
_GROW = ctypes.CFUNCTYPE(None)


class _Block(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("tally", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("times", ctypes.c_uint64),
    )


class _Counter(ctypes.Structure):
    _fields_ = (
        ("fall_through", ctypes.c_uint64),
        ("return_address", ctypes.c_uint64),
        ("taken", ctypes.POINTER(ctypes.c_uint64)),
        ("entries", ctypes.POINTER(ctypes.c_uint32)),
        ("blocks", ctypes.POINTER(_Block)),
        ("slots", ctypes.POINTER(ctypes.c_uint32)),
        ("cross", _CROSS),
        ("grow", _GROW),
        ("tally", ctypes.c_uint32),
        ("entry_count", ctypes.c_uint32),
        ("used", ctypes.c_uint32),
        ("slot_count", ctypes.c_uint32),
        ("last", ctypes.c_uint32),
    )


class _Misaligned(ctypes.Structure):
    _fields_ = (
        ("read", ctypes.c_void_p),
        ("stop", ctypes.c_void_p),
        ("found", ctypes.c_uint32),
        ("address", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("pc", ctypes.c_uint32),
    )


class _Access(ctypes.Structure):
    _fields_ = (
        ("result", ctypes.POINTER(_Misaligned)),
        ("registers", ctypes.c_int32 * 2),
        ("register_count", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("offset", ctypes.c_int32),
    )


class NativeBlockCounter(BlockCounter):
    """A block counter whose ``on_block`` is a C function; the tallies hold what it counted after :meth:`settle`.

    Args:
        layers: see the base class.
        registers: likewise.
        memory: likewise.
        decoder: likewise.
        library: of the hooks.
    """

    def __init__(
        self,
        layers: Mapping[int, str],
        registers: Callable[[], tuple[int, int]],
        memory: Callable[[int, int], bytes],
        decoder: Decoder,
        library: ctypes.CDLL,
    ) -> None:
        super().__init__(layers, registers, memory, decoder)
        self._library = library
        self._order: list[Tally] = [self.outside, *self.tallies.values()]
        self._number = {id(tally): number for number, tally in enumerate(self._order)}
        self._taken = (ctypes.c_uint64 * len(self._order))()
        self._entries = (ctypes.c_uint32 * len(layers))(*sorted(layers))
        self._state = _Counter(_NOWHERE, _NOWHERE, self._taken, self._entries, entry_count=len(layers))
        # C holds no references: they must live as long as this object.
        self._callbacks = (_CROSS(self._on_cross), _GROW(self._on_grow))
        self._state.cross, self._state.grow = self._callbacks
        self._room(_FIRST_BLOCKS)

    @property
    def hook(self) -> tuple[int, int]:
        """Addresses of the function and of what it is to be given."""
        return _address(self._library.ml_on_block), ctypes.addressof(self._state)

    def reset(self) -> None:
        """Start counting anew."""
        super().reset()
        self._state.used = 0
        ctypes.memset(self._taken, 0, ctypes.sizeof(self._taken))
        ctypes.memset(self._slots, 0, ctypes.sizeof(self._slots))

    def break_off(self) -> None:
        """Forget where the processor is."""
        self._state.fall_through = _NOWHERE

    def settle(self) -> None:
        """Bring the tallies up to date."""
        for tally, taken in zip(self._order, self._taken, strict=True):
            tally.blocks.clear()
            tally.taken = taken
        for block in self._blocks[: self._state.used]:
            self._order[block.tally].blocks[block.address, block.bytes] = block.times
        if self._state.used:
            last = self._blocks[self._state.last]
            self._last = (last.address, last.bytes)

    def _on_cross(self, address: int) -> None:
        self._state.tally = self._number[id(self._cross(address))]
        self._state.return_address = self._return_address if self._return_address >= 0 else _NOWHERE

    def _on_grow(self) -> None:
        kept = self._blocks
        self._room(2 * len(kept))
        ctypes.memmove(self._blocks, kept, ctypes.sizeof(kept))
        self._library.ml_place(ctypes.byref(self._state))

    def _room(self, blocks: int) -> None:
        self._blocks = (_Block * blocks)()
        self._slots = (ctypes.c_uint32 * (2 * blocks))()
        self._state.blocks, self._state.slots, self._state.slot_count = self._blocks, self._slots, 2 * blocks


class NativeAlignment:
    """Watches instructions for misaligned accesses with a C function.

    Args:
        library: of the hooks.
        read: address of ``uc_reg_read``.
        stop: address of ``uc_emu_stop``.
    """

    def __init__(self, library: ctypes.CDLL, read: int, stop: int) -> None:
        self._library = library
        self._result = _Misaligned(read, stop)
        self._watched: list[_Access] = []

    def hook(self, access: AlignedAccess, registers: Callable[[str], int]) -> tuple[int, int]:
        """Addresses of the function and of what it is to be given, for one access.

        Args:
            access: what to watch.
            registers: the number that ``uc_reg_read`` takes, of a name.
        """
        numbers = [registers(name) for name in access.registers]
        made = _Access(
            ctypes.pointer(self._result), (ctypes.c_int32 * 2)(*numbers), len(numbers), access.bytes, access.offset
        )
        self._watched.append(made)
        return _address(self._library.ml_on_access), ctypes.addressof(made)

    def found(self) -> tuple[int, int, int] | None:
        """Address, size and instruction of a misaligned access, once it was met."""
        result = self._result
        return (result.address, result.bytes, result.pc) if result.found else None


def _address(function: Any) -> int:
    found = ctypes.cast(function, ctypes.c_void_p).value
    assert found is not None, "a loaded function has an address"
    return found
