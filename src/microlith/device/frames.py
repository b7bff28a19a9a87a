"""Messages between this process and its workers: a JSON header and byte strings, with their lengths before them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

_LENGTH = struct.Struct("<I")
_HEADER_BYTES_AT_MOST = 64 * 1024 * 1024


def pack(header: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """One message as bytes."""
    text = json.dumps({**header, "blob_bytes": [len(blob) for blob in blobs]}).encode()
    return b"".join((_LENGTH.pack(len(text)), text, *blobs))


def unpack(read: Callable[[int], bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Read one message.

    Args:
        read: returns exactly as many bytes as asked for.

    Raises:
        ValueError: what was read is no message.
    """
    (length,) = _LENGTH.unpack(read(_LENGTH.size))
    if length > _HEADER_BYTES_AT_MOST:
        raise ValueError(f"a message header of {length} bytes")
    header = json.loads(read(length))
    return header, [read(size) for size in header.pop("blob_bytes")]
