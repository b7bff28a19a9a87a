from __future__ import annotations

import pytest

from microlith.device.alignment import AlignedAccess
from microlith.device.riscv_code import RiscvDecoder, instruction_bytes, riscv_aligned_access

# Encodings of single instructions, little-endian.
ENCODED = [
    ("lw a0, -4(a1)", "03a5c5ff", AlignedAccess(("x11",), 4, -4)),
    ("lw a0, 2047(zero)", "0325f07f", AlignedAccess(("x0",), 4, 2047)),
    ("lh a2, 4(a0)", "03164500", AlignedAccess(("x10",), 2, 4)),
    ("lhu a1, 4(a0)", "83554500", AlignedAccess(("x10",), 2, 4)),
    ("lb a0, -4(a1)", "0385c5ff", None),
    ("lbu a0, -4(a1)", "03c5c5ff", None),
    ("sw a1, -16(a0)", "2328b5fe", AlignedAccess(("x10",), 4, -16)),
    ("sw ra, 28(sp)", "232e1100", AlignedAccess(("x2",), 4, 28)),
    ("sh s0, 0(a0)", "23108500", AlignedAccess(("x10",), 2)),
    ("sb a0, 1(a1)", "a380a500", None),
    ("c.lw a0, 0(s0)", "0840", AlignedAccess(("x8",), 4)),
    ("c.sw a0, 4(a5)", "c8c3", AlignedAccess(("x15",), 4)),
    ("c.lwsp a0, 4(sp)", "1245", None),
    ("c.swsp a0, 12(sp)", "2ac6", None),
    ("c.addi4spn s0, sp, 16", "0008", None),
    ("c.j 0", "01a0", None),
    ("mul a0, a0, a1", "3305b502", None),
    ("ebreak", "73001000", None),
    ("auipc ra, 0", "97000000", None),
]


@pytest.mark.parametrize(("text", "code", "expected"), ENCODED, ids=[text for text, _, _ in ENCODED])
def test_length_and_access_of_every_kind(text, code, expected):
    content = bytes.fromhex(code)
    assert instruction_bytes(int.from_bytes(content[:2], "little")) == len(content)
    assert riscv_aligned_access(content) == expected


def test_encodings_are_what_a_disassembler_reads():
    capstone = pytest.importorskip("capstone")
    reader = capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC)
    for text, code, _ in ENCODED:
        (found,) = reader.disasm(bytes.fromhex(code), 0)
        name, _, operands = text.partition(" ")
        assert found.mnemonic == name
        registers = [word for word in operands.replace("(", ", ").replace(")", "").split(", ") if word.isalpha()]
        assert all(register in found.op_str for register in registers)


def test_blocks_are_cut_into_instructions_of_two_and_four_bytes():
    block = RiscvDecoder().decode(bytes.fromhex("0840" + "2328b5fe" + "01a0"))
    assert (block.offsets, block.instructions) == ((0, 2, 6), 3)
    with pytest.raises(ValueError, match="ends inside an instruction"):
        RiscvDecoder().decode(bytes.fromhex("0840" + "2328"))
