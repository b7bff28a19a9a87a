"""A place where an artifact is built: shared library, self-test, minimal and empty application."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from microlith.compile.manifest import Manifest
from microlith.core.errors import InputError
from microlith.device.toolchain import Toolchain

RUNNER_SYMBOLS = (
    "mlrun_init",
    "mlrun_arena_bytes",
    "mlrun_inputs",
    "mlrun_input",
    "mlrun_input_bytes",
    "mlrun_outputs",
    "mlrun_output",
    "mlrun_output_bytes",
    "mlrun_run",
)


class Workbench:
    """Builds the files of one artifact with one toolchain, in a temporary directory.

    Args:
        files: content by path within the artifact.
        manifest: the artifact's.
        toolchain: for the artifact's device.
    """

    def __init__(self, files: Mapping[str, bytes], manifest: Manifest, toolchain: Toolchain) -> None:
        self.files = files
        self.manifest = manifest
        self.toolchain = toolchain
        self._root = Path(tempfile.mkdtemp(prefix="microlith-"))
        for path, content in files.items():
            target = self._root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._root, ignore_errors=True)

    @property
    def _library(self) -> list[Path]:
        name = self.manifest.name
        return [self._root / "src" / f"{name}.c", self._root / "src" / f"{name}_weights.c"]

    @property
    def _includes(self) -> list[Path]:
        return [self._root / "include", self._root / "src", self._root / "selftest"]

    def shared_library(self, *, sanitize: bool = False) -> Path:
        """The library and the runner functions, for this machine; with checks for undefined behaviour if asked."""
        out = self._root / ("checked.so" if sanitize else "library.so")
        sources = [*self._library, self._root / "selftest" / "runner.c"]
        self.toolchain.compile_shared(sources, self._includes, out, sanitize=sanitize)
        return out

    def selftest(self) -> Path:
        """The self-test, with the runner functions kept."""
        keep = (*RUNNER_SYMBOLS, "mlrun_reset") if self.manifest.states else RUNNER_SYMBOLS
        return self._application("main.c", [*self._library, self._root / "selftest" / "runner.c"], keep)

    def runner(self, main: str) -> Path:
        """The library and the runner functions with another main than the self-test's, a file of ``selftest``."""
        return self._application(
            main, [*self._library, self._root / "selftest" / "runner.c"], ("mlrun_arena", *RUNNER_SYMBOLS)
        )

    def minimal(self) -> Path:
        """The minimal application that flash and RAM are counted on."""
        return self._application("minimal.c", self._library, ())

    def empty(self) -> Path:
        """The application that does nothing."""
        return self._application("empty.c", [], ())

    def _application(self, main: str, library: list[Path], keep: tuple[str, ...]) -> Path:
        selftest = self._root / "selftest"
        device = self.manifest.device
        out = self._root / f"{main}.elf"
        sources = [selftest / main, *library, selftest / f"startup_{device.core}.c", selftest / "ml_board.c"]
        self.toolchain.link_elf(sources, self._includes, selftest / "linker.ld", out, keep=keep)
        return out


def read_files(directory: Path, manifest: Manifest) -> dict[str, bytes]:
    """The files that the manifest lists, each checked against its hash.

    Raises:
        InputError: one is missing or was changed.
    """
    files = {}
    for path, expected in manifest.files.items():
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise InputError(f"the manifest names a file outside the artifact: {path}")
        try:
            content = (directory / path).read_bytes()
        except OSError as error:
            raise InputError(f"{directory / path} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise InputError(
                f"{directory / path} is not the file that was written: its hash differs from the manifest's",
                hint="Compile the model again.",
            )
        files[path] = content
    return files
