"""``python -m microlith.device.emulator_worker``: the process in which Unicorn runs. It is driven by the emulator."""

from __future__ import annotations

from microlith.device.emulated_program import Program
from microlith.device.emulator_arm import ArmMachine
from microlith.device.emulator_machine import Machine
from microlith.device.emulator_riscv import RiscvMachine
from microlith.device.emulator_session import COMMANDS, Session
from microlith.device.profile import Device
from microlith.device.worker_loop import serve


def machine(
    program: Program, device: Device, time_limit_s: float, layers: dict[int, str] | None, hooks: str
) -> Machine:
    """The machine of the device's architecture."""
    return (RiscvMachine if device.is_riscv else ArmMachine)(program, device, time_limit_s, layers, hooks)


def main() -> None:
    """Serve until the parent closes the pipe."""
    session = Session(machine)
    serve({name: getattr(session, name) for name in COMMANDS})


if __name__ == "__main__":
    main()
