"""Calls compiled cases, one after the other, and writes what each gave before it turns to the next: a program.

What ends this process, such as a write beyond a buffer or a trap of the checks for undefined behaviour, ends no test.
"""

from __future__ import annotations

import ctypes
import pickle
import signal
import sys
from pathlib import Path

import numpy as np

GUARD = 64


def run(library: ctypes.CDLL, task: tuple) -> list[np.ndarray]:
    """Outputs of one inference, bytes around the arena checked."""
    from microlith.program.types import NUMPY

    _, symbol, size, inputs, outputs, feeds = task
    guarded = np.full(size + 2 * GUARD, 0xA5, np.uint8)
    start = 16 - guarded.ctypes.data % 16 + 16
    context = (ctypes.c_uint8 * 4096)()
    arena = ctypes.c_void_p(guarded.ctypes.data + start)
    assert getattr(library, f"{symbol}_init")(context, arena, ctypes.c_size_t(size)) == 0
    for index, (name, dtype) in enumerate(inputs):
        content = np.ascontiguousarray(feeds[name], NUMPY[dtype])
        assert content.dtype == feeds[name].dtype, f"{name} is {feeds[name].dtype} and compiled as {content.dtype}"
        ctypes.memmove(pointer(library, f"{symbol}_input_{index}", context), content.ctypes.data, content.nbytes)
    assert getattr(library, f"{symbol}_run")(context) == 0
    results = []
    for index, (dtype, shape, size_bytes) in enumerate(outputs):
        raw = ctypes.string_at(pointer(library, f"{symbol}_output_{index}", context), size_bytes)
        results.append(np.frombuffer(raw, NUMPY[dtype]).reshape(shape))
    assert (guarded[:start] == 0xA5).all()
    assert (guarded[start + size :] == 0xA5).all()
    return results


def pointer(library: ctypes.CDLL, function: str, context: object) -> int:
    """What the function says where a tensor lies."""
    called = getattr(library, function)
    called.restype = ctypes.c_void_p
    return called(context)


def main() -> None:
    """Arguments: library, tasks, results, seconds a case."""
    library = ctypes.CDLL(sys.argv[1])
    with Path(sys.argv[3]).open("wb") as out:
        for task in pickle.loads(Path(sys.argv[2]).read_bytes()):
            signal.alarm(int(sys.argv[4]))  # its default action ends the process
            results = run(library, task)
            signal.alarm(0)
            pickle.dump((task[0], results), out)
            out.flush()


if __name__ == "__main__":
    main()
