"""Runs the target on one input in a process of its own, with limits, and says how it ended."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fuzz.target import accepted, refusal
from microlith.core.errors import ModelError

TIME_LIMIT_S = 10
MEMORY_LIMIT_BYTES = 1 << 30
SECRET = b"what lies outside the folder of the model" * 100

Target = Callable[[Path, Path], object]
"""Takes the file and the folder that it may write to; raises ModelError to refuse."""

Ending = Literal["accepted", "refused", "finding"]


@dataclass(frozen=True)
class Outcome:
    """How the target ended.

    Attributes:
        ending: a finding is whatever is neither success nor an orderly refusal.
        what: the refusal, or what was found.
        place: where in the code, to tell findings apart; empty for others.
        seconds: of processor time that it took.
        resident_mb: the most memory that its process held, with the interpreter and its libraries.
    """

    ending: Ending
    what: str
    place: str = ""
    seconds: float = 0.0
    resident_mb: int = 0


def examine(
    data: bytes, suffix: str = ".onnx", *, target: Target = accepted, time_limit_s: int = TIME_LIMIT_S
) -> Outcome:
    """Run a target on a file with these bytes."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        root = Path(name).resolve()
        path = _lay_out(root, data, suffix)
        outcome = _in_child(root, path, target, time_limit_s)
        extra = _intruders(root, path)
        if extra and outcome.ending != "finding":
            return replace(outcome, ending="finding", what=f"wrote {extra}", place="writes outside the output folder")
        return outcome


def _lay_out(root: Path, data: bytes, suffix: str) -> Path:
    """The model in a folder with external data, links out of it and a pipe; something secret outside."""
    folder = root / "model"
    folder.mkdir()
    (root / "secret.bin").write_bytes(SECRET)
    (folder / "data.bin").write_bytes(bytes(range(256)) * 64)
    (folder / "link.bin").symlink_to("../secret.bin")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "fifo")
    path = folder / f"model{suffix}"
    path.write_bytes(data)
    return path


def _intruders(root: Path, path: Path) -> str:
    expected = {"model", "secret.bin", "out", "data.bin", "link.bin", "up", "fifo", path.name}
    found = [item for folder in (root, root / "model") for item in folder.iterdir() if item.name not in expected]
    return ", ".join(map(str, found))


def _in_child(root: Path, path: Path, target: Target, time_limit_s: int) -> Outcome:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            answer = json.dumps(_answer(root, path, target, time_limit_s)).encode()
            os.write(writer, answer[:60_000])
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    _, status, used = os.wait4(child, 0)
    spent = used.ru_utime + used.ru_stime, used.ru_maxrss >> 10  # Linux states KiB
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        slow = name in ("SIGXCPU", "SIGALRM", "SIGKILL")
        what = f"no end within {time_limit_s} s" if slow else f"ended by {name}"
        return Outcome("finding", what, f"{name} in {answer.decode(errors='replace')}", *spent)
    if not answer:
        return Outcome("finding", f"exit status {status} without an answer", "no answer", *spent)
    return Outcome(*json.loads(answer), *spent)


def _answer(root: Path, path: Path, target: Target, time_limit_s: int) -> tuple[Ending, str, str]:
    _limit(time_limit_s)
    _watch(root)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            target(path, root / "out")
    except ModelError as error:
        try:
            return "refused", refusal(error)[:2000], type(error).__name__
        except AssertionError as complaint:
            return "finding", str(complaint), f"{type(error).__name__}, not for users, {place(error)}"
    except BaseException as error:
        return "finding", f"{type(error).__name__}: {str(error)[:500]}", place(error)
    return "accepted", "", ""


def _limit(time_limit_s: int) -> None:
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_LIMIT_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (time_limit_s, time_limit_s + 2))
    signal.signal(signal.SIGXCPU, _too_long)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(30 * time_limit_s)  # for what waits without computing; other processes may take the processor


class _TooLongError(BaseException):
    """The time is up; no handler of errors in the target may take it for its own."""


def _too_long(number: int, frame: object) -> None:
    raise _TooLongError("the time is up")


def _watch(root: Path) -> None:
    """Let an access that must not happen be an error: writing outside ``root``, reading the secret, a subprocess."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect"):
            raise AssertionError(f"{event} {arguments}")
        if event == "open" and isinstance(arguments[0], str | bytes):
            file = os.path.realpath(os.fsdecode(arguments[0]))
            writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            outside = not file.startswith(f"{root}/out") and not file.startswith(f"{root}/.") and file != os.devnull
            if (writes and outside) or file == f"{root}/secret.bin":
                raise AssertionError(f"open {file} with flags {arguments[2]}")

    sys.addaudithook(hook)


def place(error: BaseException) -> str:
    """The innermost lines of our own code, then the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/microlith/" in frame.filename][-2:]
    lines = [f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}" for frame in own]
    innermost = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    return f"{type(error).__name__} at {' < '.join(reversed(lines))} ({innermost})"
