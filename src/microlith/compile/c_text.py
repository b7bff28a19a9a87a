"""Python values as C text."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import InputError

C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "float32": "float",
    "bool": "uint8_t",
}

# Of C and C++, and names that the implementation takes.
_KEYWORDS = frozenset(
    """
    and auto bool break case catch char class const continue default delete do double else enum errno extern false float
    for friend goto if inline int long main namespace new not operator or private protected public register restrict
    return short signed sizeof static struct switch template this throw true try typedef typename union unsigned using
    virtual void volatile while xor
    """.split()  # noqa: SIM905
)

# NAME.h stands on the include path of the whole program, where it must not hide these; some file systems ignore case.
_HEADERS = frozenset(
    """
    arduino assert complex ctype fenv inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool
    stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar unistd wchar wctype
    """.split()  # noqa: SIM905
)
_RESERVED = _KEYWORDS | _HEADERS


def check_identifier(name: str) -> str:
    """``name`` where it can prefix C symbols.

    Raises:
        InputError: it is not a C identifier, or one that C, C++ or the implementation reserve, or a standard header.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in _RESERVED or name.startswith(("ml_", "mlrun_")):
        raise InputError(
            f"the name {name!r} cannot prefix C symbols",
            hint="Use a lower-case letter, then up to 39 lower-case letters, digits and underscores, and no keyword or "
            "standard header.",
        )
    return name


def identifier(text: str) -> str:
    """A C identifier made from any text; it may collide with others."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40].strip("_")
    if not name or not name[0].isalpha():
        name = f"model_{name}".strip("_")
    return f"{name}_net" if name in _RESERVED or name.startswith(("ml_", "mlrun_")) else name


def comment(text: str) -> str:
    """Text that cannot end a C comment, start a trigraph, or break the line."""
    printable = "".join(char if char.isprintable() and ord(char) < 127 else "?" for char in text)
    plain = printable.replace("\\", "/").replace("*/", "* /").replace("/*", "/ *")
    return re.sub(r"\?(?=\?)", "? ", plain)


def float_literal(value: float) -> str:
    """A float32 literal that reads back as the same number; those that are not finite need ``ml_common.h``."""
    number = np.float32(value)
    if np.isnan(number):
        return "ML_NAN"
    if np.isinf(number):
        return "ML_INFINITY" if number > 0 else "-ML_INFINITY"
    text = f"{number:.9g}"
    return f"{text}f" if any(char in text for char in ".e") else f"{text}.0f"


def int_literal(value: int) -> str:
    """An integer literal of 32 bits or, where it needs them, 64; the least ones have no literal of their own in C."""
    if value == -(2**31):
        return "(-2147483647 - 1)"
    if value == -(2**63):
        return "(-INT64_C(9223372036854775807) - 1)"
    if value >= 2**63:
        return f"UINT64_C({value})"
    return str(value) if abs(value) < 2**31 else f"INT64_C({value})"


def wrapped(items: Iterable[str], indent: str, width: int = 118) -> str:
    """Items separated by commas, broken into lines that begin with ``indent``."""
    lines, line = [], indent
    for item in items:
        if len(line) + len(item) + 1 > width and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += f"{item}, "
    lines.append(line.rstrip(", "))
    return "\n".join(lines)


# Elements of an array that are written in one go: a list of Python numbers takes ten times the memory of the array.
_ITEMS_AT_ONCE = 1 << 16


def _literals(flat: NDArray[np.generic]) -> Iterable[str]:
    if flat.dtype == np.float32:
        if not np.isfinite(flat).all():
            return map(float_literal, flat.tolist())
        # One format of all elements is several times as fast as one of each.
        texts = ("%.9g " * flat.size % tuple(flat.tolist())).split()
        return (f"{text}f" if "." in text or "e" in text else f"{text}.0f" for text in texts)
    if flat.dtype == np.uint32:
        return (f"{item}u" for item in flat.tolist())
    if flat.dtype.itemsize < 4:
        return map(str, flat.astype(np.int32).tolist())
    return (int_literal(int(item)) for item in flat.tolist())


def array_body(values: NDArray[np.generic], width: int = 118) -> str:
    """The elements of an array between braces, wrapped."""
    flat = values.reshape(-1)
    lines, line = [], ""
    for start in range(0, flat.size, _ITEMS_AT_ONCE):
        for item in _literals(flat[start : start + _ITEMS_AT_ONCE]):
            if len(line) + len(item) + 1 > width:
                lines.append(line)
                line = ""
            line += item + ","
    lines.append(line)
    return "{\n" + "\n".join(lines) + "\n}"
