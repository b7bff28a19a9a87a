"""Helpers of the tests of commands: ``from cli import running``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


@dataclass(frozen=True)
class Inputs:
    """A model and labelled data."""

    model: Path
    data: Path


def everything_in(place: Path) -> dict[str, bytes | None]:
    """Every file below a directory by relative path; directories are None."""
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else None for path in sorted(place.rglob("*"))
    }


def forget_toolchains(patch: pytest.MonkeyPatch) -> None:
    """As on a machine without zig and without any compiler on the PATH."""
    find = importlib.util.find_spec
    patch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ziglang" else find(name, *rest))
    patch.setenv("PATH", "")
