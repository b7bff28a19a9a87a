"""A place for temporary files that is gone when a command ends, however it ends."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from microlith.core.errors import InputError


@contextmanager
def scratch() -> Iterator[None]:
    """Have everything that asks for a temporary directory get it inside one that is removed at the end.

    An interruption can come between the making of a directory and whatever would remove it.

    Raises:
        InputError: there is no place for temporary files.
    """
    before = tempfile.tempdir
    try:
        root = tempfile.mkdtemp(prefix="microlith-")
    except OSError as error:
        raise InputError(
            f"there is no place for temporary files: {error.strerror}", hint="Set TMPDIR to one that can be written."
        ) from error
    try:
        tempfile.tempdir = root
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(root, ignore_errors=True)
