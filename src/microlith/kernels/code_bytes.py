"""Bytes of a kernel's code before anything is linked, from a table that ``tests/kernels/code_bytes.py`` measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from statistics import median

from microlith.device.profile import Device
from microlith.kernels.base import Kernel

# Cores without a table of their own run Thumb-2 code like this one's.
_LIKE = "cortex-m4f"


def estimated_code_bytes(kernel: Kernel, device: Device) -> int:
    """About how many bytes one instance takes on that device; the median of all kernels where it was not measured."""
    tables = _tables()
    table = tables.get(device.core, tables[_LIKE])
    return table.get(kernel.name, round(median(table.values())))


@cache
def _tables() -> Mapping[str, Mapping[str, int]]:
    text = resources.files("microlith.kernels").joinpath("code_bytes.json").read_text(encoding="utf-8")
    tables: Mapping[str, Mapping[str, int]] = json.loads(text)
    return tables
