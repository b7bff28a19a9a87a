"""Arrays in ``.npy`` files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microlith.core import files
from microlith.core.errors import InputError

Array = NDArray[np.generic]


def read_array(path: Path) -> Array:
    """The numbers in a ``.npy`` file, which need not be trusted.

    Raises:
        InputError: the file cannot be read, is damaged, or holds something other than one array of numbers.
    """
    hint = "Write it with numpy.save(path, array)."
    try:
        with path.open("rb") as stream:
            found: Any = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.ndarray):
                raise InputError(f"{path} is an archive of arrays, expected one array in a .npy file", hint=hint)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or 'it is no file'}") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is not a .npy file of numbers, or is damaged", hint=hint) from error
    if found.dtype.kind not in "biuf":
        raise InputError(f"{path} holds {found.dtype}, expected integers or floats", hint=hint)
    return found


def write_array(path: Path, array: Array) -> None:
    """Write a ``.npy`` file, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    files.write_bytes(path, buffer.getvalue())
