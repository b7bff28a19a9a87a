"""The emulator's hooks in C, compiled for this machine."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

from microlith.core.errors import ToolchainError
from microlith.device.load import device
from microlith.device.toolchain import find_toolchain


def build_hooks() -> Path | None:
    """The shared library of the hooks; None where no compiler for this machine is.

    It is built once, and again where its temporary directory is gone: that of a command ends with the command.

    Raises:
        ToolchainError: the compiler is there and fails.
    """
    found = _build()
    if found is not None and not found.is_file():
        _build.cache_clear()
        found = _build()
    return found


@cache
def _build() -> Path | None:
    try:
        toolchain = find_toolchain(device("host"))
    except ToolchainError:
        return None  # Python counts the same, more slowly
    directory = Path(tempfile.mkdtemp(prefix="microlith-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    source = resources.files("microlith.device").joinpath("native", "hooks.c")
    out = directory / "hooks.so"
    with resources.as_file(source) as path:
        toolchain.compile_shared([path], [], out)
    return out
