"""Reads a FlatBuffer that need not be trusted: every access is checked against the end of the file.

A table is an offset to a vtable (16-bit offsets of its fields, 0 for an absent one) followed by the fields; strings,
vectors and tables that are fields are 32-bit offsets forward. Nothing is followed that lies outside. Offsets may point
to the same bytes over and over, so what is read in total is bounded too, and a small file cannot claim much work.

Source: the FlatBuffers internals document (flatbuffers.dev/internals).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from microlith.core.errors import ModelError

_HINT = "The file is damaged or no .tflite file: download or export it again."
# Offset in the vtable of the first field, after the sizes of the vtable and of the table.
_FIRST_FIELD = 4
_FIELD_BYTES = 2
# Most that is read in total: a file in good order is read once, with tables that share a vtable or a buffer.
_READS_PER_BYTE, _LEAST_READ = 8, 1 << 16
MAX_TABLES = 1 << 15
"""Most tables in one list."""


@dataclass
class Allowance:
    """Bytes that may still be read."""

    left: int

    def spend(self, size: int) -> None:
        """Take away what is read now."""
        self.left -= size
        if self.left < 0:
            raise ModelError("the tables of the file refer to the same bytes too often", hint=_HINT)


@dataclass(frozen=True)
class Table:
    """One table of a buffer.

    Attributes:
        data: the whole file.
        position: of the table.
        what: how errors call it.
        allowance: shared by all tables of a file.
    """

    data: bytes
    position: int
    what: str
    allowance: Allowance

    @classmethod
    def root(cls, data: bytes, what: str) -> Table:
        """The table in which a file begins."""
        allowance = Allowance(_READS_PER_BYTE * len(data) + _LEAST_READ)
        return cls(data, _unpack(data, "<I", 0, what), what, allowance)

    def scalar(self, slot: int, code: str, default: Any) -> Any:
        """A number: ``code`` is that of :mod:`struct`."""
        at = self._field(slot)
        return default if at is None else _unpack(self.data, "<" + code, at, self.what)

    def text(self, slot: int) -> str:
        """A string, empty where it is absent."""
        at = self._target(slot)
        if at is None:
            return ""
        raw = self._span(at, 1, f"a text of {self.what}")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"a text of {self.what} is not valid UTF-8: {raw[:40]!r}", hint=_HINT) from error

    def table(self, slot: int, what: str) -> Table | None:
        """A table, None where it is absent."""
        at = self._target(slot)
        return None if at is None else Table(self.data, at, what, self.allowance)

    def tables(self, slot: int, what: str, most: int = MAX_TABLES) -> tuple[Table, ...]:
        """A vector of tables, of which there may be so many."""
        at = self._target(slot)
        if at is None:
            return ()
        offsets = np.frombuffer(self._span(at, 4, what), "<u4")
        if len(offsets) > most:
            raise ModelError(f"{what}: {len(offsets):,} of them, and at most {most:,} are read")
        return tuple(
            Table(self.data, at + 4 + 4 * index + int(offset), f"{what} {index}", self.allowance)
            for index, offset in enumerate(offsets)
        )

    def array(self, slot: int, dtype: DTypeLike) -> NDArray[Any]:
        """A vector of numbers, empty where it is absent."""
        kind = np.dtype(dtype).newbyteorder("<")
        at = self._target(slot)
        raw = b"" if at is None else self._span(at, kind.itemsize, f"a list of {self.what}")
        return np.frombuffer(raw, kind).astype(np.dtype(dtype))

    def _field(self, slot: int) -> int | None:
        vtable = self.position - _unpack(self.data, "<i", self.position, self.what)
        size = _unpack(self.data, "<H", vtable, self.what)
        entry = _FIRST_FIELD + _FIELD_BYTES * slot
        if entry + _FIELD_BYTES > size:
            return None
        offset = _unpack(self.data, "<H", vtable + entry, self.what)
        return None if offset == 0 else self.position + offset

    def _target(self, slot: int) -> int | None:
        at = self._field(slot)
        return None if at is None else at + int(_unpack(self.data, "<I", at, self.what))

    def _span(self, at: int, item_bytes: int, what: str) -> bytes:
        """The items of the vector at this place."""
        count = _unpack(self.data, "<I", at, what)
        end = at + 4 + count * item_bytes
        if end > len(self.data):
            raise ModelError(
                f"{what} has {count:,} items of {item_bytes} B and reaches beyond the end of the file", hint=_HINT
            )
        self.allowance.spend(4 + count * item_bytes)
        return self.data[at + 4 : end]


def _unpack(data: bytes, code: str, at: int, what: str) -> Any:
    size = struct.calcsize(code)
    if at < 0 or at + size > len(data):
        raise ModelError(f"{what} lies at byte {at:,} of the file, which has {len(data):,} B", hint=_HINT)
    return struct.unpack_from(code, data, at)[0]
