"""Modelled cycles of a Cortex-M4 with FPU, zero wait states.

One table for every program, so that figures compare. It was fixed once from the instruction timings of the core's
reference manual and is deliberately simple; real memories with wait states take longer.

Source: Arm DDI 0439 (Cortex-M4 Technical Reference Manual), instruction set summary and FPU instruction timing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TAKEN_BRANCH_CYCLES = 2
CORES = ("cortex-m4f",)

_LOADS = frozenset(f"ldr{width}{kind}" for width in ("", "b", "h", "sb", "sh") for kind in ("", "t")) | frozenset(
    {"ldrex", "ldrexb", "ldrexh"}
)
_STORES = frozenset(f"str{width}{kind}" for width in ("", "b", "h") for kind in ("", "t")) | frozenset(
    {"strex", "strexb", "strexh"}
)
_SINGLES = _LOADS | _STORES
_MULTIPLES = frozenset(
    {"push", "pop", "ldm", "ldmdb", "stm", "stmdb", "vpush", "vpop", "vldmia", "vldmdb", "vstmia", "vstmdb"}
)
_FIXED = {
    **dict.fromkeys(("ldrd", "strd"), 3),
    **dict.fromkeys(("vldr", "vstr"), 2),
    **dict.fromkeys(("sdiv", "udiv"), 7),
    **dict.fromkeys(("vdiv", "vsqrt"), 14),
    **dict.fromkeys(("vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms"), 3),
}


def is_single_transfer(name: str) -> bool:
    """Whether an instruction loads or stores one integer register."""
    return name in _SINGLES


def cycles(name: str, words: int = 0, after_single: bool = False) -> int:
    """Cycles of one instruction, without what a taken branch adds.

    Args:
        name: mnemonic without condition and width suffixes.
        words: 32-bit registers that a multiple transfer moves; a double-precision register is two.
        after_single: the instruction before it in the same basic block is a single load or store, so that the two
            overlap in the pipeline.
    """
    if name in _LOADS:
        return 1 if after_single else 2
    if name in _MULTIPLES:
        return 1 + words
    return _FIXED.get(name, 1)


def thumb_instruction_bytes(halfword: int) -> int:
    """Length of the Thumb instruction that starts with this halfword. Source: Arm DDI 0403, A5.1."""
    return 4 if halfword >> 11 in (0b11101, 0b11110, 0b11111) else 2


def instruction_offsets(code: bytes) -> tuple[int, ...]:
    """Offsets of the Thumb instructions of a basic block.

    Raises:
        ValueError: the block ends inside an instruction.
    """
    offsets = []
    at = 0
    while at < len(code):
        offsets.append(at)
        at += thumb_instruction_bytes(int.from_bytes(code[at : at + 2], "little"))
    if at != len(code):
        raise ValueError(f"a basic block of {len(code)} bytes ends inside an instruction")
    return tuple(offsets)


@dataclass(frozen=True)
class Block:
    """A basic block, decoded.

    Attributes:
        offsets: of its instructions.
        cycles_before: modelled cycles of the block up to each instruction, and of all of it at the end; empty where
            the core has no table.
    """

    offsets: tuple[int, ...]
    cycles_before: tuple[int, ...]

    @property
    def instructions(self) -> int:
        """Number of instructions; one that a condition skips counts as executed."""
        return len(self.offsets)

    @property
    def cycles(self) -> int:
        """Modelled cycles of the whole block, without what a taken branch adds."""
        return self.cycles_before[-1]


class BlockDecoder:
    """Decodes basic blocks of Thumb code.

    Args:
        core: whose cycles to model; without a table for it only instructions are counted.
    """

    def __init__(self, core: str) -> None:
        import capstone

        mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS
        mode |= capstone.CS_MODE_V8 if core == "cortex-m33" else 0
        self._disassembler: Any = capstone.Cs(capstone.CS_ARCH_ARM, mode)
        self._disassembler.detail = True
        self.has_cycles = core in CORES

    def instruction(self, code: bytes) -> Any:
        """One instruction as capstone decodes it, with its operands.

        Raises:
            ValueError: it is no instruction.
        """
        # One at a time: inside an IT block the decoder would otherwise refuse what the processor executes.
        instruction = next(self._disassembler.disasm(code, 0), None)
        if instruction is None:
            raise ValueError(f"cannot decode the instruction {code.hex()}")
        return instruction

    def decode(self, code: bytes) -> Block:
        """Decode one block.

        Raises:
            ValueError: it holds something that is no instruction.
        """
        offsets = instruction_offsets(code)
        if not self.has_cycles:
            return Block(offsets, ())
        ends = (*offsets[1:], len(code))
        before, after_single = [0], False
        for start, end in zip(offsets, ends, strict=True):
            instruction = self.instruction(code[start:end])
            name = instruction.insn_name()
            before.append(before[-1] + cycles(name, _words(instruction, name), after_single))
            after_single = is_single_transfer(name)
        return Block(offsets, tuple(before))


def _words(instruction: Any, name: str) -> int:
    if name not in _MULTIPLES:
        return 0
    registers = [instruction.reg_name(operand.reg) for operand in instruction.operands]
    if name not in ("push", "pop", "vpush", "vpop"):
        registers = registers[1:]
    return sum(2 if register.startswith("d") else 1 for register in registers)
