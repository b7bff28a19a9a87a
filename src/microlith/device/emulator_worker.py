"""``python -m microlith.device.emulator_worker``: the process in which Unicorn runs. It is driven by the emulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from microlith.core.errors import InputError, RunError
from microlith.device.block_counter import BlockCounter, Tally
from microlith.device.emulator_machine import Machine, Program
from microlith.device.profile import Device
from microlith.device.worker_loop import Answer, serve

_Result = TypeVar("_Result")


class Session:
    """One program on one device."""

    def __init__(self) -> None:
        self._program: Program
        self._device: Device
        self._time_limit_s: float
        self._warm: Machine | None = None

    def open(self, header: dict[str, Any], _blobs: list[bytes]) -> Answer:
        """Read the program."""
        self._program = Program.read(Path(header["elf"]))
        self._device = Device.model_validate(header["device"])
        self._time_limit_s = header["time_limit_s"]
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
        counter = machine.counter
        assert counter is not None
        counter.reset()
        _check(machine.call("mlrun_run"), "mlrun_run")
        counts = _counts(counter, header["layers"]) | {"stack_bytes": machine.stack_bytes()}
        instructions = counter.executed() if header["check_alignment"] else {}
        outputs = _outputs(machine)
        if instructions:
            self._check_alignment(instructions, blobs)
        return counts, outputs

    def _check_alignment(self, instructions: dict[int, bytes], inputs: list[bytes]) -> None:
        """Run again from power-on, watching the instructions that must not access memory misaligned."""

        def run(machine: Machine) -> None:
            _start(machine)
            machine.check_alignment(instructions)
            _infer(machine, inputs)

        self._watched(lambda: run(self._machine(None)), run)

    def _machine(self, layers: dict[int, str] | None) -> Machine:
        return Machine(self._program, self._device, self._time_limit_s, layers)

    def _started(self) -> Machine:
        """The machine of the uncounted inferences."""
        if self._warm is None:
            self._warm = _start(self._machine(None))
        return self._warm

    def _watched(self, run: Callable[[], _Result], again: Callable[[Machine], Any]) -> _Result:
        """Run uncounted; on a fault do it again from power-on, watching, so that the message can name the layer."""
        try:
            return run()
        except RunError:
            self._warm = None
            again(self._machine(self._program.layers()))
            raise


def _boot(machine: Machine) -> Machine:
    machine.boot()
    return machine


def _start(machine: Machine) -> Machine:
    """From power-on through the start-up code to main, and the initialization of the model in place of main."""
    machine.boot(until="main")
    arena = machine.program.address("mlrun_arena")
    _check(machine.call("mlrun_init", (arena, machine.call("mlrun_arena_bytes"))), "mlrun_init")
    return machine


def _infer(machine: Machine, inputs: list[bytes]) -> list[bytes]:
    _fill(machine, inputs)
    _check(machine.call("mlrun_run"), "mlrun_run")
    return _outputs(machine)


def _fill(machine: Machine, inputs: list[bytes]) -> None:
    wanted = _tensor_bytes(machine, "input")
    got = [len(data) for data in inputs]
    if got != wanted:
        raise InputError(f"inputs of {got} bytes were given, and the program takes {wanted}")
    for index, data in enumerate(inputs):
        machine.write(machine.call("mlrun_input", (index,)), data)


def _outputs(machine: Machine) -> list[bytes]:
    lengths = _tensor_bytes(machine, "output")
    return [machine.read(machine.call("mlrun_output", (index,)), length) for index, length in enumerate(lengths)]


def _tensor_bytes(machine: Machine, side: str) -> list[int]:
    return [machine.call(f"mlrun_{side}_bytes", (index,)) for index in range(machine.call(f"mlrun_{side}s"))]


def _check(status: int, name: str) -> None:
    if status != 0:
        raise RunError(f"{name} returned {status - (status >> 31 << 32)}, expected 0")


def _counts(counter: BlockCounter, layers: list[str]) -> dict[str, Any]:
    def row(tally: Tally) -> dict[str, Any]:
        return {"instructions": counter.instructions(tally), "cycles": counter.cycles(tally), "entries": tally.entries}

    return {"layers": [row(counter.tallies[name]) for name in layers], "remainder": row(counter.outside)}


def main() -> None:
    """Serve until the parent closes the pipe."""
    session = Session()
    serve({name: getattr(session, name) for name in ("open", "boot", "infer", "reset", "sizes", "counted")})


if __name__ == "__main__":
    main()
