"""A processor with the memory of a device, emulated; what depends on its architecture is in the classes built on this.

Only the emulator's worker may import it: Unicorn is GPL.
"""

from __future__ import annotations

import ctypes
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import unicorn
from unicorn.unicorn_py3.unicorn import uclib

from microlith.core.errors import RunError, TimeLimitError
from microlith.device.alignment import AlignedAccess
from microlith.device.block_counter import BlockCounter, Decoder, Tally
from microlith.device.emulated_program import Program
from microlith.device.emulator_session import Row
from microlith.device.native_hooks import NativeAlignment, NativeBlockCounter
from microlith.device.profile import Device, Region

# Functions called from outside return to a page that no memory takes, on a Cortex-M in the range for external memory:
# that of the peripherals is never executable.
_RETURN_PAGES = range(0x9FFFF000, 0x60000000, -0x1000)
_PAGE_BYTES = 0x1000

_SYS_WRITEC, _SYS_WRITE0, _SYS_EXIT, _SYS_EXIT_EXTENDED = 0x03, 0x04, 0x18, 0x20
_APPLICATION_EXIT = 0x20026

_PAINT = b"\xa5"
_STACK_UNIT_BYTES = 8
# Frames are of 8 or 16 bytes, not all of which they write.
_GUARD_BYTES = 16
_ACCESS = {
    unicorn.UC_MEM_READ_UNMAPPED: "read from",
    unicorn.UC_MEM_WRITE_UNMAPPED: "write to",
    unicorn.UC_MEM_FETCH_UNMAPPED: "execute",
    unicorn.UC_MEM_READ_PROT: "read from",
    unicorn.UC_MEM_WRITE_PROT: "write to",
    unicorn.UC_MEM_FETCH_PROT: "execute",
}


