"""A Cortex-M55 with its vector extension in QEMU, which Unicorn does not have.

QEMU is a program of its own (GPL), run as one; it is driven through the stub that it has for a debugger. Recorded
execution (``-icount`` with ``rr=record``) makes it count instructions exactly, whatever stops it in between.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from microlith.core.errors import RunError, TimeLimitError, ToolchainError
from microlith.device.emulated_program import Program
from microlith.device.emulator_session import Row
from microlith.device.gdb_link import LR, PC, SP, Ended, GdbLink
from microlith.device.profile import Device

QEMU = "qemu-system-arm"
_HINT = "Install it: apt-get install qemu-system-arm, brew install qemu, or from qemu.org; version 7 or later."
_BOARD = "mps3-an547"
# Where that board has memory: ITCM, external SRAM, DTCM, internal SRAM (hw/arm/mps2-tz.c and armsse.c of QEMU).
_MEMORY = (
    range(0x00080000),
    range(0x01000000, 0x01200000),
    range(0x20000000, 0x20080000),
    range(0x21000000, 0x21400000),
)
_START_S = 20.0
_COUNT = re.compile(r"instruction count = (\d+)")
_PAINT = b"\xa5"
_STACK_UNIT_BYTES = 8
_FRAME_PC = 24  # bytes from the stack pointer to the address that an exception returns to
_HANDLERS = ("HardFault_Handler", "Default_Handler")
_EXIT = "ml_exit"


def require_qemu(device: Device) -> None:
    """Refuse where QEMU is missing or its board has not the memory of the device.

    Raises:
        ToolchainError: the hint says what to do.
    """
    if shutil.which(QEMU) is None:
        raise ToolchainError(f"{QEMU}, which emulates a {device.core}, is not installed", hint=_HINT)
    for region in device.regions:
        ends = (region.start, region.start + region.bytes - 1)
        if not any(all(end in memory for end in ends) for memory in _MEMORY):
            raise ToolchainError(
                f"{device.name} has {region.name!r} at {ends[0]:#010x}, and QEMU's board has no memory there",
                hint=f"Build for {_BOARD} to count instructions.",
            )


class QemuMachine:
    """The board just after power-on, with the program in its memory and its stack painted.

    Args:
        program: what to run.
        device: whose memory it has.
        time_limit_s: of one :meth:`boot` or :meth:`call`.
        layers: entry address to symbol; None runs uncounted.
    """

    def __init__(
        self, program: Program, device: Device, time_limit_s: float, layers: dict[int, str] | None = None
    ) -> None:
        require_qemu(device)
        self.program = program
        self.output = b""
        self.exit_code: int | None = None
        self._time_limit_s = time_limit_s
        self._layers = layers
        self._layer: str | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="microlith-qemu-")
        self._root = Path(self._directory.name)
        self._process = self._start(program)
        try:
            self._link = GdbLink(self._root / "gdb", time.monotonic() + _START_S)
        except Ended:
            raise self._died() from None
        self._limit, self._top = program.address("ml_stack_limit"), program.address("ml_stack_top")
        self.write(self._limit, _PAINT * (self._top - self._limit))
        for name in (_EXIT, *_HANDLERS):
            self._link.set_breakpoint(program.address(name))
        for address in layers or ():
            self._link.set_breakpoint(address)
        self.reset_counts()

    def _start(self, program: Program) -> subprocess.Popen[bytes]:
        icount = "shift=0,sleep=off"
        if self._layers is not None:
            icount += f",rr=record,rrfile={self._root / 'record'}"
        command = [QEMU, "-M", _BOARD, "-display", "none", "-monitor", "none", "-serial", "none", "-nic", "none"]
        command += ["-chardev", f"file,id=text,path={self._root / 'text'}"]
        command += ["-semihosting-config", "enable=on,target=native,chardev=text", "-icount", icount, "-S"]
        command += ["-gdb", f"unix:{self._root / 'gdb'},server=on,wait=off"]
        command += ["-kernel", str(program.path)]
        with (self._root / "stderr").open("wb") as stderr:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)

    def reset_counts(self) -> None:
        """Start counting anew."""
        self._instructions = dict.fromkeys((self._layers or {}).values(), 0)
        self._entries = dict.fromkeys(self._instructions, 0)
        self._outside = 0

    def counts(self, layers: Sequence[str]) -> tuple[list[Row], Row]:
        """A row for each of these layers, and one for everything else."""
        rows = [Row(self._instructions[name], None, self._entries[name]) for name in layers]
        return rows, Row(self._outside, None, 0)

    def executed(self) -> dict[int, bytes]:
        """Nothing: QEMU watches alignment in every run."""
        return {}

    def check_alignment(self, instructions: dict[int, bytes]) -> None:
        """Nothing to do: QEMU watches alignment in every run."""

    def read(self, address: int, count: int) -> bytes:
        """Bytes of memory."""
        return self._link.read(address, count)

    def write(self, address: int, data: bytes) -> None:
        """Set bytes of memory."""
        self._link.write(address, data)

    def boot(self, until: str | None = None) -> None:
        """Run from the reset vector to the exit of the program, or to the entry of a function.

        Raises:
            RunError: it faulted, or did not get there in time.
        """
        self._run(self.program.address(until or _EXIT))
        if until is not None and self.exit_code is not None:
            raise RunError(f"the program exited with code {self.exit_code} before it reached {until}")

    def call(self, name: str, arguments: Sequence[int] = ()) -> int:
        """Call a function and return what it leaves in r0, as unsigned.

        Raises:
            RunError: there is no such function, it faulted, exited, or did not return in time.
        """
        for register, value in enumerate(arguments):
            self._link.set_register(register, value)
        # Functions called from outside return to main, which they never call themselves.
        back = self.program.address("main")
        self._link.set_register(LR, back | 1)
        self._link.set_register(PC, self.program.address(name))
        self._run(back)
        if self.exit_code is not None:
            raise RunError(f"{name} did not return: the program exited with code {self.exit_code}")
        return self._link.register(0)

    def stack_bytes(self) -> int:
        """Bytes between the top of the stack and the lowest one that was written since power-on, in units of 8."""
        painted = self.read(self._limit, self._top - self._limit)
        return -(-len(painted.lstrip(_PAINT)) // _STACK_UNIT_BYTES) * _STACK_UNIT_BYTES

    def close(self) -> None:
        """End QEMU."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if hasattr(self, "_link"):
            self._link.close()
        self._directory.cleanup()

    def _run(self, until: int) -> None:
        deadline = time.monotonic() + self._time_limit_s
        exits = self.program.address(_EXIT)
        if until != exits:
            self._link.set_breakpoint(until)
        start, pc = self._now(), self._link.register(PC) & ~1
        while True:
            if pc in (self._layers or {}):
                start = self._attribute(None, start)
                pc = self._run_layer(pc, deadline)
                start = self._attribute(self._layer, start)
                self._layer = None
            else:
                pc = self._step(deadline)
            if pc in (until, exits):
                break
        self._attribute(None, start)
        if until != exits:
            self._link.clear_breakpoint(until)
        if pc == exits:
            self.exit_code = self._link.register(0)
            self.output = self._text()
        if self._top > self._limit and self.read(self._limit, 4) != _PAINT * 4:
            raise RunError(f"the stack grew over all of the {self._top - self._limit} bytes that are left for it")

    def _run_layer(self, entry: int, deadline: float) -> int:
        """Run a layer, at whose entry the processor is, until it returns or the program exits.

        Its own breakpoint would stop the processor again at once; and QEMU executes the pages that have breakpoints
        slowly, so that those of all layers go meanwhile.
        """
        assert self._layers is not None
        self._layer = self._layers[entry]
        self._entries[self._layer] += 1
        back = self._link.register(LR) & ~1
        for address in self._layers:
            self._link.clear_breakpoint(address)
        self._link.set_breakpoint(back)
        pc = self._step(deadline)
        self._link.clear_breakpoint(back)
        for address in self._layers:
            self._link.set_breakpoint(address)
        return pc

    def _step(self, deadline: float) -> int:
        """Run to the next breakpoint and return where that is."""
        try:
            self._link.resume(deadline)
            pc = self._link.register(PC) & ~1
        except Ended:
            raise self._died() from None
        except TimeLimitError:
            # QEMU does not hear its debugger while a loop without an end runs, so where that is stays unknown.
            what = f"the program did not end within {self._time_limit_s:g} s"
            raise TimeLimitError(what, node=self._layer) from None
        for name in _HANDLERS:
            if pc == self.program.address(name):
                frame = self._link.register(SP) + _FRAME_PC
                at = int.from_bytes(self.read(frame, 4), "little")
                where = self.program.function_at(at)
                raise RunError(f"the processor raised a fault at {at:#010x}, in {where}", node=self._layer or where)
        return pc

    def _attribute(self, layer: str | None, start: int) -> int:
        now = self._now()
        if layer is None:
            self._outside += now - start
        else:
            self._instructions[layer] += now - start
        return now

    def _now(self) -> int:
        """Instructions since power-on; 0 where they are not counted."""
        if self._layers is None:
            return 0
        found = _COUNT.search(self._link.monitor("info replay"))
        if found is None:
            raise RunError(f"{QEMU} does not tell its instruction count", hint=_HINT)
        return int(found[1])

    def _text(self) -> bytes:
        text = self._root / "text"
        return text.read_bytes() if text.is_file() else b""

    def _died(self) -> RunError:
        self._process.wait()
        said = (self._root / "stderr").read_text(errors="replace").strip()[:2000]
        return RunError(f"{QEMU} ended with code {self._process.returncode}" + (f":\n{said}" if said else ""))
