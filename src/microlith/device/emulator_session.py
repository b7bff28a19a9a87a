"""What an emulator is asked for, in terms of a machine; nothing here knows which program emulates it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from microlith.core.errors import InputError, RunError
from microlith.device.emulated_program import Program
from microlith.device.profile import Device
from microlith.device.worker_loop import Answer

_Result = TypeVar("_Result")


COMMANDS = ("open", "boot", "infer", "reset", "sizes", "counted")


@dataclass(frozen=True)
class Row:
    """What ran in one layer, or outside all of them."""

    instructions: int
    cycles: int | None
    entries: int


class EmulatedMachine(Protocol):
    """A device just after power-on, with a program in its flash and its stack painted."""

    program: Program
    output: bytes
    exit_code: int | None

    def boot(self, until: str | None = None) -> None:
        """Run from reset to the exit of the program, or to the entry of a function."""
        ...

    def call(self, name: str, arguments: Sequence[int] = ()) -> int:
        """Call a function and return its result, as unsigned 32 bits."""
        ...

    def read(self, address: int, count: int) -> bytes:
        """Bytes of memory."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Set bytes of memory."""
        ...

    def stack_bytes(self) -> int:
        """Bytes between the top of the stack and the lowest one that was written since power-on, in units of 8."""
        ...

    def reset_counts(self) -> None:
        """Start counting anew."""
        ...

    def counts(self, layers: Sequence[str]) -> tuple[list[Row], Row]:
        """A row for each of these layers, and one for everything else."""
        ...

    def executed(self) -> dict[int, bytes]:
        """Address to code of every instruction that ran and whose alignment is to be watched in a run of its own."""
        ...

    def check_alignment(self, instructions: dict[int, bytes]) -> None:
        """From now on refuse misaligned accesses of these instructions that would fault on the real core."""
        ...

    def close(self) -> None:
        """Give back what the machine takes."""
        ...


MakeMachine = Callable[[Program, Device, float, "dict[int, str] | None", str], EmulatedMachine]


