"""A Cortex-M of Unicorn. Only the emulator's worker may import this: Unicorn is GPL."""

from __future__ import annotations

from typing import Any

import unicorn
from unicorn import arm_const

from microlith.device.alignment import AlignedAccess, aligned_access
from microlith.device.block_counter import Decoder
from microlith.device.cycle_table import BlockDecoder
from microlith.device.emulator_machine import Machine
from microlith.device.profile import Device

# Armv6-M, Armv7-M and Armv8-M put these at fixed addresses (Arm DDI 0403, B3): the cycle counter, and the system
# control space with SysTick. Start-up code touches both.
_DWT_PAGE, _CYCLE_COUNTER = 0xE0001000, 0xE0001004
_SYSTEM_CONTROL_PAGE = 0xE000E000
_SEMIHOSTING = b"\xab\xbe"
# The value that the link register has after reset, and no address that code could return to.
_NO_RETURN = 0xFFFFFFFF
_CPUS = {
    "cortex-m0plus": arm_const.UC_CPU_ARM_CORTEX_M0,
    "cortex-m3": arm_const.UC_CPU_ARM_CORTEX_M3,
    "cortex-m4f": arm_const.UC_CPU_ARM_CORTEX_M4,
    "cortex-m7": arm_const.UC_CPU_ARM_CORTEX_M7,
    "cortex-m33": arm_const.UC_CPU_ARM_CORTEX_M33,
}
_REGISTERS = {f"r{number}": getattr(arm_const, f"UC_ARM_REG_R{number}") for number in range(13)} | {
    "sb": arm_const.UC_ARM_REG_R9,
    "sl": arm_const.UC_ARM_REG_R10,
    "fp": arm_const.UC_ARM_REG_R11,
    "ip": arm_const.UC_ARM_REG_R12,
    "sp": arm_const.UC_ARM_REG_SP,
    "lr": arm_const.UC_ARM_REG_LR,
}


class ArmMachine(Machine):
    """A Cortex-M."""

    pc_register = arm_const.UC_ARM_REG_PC
    link_register = arm_const.UC_ARM_REG_LR
    stack_register = arm_const.UC_ARM_REG_SP
    argument_registers = (
        arm_const.UC_ARM_REG_R0,
        arm_const.UC_ARM_REG_R1,
        arm_const.UC_ARM_REG_R2,
        arm_const.UC_ARM_REG_R3,
    )
    code_bit = 1
    breakpoint_exception = 7
    breakpoint_bytes = 2
    # Numbers of the emulator's exceptions (QEMU, target/arm).
    exceptions = {  # noqa: RUF012 - typed as a read-only mapping in the base
        2: " (supervisor call)",
        3: " (prefetch abort)",
        7: " (breakpoint)",
        17: " (the FPU is off or absent)",
        18: " (no Thumb code at the target of a branch)",
        22: " (unaligned access)",
    }

    def make_engine(self, device: Device) -> Any:
        """The core of the device."""
        engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        engine.ctl_set_cpu_model(_CPUS[device.core])
        return engine

    def make_decoder(self, device: Device) -> Decoder:
        """A decoder of Thumb code."""
        self._thumb = BlockDecoder(device.core)
        return self._thumb

    def reset(self, flash: int) -> int:
        """Stack pointer and first instruction stand in the vector table, at the start of the flash."""
        stack, entry = (int.from_bytes(self.read(flash + at, 4), "little") for at in (0, 4))
        self._engine.reg_write(self.stack_register, stack)
        self._engine.reg_write(self.link_register, _NO_RETURN)
        return entry

    def asks_for_semihosting(self, pc: int) -> bool:
        """Whether it is BKPT 0xAB."""
        return self.read(pc, 2) == _SEMIHOSTING

    def aligned_access(self, code: bytes) -> AlignedAccess | None:
        """See :func:`microlith.device.alignment.aligned_access`."""
        return aligned_access(self._device.core, self._thumb.instruction(code))

    def register_named(self, name: str) -> int:
        """By the name that the disassembler gives it."""
        return int(_REGISTERS[name])

    def control_pages(self) -> tuple[int, ...]:
        """Cycle counter, and system control with SysTick."""
        return _DWT_PAGE, _SYSTEM_CONTROL_PAGE

    def watch_cycle_counter(self) -> None:
        """Let DWT_CYCCNT tell modelled cycles."""
        self._engine.hook_add(unicorn.UC_HOOK_MEM_READ, self._on_cycle_read, None, _CYCLE_COUNTER, _CYCLE_COUNTER + 3)

    def _on_cycle_read(self, engine: Any, _access: int, _address: int, _size: int, _value: int, _data: Any) -> None:
        assert self.counter is not None
        now = self.counter.cycles_until(self._pc())
        engine.mem_write(_CYCLE_COUNTER, (now & 0xFFFFFFFF).to_bytes(4, "little"))
