"""A worker in a process of its own: what crashes or hangs there is an error message here."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import microlith
from microlith.core.errors import InputError, MicrolithError, RunError, TimeLimitError
from microlith.device import frames

_GRACE_S = 30.0
_STDERR_CHARACTERS = 2000
_CHECKER_MARKS = ("runtime error:", "panic:")


class _Ended(Exception):
    """The worker closed its end of the pipe."""


class _Late(Exception):
    """The worker did not answer in time."""


class Worker(Protocol):
    """What answers messages."""

    def request(
        self, header: dict[str, Any], blobs: Sequence[bytes] = (), *, time_limit_s: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Send one message and wait for the answer."""
        ...

    def close(self) -> None:
        """End it, whatever it does."""
        ...


class WorkerProcess:
    """One running worker.

    Args:
        module: run with ``python -m``.
        what: it runs, for messages.
    """

    def __init__(self, module: str, what: str) -> None:
        self._what = what
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        # -P keeps a user's own json.py or unicorn.py in the current directory from being imported instead.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            env=_environment(),
        )

    def request(
        self, header: dict[str, Any], blobs: Sequence[bytes] = (), *, time_limit_s: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Send one message and wait for the answer.

        Raises:
            RunError: what ran crashed, faulted or did not end in time.
            InputError: the worker says that what it was given does not fit.
        """
        if self._process.stdin is None or self._process.stdin.closed:
            raise RunError(f"{self._what} has ended already", hint="Start another one.")
        deadline = time.monotonic() + time_limit_s + _GRACE_S
        try:
            self._write(frames.pack(header, blobs))
            answer, results = frames.unpack(lambda count: self._read(count, deadline))
        except (_Ended, BrokenPipeError):
            raise self._crash() from None
        except _Late:
            self.close()
            raise TimeLimitError(f"{self._what} did not end within {time_limit_s:g} s") from None
        report = self._checker_report()
        if report:
            raise RunError(f"{self._what} has undefined behaviour:\n{report}")
        if "error" in answer:
            raise _error(answer)
        return answer, results

    def close(self) -> None:
        """End the worker, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                stream.close()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._process.stdin.fileno(), view) :]

    def _read(self, count: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        parts = []
        while count:
            if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise _Late
            part = os.read(handle, min(count, 1 << 20))
            if not part:
                raise _Ended
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _crash(self) -> RunError:
        code = self._process.wait()
        report = self._checker_report()
        said = self._said()
        self.close()
        if report:
            return RunError(f"{self._what} has undefined behaviour:\n{report}")
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return RunError(f"{self._what} crashed: its process {how}" + (f":\n{said}" if said else ""))

    def _said(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace").strip()[:_STDERR_CHARACTERS]

    def _checker_report(self) -> str:
        said = self._said()
        return said if any(mark in said for mark in _CHECKER_MARKS) else ""


def infer_many(worker: Worker, samples: Sequence[Sequence[bytes]], time_limit_s: float) -> list[list[bytes]]:
    """Send many samples as one message, and sort the outputs by sample."""
    if not samples:
        return []
    count = len(samples[0])
    if count == 0 or any(len(sample) != count for sample in samples):
        raise InputError(f"the samples have {sorted({len(sample) for sample in samples})} inputs, expected one number")
    blobs = [data for sample in samples for data in sample]
    limit = time_limit_s * (len(samples) + 1)
    _, outputs = worker.request({"command": "infer", "inputs": count}, blobs, time_limit_s=limit)
    each = len(outputs) // len(samples)
    return [outputs[start : start + each] for start in range(0, len(outputs), each)]


def reset(worker: Worker, time_limit_s: float) -> None:
    """Take the state of a program back to where it starts."""
    worker.request({"command": "reset"}, time_limit_s=time_limit_s)


def _error(answer: dict[str, Any]) -> MicrolithError:
    if answer.get("kind") == "input":
        return InputError(answer["error"])
    kind = TimeLimitError if answer.get("kind") == "late" else RunError
    return kind(answer["error"], node=answer.get("node"), hint=answer.get("hint"))


def _environment() -> dict[str, str]:
    """The worker must import the same microlith as this process."""
    root = str(Path(microlith.__file__).parent.parent)
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
