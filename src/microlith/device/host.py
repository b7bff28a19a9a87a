"""Running a compiled library on this machine, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from microlith.core.errors import InputError
from microlith.device.worker_process import WorkerProcess, infer_many, reset


class HostRunner:
    """A shared library with the ``mlrun_*`` functions, to be used as a context manager.

    Its arena lies between inaccessible pages. A crash, and a report of the undefined-behaviour checker where the
    library was built with it, is an error here.

    Args:
        library: shared library.
        time_limit_s: of one inference.

    Raises:
        InputError: there is no such file.
        RunError: it cannot be loaded, or its initialization failed.
    """

    def __init__(self, library: Path, *, time_limit_s: float = 120.0) -> None:
        if not library.is_file():
            raise InputError(f"there is no library {library}")
        self._time_limit_s = time_limit_s
        self._worker = WorkerProcess("microlith.device.host_worker", "the compiled library")
        try:
            request = {"command": "open", "library": str(library.resolve())}
            answer, _ = self._worker.request(request, time_limit_s=time_limit_s)
        except BaseException:
            self.close()
            raise
        self._sizes = tuple(answer["inputs"]), tuple(answer["outputs"])

    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Bytes of each input and of each output."""
        return self._sizes

    def infer(self, inputs: Sequence[bytes]) -> list[bytes]:
        """One inference: the outputs' bytes for the inputs' bytes.

        Raises:
            InputError: number or sizes of the inputs do not fit the program.
            RunError: it crashed, failed, or did not end in time.
        """
        return self.infer_many([inputs])[0]

    def infer_many(self, samples: Sequence[Sequence[bytes]]) -> list[list[bytes]]:
        """Like :meth:`infer` for several samples, each a list of inputs, in one message; steps where it keeps state."""
        return infer_many(self._worker, samples, self._time_limit_s)

    def reset(self) -> None:
        """Take the state of the program back to where it starts.

        Raises:
            RunError: it keeps none.
        """
        reset(self._worker, self._time_limit_s)

    def measure(self, inputs: Sequence[bytes], repeats: int) -> list[float]:
        """Seconds of each of several single inferences, the call from Python (under a microsecond) included."""
        request = {"command": "measure", "repeats": repeats}
        answer, _ = self._worker.request(request, inputs, time_limit_s=self._time_limit_s * (repeats + 1))
        return [time_ns * 1e-9 for time_ns in answer["times_ns"]]

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def __enter__(self) -> HostRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
