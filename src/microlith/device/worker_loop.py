"""The other end of :mod:`microlith.device.worker_process`: what every worker does with its messages."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from microlith.core.errors import InputError, MicrolithError, RunError, TimeLimitError
from microlith.device import frames

Answer = tuple[dict[str, Any], Sequence[bytes]]
Handler = Callable[[dict[str, Any], list[bytes]], Answer]

_PARENT_CHECK_S = 1.0


def serve(handlers: dict[str, Handler]) -> None:
    """Answer messages, each by the handler that its ``command`` names, until the other end closes."""
    _watch_parent()
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Only frames may go down the pipe; whatever else prints goes to stderr.
    os.dup2(2, 1)

    def read(count: int) -> bytes:
        data = source.read(count)
        if len(data) != count:
            raise EOFError
        return data

    while True:
        try:
            header, blobs = frames.unpack(read)
        except EOFError:
            return
        answer, results = _handle(handlers[header["command"]], header, blobs)
        sink.write(frames.pack(answer, results))
        sink.flush()


def _handle(handler: Handler, header: dict[str, Any], blobs: list[bytes]) -> Answer:
    try:
        return handler(header, blobs)
    except InputError as error:
        return {"error": error.what, "kind": "input"}, ()
    except RunError as error:
        kind = "late" if isinstance(error, TimeLimitError) else "run"
        return {"error": error.what, "kind": kind, "node": error.node, "hint": error.hint}, ()
    except MicrolithError as error:
        return {"error": str(error)}, ()


def _watch_parent() -> None:
    """End with the parent, also in the middle of an endless loop of what runs here."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
