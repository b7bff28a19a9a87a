"""Parsing and printing of the units in which budgets are stated. ``K`` is 1,024."""

from __future__ import annotations

import re

from microlith.core.errors import InputError

_BYTES = {"": 1, "B": 1, "K": 1024, "KB": 1024, "KIB": 1024, "M": 1024**2, "MB": 1024**2, "MIB": 1024**2}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_JOULES = {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9}
_QUANTITY = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z%]*)\s*$")


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    match = _QUANTITY.match(text)
    if match is None:
        raise InputError(f"{what} is {text!r}, expected a number with a unit", hint=f"Write it like {example}.")
    return float(match[1]), match[2]


def parse_bytes(text: str | int) -> int:
    """Bytes from ``65536``, ``"64K"`` or ``"1.5M"``."""
    if isinstance(text, int):
        return text
    number, unit = _split(text, "a size", "64K")
    if unit.upper() not in _BYTES:
        raise InputError(f"unknown size unit {unit!r} in {text!r}", hint="Use B, K (1,024 bytes) or M.")
    return round(number * _BYTES[unit.upper()])


def _parse_scaled(text: str, what: str, example: str, units: dict[str, float]) -> float:
    number, unit = _split(text, what, example)
    if unit not in units:
        raise InputError(f"{what} is {text!r}, without a unit it has", hint=f"Write it like {example}.")
    return number * units[unit]


def parse_seconds(text: str | float) -> float:
    """Seconds from ``"50ms"`` or a number of seconds."""
    return float(text) if isinstance(text, int | float) else _parse_scaled(text, "a time", "50ms", _SECONDS)


def parse_joules(text: str | float) -> float:
    """Joules from ``"3mJ"`` or a number of joules."""
    return float(text) if isinstance(text, int | float) else _parse_scaled(text, "an energy", "3mJ", _JOULES)


def parse_drop(text: str | float) -> float:
    """An accuracy drop in percentage points from ``"1pp"`` or a number of points."""
    if isinstance(text, int | float):
        return float(text)
    number, unit = _split(text, "an accuracy drop", "1pp")
    if unit == "%":
        raise InputError(
            f"an accuracy drop of {text!r} is ambiguous",
            hint=f"Write {number:g}pp: a drop is stated in percentage points, not in percent of the accuracy.",
        )
    if unit != "pp":
        raise InputError(f"an accuracy drop is {text!r}, expected percentage points", hint="Write it like 1pp.")
    return number


def format_bytes(count: float) -> str:
    """``65,536 B (64.0 K)``: exact and readable."""
    exact = f"{round(count):,} B"
    if abs(count) < 1024:
        return exact
    return f"{exact} ({count / 1024:.1f} K)" if abs(count) < 1024**2 else f"{exact} ({count / 1024**2:.2f} M)"


def format_seconds(seconds: float) -> str:
    """A time with the unit that keeps it readable."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if abs(seconds) >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