class Session:
    """One program on one device.

    Args:
        make: a machine from program, device, time limit in seconds, layers to count by entry address, and the shared
            library of the hooks in C or nothing.
    """

    def __init__(self, make: MakeMachine) -> None:
        self._make = make
        self._machines: list[EmulatedMachine] = []
        self._program: Program
        self._device: Device
        self._time_limit_s: float
        self._hooks = ""
        self._warm: EmulatedMachine | None = None

    def open(self, header: dict[str, Any], _blobs: list[bytes]) -> Answer:
        """Read the program."""
        self._program = Program.read(Path(header["elf"]))
        self._device = Device.model_validate(header["device"])
        self._time_limit_s = header["time_limit_s"]
        self._hooks = header.get("hooks", "")
        return {}, ()

    def boot(self, header: dict[str, Any], _blobs: list[bytes]) -> Answer:
        """Run from reset to exit."""
        if header["counted"]:
            machine = _boot(self._machine(self._program.layers()))
        else:
            machine = self._watched(lambda: _boot(self._machine(None)), _boot)
        output = machine.output.decode(errors="replace")
        return {"output": output, "exit_code": machine.exit_code, "stack_bytes": machine.stack_bytes()}, ()

    def infer(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """Run inferences, uncounted; the blobs hold the inputs of all of them."""
        count = header["inputs"]
        outputs: list[bytes] = []
        for start in range(0, len(blobs), count):
            outputs += self._infer(blobs[start : start + count])
        return {}, outputs

    def _infer(self, inputs: list[bytes]) -> list[bytes]:
        return self._watched(lambda: _infer(self._started(), inputs), lambda machine: _infer(_start(machine), inputs))

    def reset(self, _header: dict[str, Any], _blobs: list[bytes]) -> Answer:
        """Start a sequence anew."""
        if "mlrun_reset" not in self._program.symbols:
            raise RunError("the program keeps no state to reset")
        self._started().call("mlrun_reset")
        return {}, ()

    def sizes(self, _header: dict[str, Any], _blobs: list[bytes]) -> Answer:
        """Bytes of each input and output."""
        machine = self._watched(self._started, _start)
        return {"inputs": _tensor_bytes(machine, "input"), "outputs": _tensor_bytes(machine, "output")}, ()

    def counted(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """Run one inference from power-on, counted."""
        layers = {self._program.address(name): name for name in header["layers"]}
        if len(layers) != len(header["layers"]):
            raise InputError("two of the layers to count are the same function")
        machine = self._machine(layers)
        _start(machine)
        _fill(machine, blobs)
        machine.reset_counts()
        _check(machine.call("mlrun_run"), "mlrun_run")
        rows, remainder = machine.counts(header["layers"])
        counts: dict[str, Any] = {"layers": [asdict(row) for row in rows], "remainder": asdict(remainder)}
        counts["stack_bytes"] = machine.stack_bytes()
        instructions = machine.executed() if header["check_alignment"] else {}
        outputs = _outputs(machine)
        if instructions:
            self._check_alignment(instructions, blobs)
        return counts, outputs

    def _check_alignment(self, instructions: dict[int, bytes], inputs: list[bytes]) -> None:
        """Run again from power-on, watching the instructions that must not access memory misaligned."""

        def run(machine: EmulatedMachine) -> None:
            _start(machine)
            machine.check_alignment(instructions)
            _infer(machine, inputs)

        self._watched(lambda: run(self._machine(None)), run)

    def _machine(self, layers: dict[int, str] | None) -> EmulatedMachine:
        while self._machines and self._machines[-1] is not self._warm:
            self._machines.pop().close()
        self._machines.append(self._make(self._program, self._device, self._time_limit_s, layers, self._hooks))
        return self._machines[-1]

    def close(self) -> None:
        """Give back what the machines take."""
        for machine in self._machines:
            machine.close()
        self._machines.clear()

    def _started(self) -> EmulatedMachine:
        """The machine of the uncounted inferences."""
        if self._warm is None:
            self._warm = _start(self._machine(None))
        return self._warm

    def _watched(self, run: Callable[[], _Result], again: Callable[[EmulatedMachine], Any]) -> _Result:
        """Run uncounted; on a fault do it again from power-on, watching, so that the message can name the layer."""
        try:
            return run()
        except RunError:
            self._warm = None
            again(self._machine(self._program.layers()))
            raise


def _boot(machine: EmulatedMachine) -> EmulatedMachine:
    machine.boot()
    return machine


def _start(machine: EmulatedMachine) -> EmulatedMachine:
    """From power-on through the start-up code to main, and the initialization of the model in place of main."""
    machine.boot(until="main")
    arena = machine.program.address("mlrun_arena")
    _check(machine.call("mlrun_init", (arena, machine.call("mlrun_arena_bytes"))), "mlrun_init")
    return machine


def _infer(machine: EmulatedMachine, inputs: list[bytes]) -> list[bytes]:
    _fill(machine, inputs)
    _check(machine.call("mlrun_run"), "mlrun_run")
    return _outputs(machine)


def _fill(machine: EmulatedMachine, inputs: list[bytes]) -> None:
    wanted = _tensor_bytes(machine, "input")
    got = [len(data) for data in inputs]
    if got != wanted:
        raise InputError(f"inputs of {got} bytes were given, and the program takes {wanted}")
    for index, data in enumerate(inputs):
        machine.write(machine.call("mlrun_input", (index,)), data)


def _outputs(machine: EmulatedMachine) -> list[bytes]:
    lengths = _tensor_bytes(machine, "output")
    return [machine.read(machine.call("mlrun_output", (index,)), length) for index, length in enumerate(lengths)]


def _tensor_bytes(machine: EmulatedMachine, side: str) -> list[int]:
    return [machine.call(f"mlrun_{side}_bytes", (index,)) for index in range(machine.call(f"mlrun_{side}s"))]


def _check(status: int, name: str) -> None:
    if status != 0:
        raise RunError(f"{name} returned {status - (status >> 31 << 32)}, expected 0")
