"""Which memory accesses fault on a real core when they are misaligned; the emulator lets all of them pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# A multiple transfer names its base as the first operand; push and pop use the stack pointer, which is always aligned.
_MULTIPLES = frozenset({"ldm", "ldmdb", "stm", "stmdb", "vldmia", "vldmdb", "vstmia", "vstmdb"})
_WORDS = frozenset({"ldrd", "strd", "vldr", "vstr", "ldrex", "strex"})
_ALIGNED_ON_ARMV6_M = {"ldr": 4, "str": 4, "ldrh": 2, "ldrsh": 2, "strh": 2}
_ALWAYS_ALIGNED = frozenset({"sp", "pc"})


@dataclass(frozen=True)
class AlignedAccess:
    """An access whose address has to be a multiple of its size.

    Attributes:
        registers: whose sum is the address, less the offset and an immediate that is a multiple of the size by its
            encoding.
        bytes: the size.
        offset: to be added.
    """

    registers: tuple[str, ...]
    bytes: int
    offset: int = 0


def aligned_access(core: str, instruction: Any) -> AlignedAccess | None:
    """The access of an instruction that faults when it is misaligned; None where there is none.

    Armv6-M faults on every misaligned access. Armv7-M and Armv8-M allow those of single loads and stores; doubles,
    multiples, exclusives and those of the FPU fault. Source: Arm DDI 0419, A3.2.1; DDI 0403, A3.2.1.

    Args:
        core: of the device.
        instruction: decoded by capstone, with its operands.
    """
    from capstone.arm_const import ARM_OP_MEM

    name = instruction.insn_name()
    if name in _MULTIPLES:
        return _access((instruction.reg_name(instruction.operands[0].reg),), 4)
    single = _ALIGNED_ON_ARMV6_M.get(name) if core == "cortex-m0plus" else None
    size = 4 if name in _WORDS else single
    if size is None:
        return None
    memory = next(operand.mem for operand in instruction.operands if operand.type == ARM_OP_MEM)
    names = (memory.base, memory.index) if memory.index else (memory.base,)
    return _access(tuple(instruction.reg_name(register) for register in names), size)


def _access(registers: tuple[str, ...], size: int) -> AlignedAccess | None:
    return None if set(registers) <= _ALWAYS_ALIGNED else AlignedAccess(registers, size)
