"""``python -m microlith.device.host_worker``: the process in which a compiled library runs on this machine."""

from __future__ import annotations

import ctypes
import mmap
import time
from typing import Any

from microlith.core.errors import InputError, RunError
from microlith.device.worker_loop import Answer, serve

_ALIGNMENT_BYTES = 64
_CANARY = b"\xc9"
_PROT_NONE = 0


class GuardedArena:
    """Memory that ends at an inaccessible page and follows one, so that an overrun is a crash.

    What alignment leaves before the end, and what page rounding leaves before the start, holds a pattern that
    :meth:`check` looks at.
    """

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        aligned = -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        inner = max(page, -(-aligned // page) * page)
        self._map = mmap.mmap(-1, inner + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.address = start + page + inner - aligned
        self._before = (page, inner - aligned)
        self._after = (page + inner - aligned + size, aligned - size)
        for offset, length in (self._before, self._after):
            self._map[offset : offset + length] = _CANARY * length
        _protect(start, page)
        _protect(start + page + inner, page)

    def check(self) -> None:
        """Refuse where something was written just outside.

        Raises:
            RunError: it was.
        """
        for (offset, length), side in ((self._before, "before the start"), (self._after, "after the end")):
            if self._map[offset : offset + length] != _CANARY * length:
                raise RunError(f"the program wrote {side} of its arena")


def _protect(address: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(length), _PROT_NONE) != 0:
        raise RunError(f"cannot protect the memory around the arena (errno {ctypes.get_errno()})")


class Library:
    """A library with the ``mlrun_*`` functions, initialized on a guarded arena."""

    def __init__(self, path: str) -> None:
        try:
            self._library = ctypes.CDLL(path)
            self._init = self._function("mlrun_init", ctypes.c_int32, ctypes.c_void_p, ctypes.c_uint32)
            self.run = self._function("mlrun_run", ctypes.c_int32)
            arena_bytes = self._function("mlrun_arena_bytes", ctypes.c_uint32)()
            pointers = {side: self._function(f"mlrun_{side}", ctypes.c_void_p, ctypes.c_uint32) for side in _SIDES}
            sizes = {side: self._function(f"mlrun_{side}_bytes", ctypes.c_uint32, ctypes.c_uint32) for side in _SIDES}
            counts = {side: self._function(f"mlrun_{side}s", ctypes.c_uint32)() for side in _SIDES}
        except (OSError, AttributeError) as error:
            raise RunError(f"the library cannot be loaded: {error}") from error
        self.arena = GuardedArena(arena_bytes)
        _check(self._init(self.arena.address, arena_bytes), "mlrun_init")
        self.bytes = {side: [sizes[side](index) for index in range(counts[side])] for side in _SIDES}
        self._addresses = {side: [pointers[side](index) for index in range(counts[side])] for side in _SIDES}

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        function = getattr(self._library, name)
        function.restype, function.argtypes = result, arguments
        return function

    def fill(self, inputs: list[bytes]) -> None:
        """Copy the inputs to where the program takes them."""
        got = [len(data) for data in inputs]
        if got != self.bytes["input"]:
            raise InputError(f"inputs of {got} bytes were given, and the program takes {self.bytes['input']}")
        for address, data in zip(self._addresses["input"], inputs, strict=True):
            ctypes.memmove(address, data, len(data))

    def reset(self) -> None:
        """Take its state back to where it starts."""
        try:
            reset = self._function("mlrun_reset", None)
        except AttributeError as error:
            raise RunError("the program keeps no state to reset") from error
        reset()

    def outputs(self) -> list[bytes]:
        """Copies of the outputs."""
        return [
            ctypes.string_at(address, size)
            for address, size in zip(self._addresses["output"], self.bytes["output"], strict=True)
        ]


_SIDES = ("input", "output")


def _check(status: int, name: str) -> None:
    if status != 0:
        raise RunError(f"{name} returned {status}, expected 0")


class Session:
    """One library."""

    def __init__(self) -> None:
        self._library: Library

    def open(self, header: dict[str, Any], _blobs: list[bytes]) -> Answer:
        """Load and initialize."""
        self._library = Library(header["library"])
        return {"inputs": self._library.bytes["input"], "outputs": self._library.bytes["output"]}, ()

    def infer(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """Run inferences; the blobs hold the inputs of all of them."""
        library, count = self._library, header["inputs"]
        outputs: list[bytes] = []
        for start in range(0, len(blobs), count):
            library.fill(blobs[start : start + count])
            _check(library.run(), "mlrun_run")
            library.arena.check()
            outputs += library.outputs()
        return {}, outputs

    def reset(self, _header: dict[str, Any], _blobs: list[bytes]) -> Answer:
        """Start a sequence anew."""
        self._library.reset()
        return {}, ()

    def measure(self, header: dict[str, Any], blobs: list[bytes]) -> Answer:
        """Time single inferences; the inputs are filled in again before each, as a program may overwrite them."""
        library, times_ns = self._library, []
        for _ in range(header["repeats"]):
            library.fill(blobs)
            start = time.perf_counter_ns()
            status = library.run()
            times_ns.append(time.perf_counter_ns() - start)
            _check(status, "mlrun_run")
        return {"times_ns": times_ns}, ()


def main() -> None:
    """Serve until the parent closes the pipe."""
    session = Session()
    serve({"open": session.open, "infer": session.infer, "reset": session.reset, "measure": session.measure})


if __name__ == "__main__":
    main()
