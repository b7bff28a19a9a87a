"""Mutations of the bytes of a file that know little or nothing of its format."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
ByteMutation = Callable[[bytes, Rng], bytes]


def truncated(data: bytes, rng: Rng) -> bytes:
    """The file ends early."""
    return data[: int(rng.integers(len(data) + 1))]


def bits_flipped(data: bytes, rng: Rng) -> bytes:
    """One to some bits are others."""
    changed = bytearray(data)
    for _ in range(int(rng.choice((1, 2, 8, 64)))):
        if changed:
            changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def bytes_spliced(data: bytes, rng: Rng) -> bytes:
    """A piece of the file is cut out, repeated elsewhere, or replaced by noise that is often no UTF-8."""
    start, end, at = sorted(int(item) for item in rng.integers(len(data) + 1, size=3))
    noise = bytes(rng.integers(256, size=8, dtype=np.uint8))
    piece = (b"", data[start:end], noise, b"\xff" * 9)[int(rng.integers(4))]
    return data[:start] + piece + data[end:at] + data[at:]


def nested_deeply(data: bytes, rng: Rng) -> bytes:
    """Subgraphs of ONNX lie in each other deeper than parsers go; a field that is there twice is merged."""
    graph = b""
    for _ in range(int(rng.choice((25, 33, 50, 500, 3000)))):
        for field in (6, 5, 1):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            graph = bytes((field << 3 | 2,)) + _varint(len(graph)) + graph
    return data + bytes((7 << 3 | 2,)) + _varint(len(graph)) + graph


def _varint(number: int) -> bytes:
    parts = []
    while number >= 128:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes((*parts, number))


def word_changed(data: bytes, rng: Rng) -> bytes:
    """An offset, a length or another aligned number of a FlatBuffer claims 4 GB, itself, the start or another place."""
    if len(data) < 8:
        return data
    changed = bytearray(data)
    for _ in range(int(rng.choice((1, 1, 2)))):
        place = 4 * int(rng.integers(len(data) // 4))
        words = (0, 1, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, len(data), int(rng.integers(len(data))))
        struct.pack_into("<I", changed, place, words[int(rng.integers(len(words)))])
    return bytes(changed)
