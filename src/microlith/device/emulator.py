"""Running a linked program on an emulated device, instruction by instruction.

Unicorn is GPL: this process never imports it, it runs in a worker that is reached over a pipe. A Cortex-M55, which it
does not have, runs in QEMU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from microlith.core.errors import ToolchainError
from microlith.device.build_hooks import build_hooks
from microlith.device.elf import require_modules
from microlith.device.profile import Device
from microlith.device.qemu_machine import require_qemu
from microlith.device.qemu_worker import QemuWorker
from microlith.device.worker_process import Worker, WorkerProcess, infer_many, reset


@dataclass(frozen=True)
class BootResult:
    """A run of the whole program.

    Attributes:
        output: what it wrote.
        exit_code: what it ended with.
        stack_bytes: its stack high-water mark, from the top of the stack.
    """

    output: str
    exit_code: int
    stack_bytes: int


@dataclass(frozen=True)
class LayerCounts:
    """What one layer executed in one inference, with everything that it called.

    Attributes:
        symbol: of its function.
        instructions: exact; an instruction that a condition skips counts as executed.
        cycles: modelled; None where the core has no table.
        entries: times that it was called.
    """

    symbol: str
    instructions: int
    cycles: int | None
    entries: int


@dataclass(frozen=True)
class Counts:
    """What one inference (one call of ``mlrun_run``) executed.

    Attributes:
        outputs: bytes of each output.
        instructions: of all layers and the remainder.
        cycles: modelled by :mod:`microlith.device.cycle_table`; None on every core but the Cortex-M4F.
        layers: in the order asked for.
        remainder_instructions: outside of every layer.
        remainder_cycles: likewise.
        stack_bytes: stack high-water mark from the top of the stack, start-up code and initialization included.
    """

    outputs: list[bytes]
    instructions: int
    cycles: int | None
    layers: tuple[LayerCounts, ...]
    remainder_instructions: int
    remainder_cycles: int | None
    stack_bytes: int


class Emulator:
    """A device with a program in its flash, to be used as a context manager.

    The memory is the profile's, and the registers of the cycle counter, SysTick and system control; any other access
    is a fault, and the fault names the layer.

    Args:
        elf: program, linked with the linker script of :mod:`microlith.device.support`; for inferences it has the
            ``mlrun_*`` functions and an array ``mlrun_arena``.
        device: a microcontroller.
        time_limit_s: of one boot or one inference.

    Raises:
        ToolchainError: the device is the host, or a package that emulation needs is not installed.
    """

    def __init__(self, elf: Path, device: Device, *, time_limit_s: float = 120.0) -> None:
        if device.is_host:
            raise ToolchainError("the host is not emulated", hint="Run the shared library with HostRunner.")
        require_modules("elftools", *(() if device.core == "cortex-m55" else ("unicorn", "capstone")))
        self._time_limit_s = time_limit_s
        self._worker: Worker
        hooks: Path | None = None
        if device.core == "cortex-m55":
            require_qemu(device)
            self._worker = QemuWorker()
        else:
            self._worker = WorkerProcess("microlith.device.emulator_worker", f"the emulated {device.name}")
        try:
            if device.core != "cortex-m55":
                hooks = build_hooks()
            plain = device.model_dump(mode="json")
            self._request("open", elf=str(elf), device=plain, time_limit_s=time_limit_s, hooks=str(hooks or ""))
        except BaseException:
            self.close()
            raise

    def boot(self, *, counted: bool = False) -> BootResult:
        """Run from the reset vector until the program exits.

        Args:
            counted: let the cycle counter of a Cortex-M4F tell modelled cycles; it reads 0 otherwise, and on others.

        Raises:
            RunError: it faulted, or did not end in time.
        """
        answer, _ = self._request("boot", counted=counted)
        return BootResult(answer["output"], answer["exit_code"], answer["stack_bytes"])

    def infer(self, inputs: Sequence[bytes]) -> list[bytes]:
        """One inference, uncounted: the outputs' bytes for the inputs' bytes.

        Raises:
            InputError: number or sizes of the inputs do not fit the program.
            RunError: it faulted, failed, or did not end in time.
        """
        return self.infer_many([inputs])[0]

    def infer_many(self, samples: Sequence[Sequence[bytes]]) -> list[list[bytes]]:
        """Like :meth:`infer` for several samples, each a list of inputs; steps where the program keeps state."""
        return infer_many(self._worker, samples, self._time_limit_s)

    def reset(self) -> None:
        """Take the state of the program back to where it starts.

        Raises:
            RunError: it keeps none.
        """
        reset(self._worker, self._time_limit_s)

    def infer_counted(
        self, inputs: Sequence[bytes], layers: Sequence[str] = (), *, check_alignment: bool = False
    ) -> Counts:
        """One inference from power-on, with what each layer executed.

        Args:
            inputs: bytes of each input.
            layers: symbols of the layers' functions.
            check_alignment: run once more and refuse accesses that fault on the real core because they are misaligned,
                which the emulator by itself lets pass: any on Armv6-M, those of several registers or the FPU elsewhere.

        Raises:
            InputError: number or sizes of the inputs do not fit the program.
            RunError: it faulted, failed, did not end in time, or has no such layer.
        """
        answer, outputs = self._request("counted", inputs, layers=list(layers), check_alignment=check_alignment)
        rows = [(row["instructions"], row["cycles"]) for row in (*answer["layers"], answer["remainder"])]
        counted = tuple(LayerCounts(symbol, **row) for symbol, row in zip(layers, answer["layers"], strict=True))
        remainder_instructions, remainder_cycles = rows[-1]
        return Counts(
            outputs,
            sum(instructions for instructions, _ in rows),
            None if remainder_cycles is None else sum(cycles for _, cycles in rows),
            counted,
            remainder_instructions,
            remainder_cycles,
            answer["stack_bytes"],
        )

    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Bytes of each input and of each output."""
        answer, _ = self._request("sizes")
        return tuple(answer["inputs"]), tuple(answer["outputs"])

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def __enter__(self) -> Emulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, command: str, blobs: Sequence[bytes] = (), **fields: Any) -> tuple[dict[str, Any], list[bytes]]:
        # A fault is run a second time to find out where it was.
        limit = 2 * self._time_limit_s
        return self._worker.request({"command": command, **fields}, blobs, time_limit_s=limit)
