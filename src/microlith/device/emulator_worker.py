"""``python -m microlith.device.emulator_worker``: the process in which Unicorn runs. It is driven by the emulator."""

from __future__ import annotations

from microlith.device.emulator_machine import Machine
from microlith.device.emulator_session import COMMANDS, Session
from microlith.device.worker_loop import serve


def main() -> None:
    """Serve until the parent closes the pipe."""
    session = Session(Machine)
    serve({name: getattr(session, name) for name in COMMANDS})


if __name__ == "__main__":
    main()
