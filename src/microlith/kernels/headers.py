"""The C headers of the kernels: their text, and which of them a kernel needs."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from microlith.kernels.base import Kernel

_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


@cache
def header_text(name: str) -> str:
    """The text of a header of ``kernels/c``."""
    return resources.files("microlith.kernels").joinpath("c", name).read_text(encoding="utf-8")


def headers_needed(kernel: Kernel) -> tuple[str, ...]:
    """The header of the kernel and those that it includes, every one after what it includes itself."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name in ordered:
            return
        for included in _INCLUDE.findall(header_text(name)):
            visit(included)
        ordered.append(name)

    visit(kernel.header)
    return tuple(ordered)
