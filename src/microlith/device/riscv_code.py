"""Instructions of RV32IMC as far as counting them and watching their memory accesses needs.

Source: The RISC-V Instruction Set Manual, volume I, unprivileged architecture: base instruction formats, expanded
instruction-length encoding, and the "C" extension for compressed instructions.
"""

from __future__ import annotations

from microlith.device.alignment import AlignedAccess
from microlith.device.cycle_table import Block

_LOAD, _STORE = 0x03, 0x23
_STACK_POINTER = 2
# The three bits of a register in most compressed instructions name x8 to x15.
_FIRST_COMPRESSED = 8


def instruction_bytes(halfword: int) -> int:
    """Length of the instruction that starts with this halfword."""
    return 4 if halfword & 3 == 3 else 2


class RiscvDecoder:
    """Finds the instructions of basic blocks; their cycles are not modelled."""

    has_cycles = False

    def decode(self, code: bytes) -> Block:
        """Decode one block.

        Raises:
            ValueError: it ends inside an instruction.
        """
        offsets = []
        at = 0
        while at < len(code):
            offsets.append(at)
            at += instruction_bytes(int.from_bytes(code[at : at + 2], "little"))
        if at != len(code):
            raise ValueError(f"a basic block of {len(code)} bytes ends inside an instruction")
        return Block(tuple(offsets), ())


def riscv_aligned_access(code: bytes) -> AlignedAccess | None:
    """The access of a load or store of 2 or 4 bytes; None where there is none, or it cannot be misaligned.

    The instruction set leaves it to a core whether a misaligned access works, faults or is slow, and compilers do not
    emit one by themselves: code that has one is not portable. The calling convention keeps sp at a multiple of 16.

    Args:
        code: of one instruction.
    """
    word = int.from_bytes(code, "little")
    return _compressed(word) if len(code) == 2 else _full(word)


def _full(word: int) -> AlignedAccess | None:
    opcode, size = word & 0x7F, 1 << (word >> 12 & 3)
    if opcode not in (_LOAD, _STORE) or size == 1:
        return None
    high = word >> 25
    low = word >> 20 & 0x1F if opcode == _LOAD else word >> 7 & 0x1F
    offset = high << 5 | low
    return AlignedAccess((f"x{word >> 15 & 0x1F}",), size, offset - (offset >> 11 << 12))


def _compressed(word: int) -> AlignedAccess | None:
    # C.LW and C.SW; their offset is a multiple of 4 by its encoding. C.LWSP and C.SWSP are relative to sp.
    if word & 3 != 0 or word >> 13 not in (0b010, 0b110):
        return None
    return AlignedAccess((f"x{_FIRST_COMPRESSED + (word >> 7 & 7)}",), 4)
