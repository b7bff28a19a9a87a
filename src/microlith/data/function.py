"""Functions of the user's, named as ``module.py:function``."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from microlith.core.errors import InputError, MicrolithError

_FUNCTION = re.compile(r"^(?P<path>.+\.py):(?P<name>[A-Za-z_][A-Za-z0-9_]*)$")


def load_function(source: str, purpose: str) -> Callable[..., Any]:
    """Import a file and return one of its functions; the file is executed.

    Args:
        source: ``path/module.py:function``.
        purpose: what it is for, for messages.
    """
    match = _FUNCTION.match(source)
    if match is None:
        raise InputError(f"{purpose} {source!r} names no function", hint="Write it like module.py:function.")
    path = Path(match["path"])
    if not path.is_file():
        raise InputError(f"{purpose} file {path} does not exist")
    spec = importlib.util.spec_from_file_location(f"microlith_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with running(source):
        spec.loader.exec_module(module)
    function = getattr(module, match["name"], None)
    if not callable(function):
        there = ", ".join(name for name, value in vars(module).items() if callable(value) and name[0] != "_")
        raise InputError(f"{path} has no function {match['name']!r}; the functions there are: {there or 'none'}")
    return function  # type: ignore[no-any-return]


@contextmanager
def running(source: str) -> Iterator[None]:
    """Run code of the user's file: its neighbours can be imported, and what it raises becomes one clear error."""
    folder = str(Path(source.rpartition(":")[0]).resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    except MicrolithError:
        raise
    except Exception as error:
        raise InputError(
            f"{source} failed: {type(error).__name__}: {error}", hint="Run the function by itself to find out why."
        ) from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
