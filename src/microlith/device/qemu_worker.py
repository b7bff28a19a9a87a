"""A session on QEMU: QEMU is a process of its own, so that none is needed around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microlith.device.emulator_session import Session
from microlith.device.qemu_machine import QemuMachine


class QemuWorker:
    """Answers what :class:`~microlith.device.worker_process.WorkerProcess` answers, for QEMU."""

    def __init__(self) -> None:
        self._session = Session(
            lambda program, device, limit_s, layers, _hooks: QemuMachine(program, device, limit_s, layers)
        )

    def request(
        self, header: dict[str, Any], blobs: Sequence[bytes] = (), *, time_limit_s: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Do what a message asks for.

        Raises:
            RunError: what ran faulted or did not end in time.
            InputError: what it was given does not fit.
        """
        answer, results = getattr(self._session, header["command"])(header, list(blobs))
        return answer, list(results)

    def close(self) -> None:
        """End QEMU."""
        self._session.close()