class Machine(ABC):
    """The device just after power-on, with the program in its flash and its stack painted.

    Args:
        program: what to run.
        device: whose memory it has; anything else faults.
        time_limit_s: of one :meth:`boot` or :meth:`call`.
        layers: entry address to symbol; None runs uncounted, which is faster.
        hooks: shared library of the hooks in C; without it Python counts.
    """

    # Numbers by which Unicorn knows the registers.
    pc_register: ClassVar[int]
    link_register: ClassVar[int]
    stack_register: ClassVar[int]
    argument_registers: ClassVar[tuple[int, ...]]
    # In the lowest bit of the address of a function; 1 is Thumb code.
    code_bit: ClassVar[int] = 0
    # What Unicorn calls the exception of a breakpoint, where that is one, and others for messages.
    breakpoint_exception: ClassVar[int | None] = None
    exceptions: ClassVar[Mapping[int, str]]
    # Bytes from a breakpoint that asks for semihosting to where the program goes on.
    breakpoint_bytes: ClassVar[int]

    def __init__(
        self,
        program: Program,
        device: Device,
        time_limit_s: float,
        layers: dict[int, str] | None = None,
        hooks: str = "",
    ) -> None:
        self.program = program
        self.output = b""
        self.exit_code: int | None = None
        self.counter: BlockCounter | None = None
        self._device = device
        self._time_limit_s = time_limit_s
        self._breakpoint: int | None = None
        self._exception: int | None = None
        self._bad_access: tuple[int, int, int] | None = None
        self._misaligned: tuple[int, int, int] | None = None
        self._decoder = self.make_decoder(device)
        self._native = ctypes.CDLL(hooks) if hooks else None
        self._alignment: NativeAlignment | None = None
        self._engine: Any = self.make_engine(device)
        taken = [range(region.start, region.start + region.bytes) for region in device.regions]
        self._return_page = next(page for page in _RETURN_PAGES if not any(page in memory for memory in taken))
        self._map()
        self._load()
        self._hook(layers)
        self._limit, self._top = program.address("ml_stack_limit"), program.address("ml_stack_top")
        self.write(self._limit, _PAINT * (self._top - self._limit))

    @abstractmethod
    def make_engine(self, device: Device) -> Any:
        """A processor of Unicorn."""

    @abstractmethod
    def make_decoder(self, device: Device) -> Decoder:
        """What decodes its code."""

    @abstractmethod
    def reset(self, flash: int) -> int:
        """Set the registers as they are after reset, and return the first address that runs.

        Args:
            flash: where the flash begins.
        """

    @abstractmethod
    def asks_for_semihosting(self, pc: int) -> bool:
        """Whether a breakpoint at that address is a request to the debugger."""

    @abstractmethod
    def aligned_access(self, code: bytes) -> AlignedAccess | None:
        """The access of an instruction that faults where it is misaligned."""

    @abstractmethod
    def register_named(self, name: str) -> int:
        """Unicorn's number of a register that :meth:`aligned_access` names."""

    def control_pages(self) -> tuple[int, ...]:
        """Pages of registers of the processor itself, which behave like memory here."""
        return ()

    @abstractmethod
    def watch_cycle_counter(self) -> None:
        """Let the processor's own cycle counter tell modelled cycles, where there is one that can be emulated."""

    def _map(self) -> None:
        for page in self.control_pages():
            self._engine.mem_map(page, _PAGE_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self._engine.mem_map(self._return_page, _PAGE_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        for region in self._device.regions:
            data = unicorn.UC_PROT_READ | (unicorn.UC_PROT_WRITE if region.kind == "ram" else 0)
            code = unicorn.UC_PROT_EXEC if region.execute_in_place else 0
            if region.data_start is None:
                self._map_region(region, region.start, data | code)
            else:
                self._map_region(region, region.start, code)
                self._map_region(region, region.data_start, data)

    def _map_region(self, region: Region, address: int, access: int) -> None:
        start = address // _PAGE_BYTES * _PAGE_BYTES
        end = -(-(address + region.bytes) // _PAGE_BYTES) * _PAGE_BYTES
        try:
            self._engine.mem_map(start, end - start, access)
        except unicorn.UcError as error:
            raise RunError(f"the emulator cannot map region {region.name!r} of {self._device.name}") from error

    def _load(self) -> None:
        for address, data in self.program.segments:
            inside = (
                region
                for region in self._device.regions
                if region.start <= address and address + len(data) <= region.start + region.bytes
            )
            region = next(inside, None)
            if region is None:
                raise RunError(
                    f"the program has {len(data)} bytes at {address:#010x}, which is not memory of {self._device.name}",
                    hint="Link it with the linker script that microlith makes for this device.",
                )
            self.write(address, data)
            if region.data_start is not None:
                self.write(region.data_start + address - region.start, data)

    def _hook(self, layers: dict[int, str] | None) -> None:
        self._engine.hook_add(unicorn.UC_HOOK_INTR, self._on_interrupt)
        self._engine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_bad_access)
        if layers is None:
            return

        def registers() -> tuple[int, int]:
            return self._register(self.link_register), self._register(self.stack_register)

        if self._native is None:
            self.counter = BlockCounter(layers, registers, self.read, self._decoder)
            self._engine.hook_add(unicorn.UC_HOOK_BLOCK, self.counter.on_block)
        else:
            native = NativeBlockCounter(layers, registers, self.read, self._decoder, self._native)
            self._hook_native(unicorn.UC_HOOK_BLOCK, native.hook)
            self.counter = native
        self.watch_cycle_counter()

    def _hook_native(self, kind: int, hook: tuple[int, int], begin: int = 1, end: int = 0) -> None:
        """Let the emulator call a C function, with what it is to be given; by the C interface of Unicorn."""
        function, data = hook
        handle = ctypes.c_size_t()
        limits = ctypes.c_uint64(begin), ctypes.c_uint64(end)
        status = uclib.uc_hook_add(
            self._engine._uch, ctypes.byref(handle), kind, ctypes.c_void_p(function), ctypes.c_void_p(data), *limits
        )
        if status != unicorn.UC_ERR_OK:
            raise unicorn.UcError(status)

    def check_alignment(self, instructions: dict[int, bytes]) -> None:
        """From now on refuse misaligned accesses of these instructions that would fault on the real core.

        Args:
            instructions: address to code.
        """
        # A hook on memory would be simpler, but inside an IT block Unicorn then goes wrong: it leaves the condition on
        # for what follows. A hook on the instruction is called only when its condition holds.
        if self._native is not None:
            read, stop = (
                ctypes.cast(function, ctypes.c_void_p).value for function in (uclib.uc_reg_read, uclib.uc_emu_stop)
            )
            self._alignment = NativeAlignment(self._native, read or 0, stop or 0)
        for address, code in instructions.items():
            access = self.aligned_access(code)
            if access is not None and self._alignment is not None:
                hook = self._alignment.hook(access, self.register_named)
                self._hook_native(unicorn.UC_HOOK_CODE, hook, address, address)
            elif access is not None:
                self._engine.hook_add(unicorn.UC_HOOK_CODE, self._on_aligned_access, access, address, address)
        self._engine.ctl_flush_tb()

    def reset_counts(self) -> None:
        """Start counting anew."""
        assert self.counter is not None
        self.counter.reset()

    def counts(self, layers: Sequence[str]) -> tuple[list[Row], Row]:
        """A row for each of these layers, and one for everything else."""
        counter = self.counter
        assert counter is not None
        counter.settle()

        def row(tally: Tally) -> Row:
            return Row(counter.instructions(tally), counter.cycles(tally), tally.entries)

        return [row(counter.tallies[name]) for name in layers], row(counter.outside)

    def executed(self) -> dict[int, bytes]:
        """Address to code of every instruction that ran."""
        assert self.counter is not None
        return self.counter.executed()

    def close(self) -> None:
        """Give back the engine."""
        self._engine = None

    def read(self, address: int, count: int) -> bytes:
        """Bytes of memory."""
        return bytes(self._engine.mem_read(address, count))

    def write(self, address: int, data: bytes) -> None:
        """Set bytes of memory."""
        self._engine.mem_write(address, data)

    def boot(self, until: str | None = None) -> None:
        """Run from reset to the exit of the program, or to the entry of a function.

        Raises:
            RunError: it faulted, or did not get there in time.
        """
        entry = self.reset(next(region.start for region in self._device.regions if region.name == "flash"))
        self._run(entry, self._return_page if until is None else self.program.address(until))
        if until is None and self.exit_code is None:
            raise RunError("the program ended without the exit that a debugger would see")
        if until is not None and self.exit_code is not None:
            raise RunError(f"the program exited with code {self.exit_code} before it reached {until}")

    def call(self, name: str, arguments: Sequence[int] = ()) -> int:
        """Call a function and return its result, as unsigned 32 bits.

        Raises:
            RunError: there is no such function, it faulted, exited, or did not return in time.
        """
        for register, value in zip(self.argument_registers, arguments, strict=False):
            self._engine.reg_write(register, value)
        self._engine.reg_write(self.link_register, self._return_page | self.code_bit)
        self._run(self.program.address(name), self._return_page)
        if self.exit_code is not None:
            raise RunError(f"{name} did not return: the program exited with code {self.exit_code}")
        return self._register(self.argument_registers[0])

    def stack_bytes(self) -> int:
        """Bytes between the top of the stack and the lowest one that was written since power-on, in units of 8.

        The procedure call standards keep the stack pointer at a multiple of 8 or 16 in every call.
        """
        painted = self.read(self._limit, self._top - self._limit)
        return -(-len(painted.lstrip(_PAINT)) // _STACK_UNIT_BYTES) * _STACK_UNIT_BYTES

    def _overflowed(self) -> bool:
        lowest = min(_GUARD_BYTES, self._top - self._limit)
        return self.read(self._limit, lowest) != _PAINT * lowest

    def _overflow_note(self) -> str:
        return f"the stack grew over all of the {self._top - self._limit} bytes that are left for it"

    def _run(self, pc: int, until: int) -> None:
        if self.counter is not None:
            self.counter.break_off()
        deadline = time.monotonic() + self._time_limit_s
        while True:
            self._execute(pc, until, max(1, int((deadline - time.monotonic()) * 1e6)))
            if self._misaligned is not None:
                address, size, pc = self._misaligned
                raise self._error(f"the program accesses memory from {address:#010x} on, not a multiple of {size}", pc)
            if self._exception is not None:
                what = self.exceptions.get(self._exception, "")
                raise self._error(f"the processor raised exception {self._exception}{what}")
            if self._breakpoint is not None:
                if self._semihost():
                    break
                pc = self._breakpoint + self.breakpoint_bytes
            elif self._pc() == until:
                break
            else:
                late = self._error(f"the program did not end within {self._time_limit_s:g} s")
                raise TimeLimitError(late.what, node=late.node)
        if self._overflowed():
            raise RunError(self._overflow_note())

    def _execute(self, pc: int, until: int, left_us: int) -> None:
        """Run until something stops it: the address, a breakpoint, an exception, the end of the time."""
        self._breakpoint = self._exception = self._bad_access = self._misaligned = None
        try:
            self._engine.emu_start(pc | self.code_bit, until, timeout=left_us)
        except unicorn.UcError as error:
            # A breakpoint of RISC-V comes as an invalid instruction, one of Arm as an exception.
            if error.errno != unicorn.UC_ERR_INSN_INVALID or not self.asks_for_semihosting(self._pc()):
                raise self._fault(error) from None
            self._breakpoint = self._pc()
        if self._alignment is not None:
            self._misaligned = self._alignment.found()

    def _on_interrupt(self, engine: Any, number: int, _data: Any) -> None:
        pc = self._pc()
        if number == self.breakpoint_exception and self.asks_for_semihosting(pc):
            self._breakpoint = pc
        else:
            self._exception = number
        engine.emu_stop()

    def _on_bad_access(self, _engine: Any, access: int, address: int, size: int, _value: int, _data: Any) -> bool:
        self._bad_access = (access, address, size)
        return False

    def _on_aligned_access(self, engine: Any, pc: int, _size: int, access: AlignedAccess) -> None:
        address = sum(self._register(self.register_named(name)) for name in access.registers) + access.offset
        if address % access.bytes != 0:
            self._misaligned = (address & 0xFFFFFFFF, access.bytes, pc)
            engine.emu_stop()

    def _semihost(self) -> bool:
        """Answer one request; True when it ends the program."""
        operation, parameter = (self._register(register) for register in self.argument_registers[:2])
        try:
            if operation == _SYS_WRITEC:
                self.output += self.read(parameter, 1)
            elif operation == _SYS_WRITE0:
                self.output += self._text(parameter)
            elif operation == _SYS_EXIT:
                self.exit_code = 0 if parameter == _APPLICATION_EXIT else 1
            elif operation == _SYS_EXIT_EXTENDED:
                reason, code = (int.from_bytes(self.read(parameter + at, 4), "little") for at in (0, 4))
                self.exit_code = code if reason == _APPLICATION_EXIT else 1
            else:
                raise self._error(f"the program asked for semihosting operation {operation:#x}, which is not offered")
        except unicorn.UcError:
            raise self._error(f"the program passed the address {parameter:#010x} to semihosting") from None
        return self.exit_code is not None

    def _text(self, address: int) -> bytes:
        text = bytearray()
        while (byte := self.read(address + len(text), 1)) != b"\0":
            text += byte
        return bytes(text)

    def _fault(self, error: Any) -> RunError:
        if self._bad_access is None:
            return self._error(f"the processor stopped: {error}")
        access, address, size = self._bad_access
        inside = any(region.start <= address < region.start + region.bytes for region in self._device.regions)
        why = "where it may not" if inside else f"which is not memory of {self._device.name}"
        what = f"the program tried to {_ACCESS[access]} {address:#010x} ({size} bytes), {why}"
        return self._error(f"{self._overflow_note()}: {what}" if self._overflowed() else what)

    def _error(self, what: str, pc: int | None = None) -> RunError:
        if pc is None:
            pc = self._pc()
        layer = self.counter.layer if self.counter is not None else None
        inside = f", in layer {layer}" if layer else ""
        return RunError(f"{what}{inside}; in {self.program.function_at(pc)} at {pc:#010x}", node=layer)

    def _pc(self) -> int:
        return self._register(self.pc_register) & ~1

    def _register(self, register: int) -> int:
        return int(self._engine.reg_read(register))
