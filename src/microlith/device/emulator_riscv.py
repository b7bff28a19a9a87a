"""An RV32IMC of Unicorn. Only the emulator's worker may import this: Unicorn is GPL."""

from __future__ import annotations

from typing import Any

import unicorn
from unicorn import riscv_const

from microlith.device.alignment import AlignedAccess
from microlith.device.block_counter import Decoder
from microlith.device.emulator_machine import Machine
from microlith.device.profile import Device
from microlith.device.riscv_code import RiscvDecoder, riscv_aligned_access

# A request to the debugger is EBREAK between two instructions that do nothing, none of them compressed.
# Source: RISC-V Semihosting, binary interface: SLLI x0, x0, 0x1F and SRAI x0, x0, 7.
_BEFORE, _EBREAK, _AFTER = (word.to_bytes(4, "little") for word in (0x01F01013, 0x00100073, 0x40705013))
_INSTRUCTION_BYTES = 4


class RiscvMachine(Machine):
    """A core with the instructions of RV32IMC, in machine mode; Unicorn's SiFive E31 has no FPU either."""

    pc_register = riscv_const.UC_RISCV_REG_PC
    link_register = riscv_const.UC_RISCV_REG_RA
    stack_register = riscv_const.UC_RISCV_REG_SP
    argument_registers = (
        riscv_const.UC_RISCV_REG_A0,
        riscv_const.UC_RISCV_REG_A1,
        riscv_const.UC_RISCV_REG_A2,
        riscv_const.UC_RISCV_REG_A3,
    )
    breakpoint_bytes = _INSTRUCTION_BYTES
    # Source: The RISC-V Instruction Set Manual, volume II, machine cause register.
    exceptions = {  # noqa: RUF012 - typed as a read-only mapping in the base
        0: " (misaligned address of an instruction)",
        2: " (illegal instruction)",
        4: " (misaligned load)",
        6: " (misaligned store)",
        8: " (environment call)",
        11: " (environment call)",
    }

    def make_engine(self, device: Device) -> Any:
        """A core of 32 bits."""
        engine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        engine.ctl_set_cpu_model(riscv_const.UC_CPU_RISCV32_SIFIVE_E31)
        return engine

    def make_decoder(self, device: Device) -> Decoder:
        """A decoder of instructions of 2 and 4 bytes."""
        return RiscvDecoder()

    def reset(self, flash: int) -> int:
        """The program begins at the start of the flash, without a stack."""
        for register in (self.stack_register, self.link_register):
            self._engine.reg_write(register, 0)
        return flash

    def asks_for_semihosting(self, pc: int) -> bool:
        """Whether EBREAK stands between the two instructions that mark a request."""
        return self.read(pc - _INSTRUCTION_BYTES, 3 * _INSTRUCTION_BYTES) == _BEFORE + _EBREAK + _AFTER

    def aligned_access(self, code: bytes) -> AlignedAccess | None:
        """See :func:`microlith.device.riscv_code.riscv_aligned_access`."""
        return riscv_aligned_access(code)

    def watch_cycle_counter(self) -> None:
        """Nothing to do: ``ml_board.c`` reads no counter unless it is told which the chip has."""

    def register_named(self, name: str) -> int:
        """By its number, such as x10."""
        return int(getattr(riscv_const, f"UC_RISCV_REG_{name.upper()}"))
