"""Bytes that nobody vouches for: every change of a file is read or refused, quickly and by name."""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path

import numpy as np
import pytest

import microlith as ml
from microlith.core.errors import InputError, MicrolithError, UnsupportedError
from microlith.graph.tflite.flatbuffer import Table
from microlith.graph.tflite.model import parse_tflite
from microlith.graph.tflite.read import onnx_of_tflite
from tflite_models import Node, Tensor, build, constant, options


@pytest.fixture(scope="module")
def content() -> bytes:
    rng = np.random.default_rng(5)
    weights = constant(rng.integers(-9, 9, (3, 4)).astype(np.int8), scale=[0.1, 0.2, 0.3])
    tensors = {
        "x": Tensor((1, 4), "int8", scale=0.1, zero_point=1),
        "w": weights,
        "y": Tensor((1, 3), "int8", scale=0.2, zero_point=2),
    }
    return build(tensors, [Node("FULLY_CONNECTED", ["x", "w"], ["y"], options("FullyConnectedOptions"))], ["x"], ["y"])


def _tried(content: bytes) -> bool:
    """Whether the bytes are accepted; any error but this project's own fails the test."""
    try:
        onnx_of_tflite(content, "test")
    except MicrolithError:
        return False
    return True


def test_every_truncation_is_refused_or_read(content: bytes) -> None:
    refused = sum(not _tried(content[:size]) for size in range(len(content)))
    assert refused > len(content) // 2


def test_every_changed_word_is_refused_or_read(content: bytes) -> None:
    started = time.monotonic()
    refused = 0
    for place in range(0, len(content) - 3, 3):
        for value in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000):
            changed = content[:place] + struct.pack("<I", value) + content[place + 4 :]
            refused += not _tried(changed)
    assert refused > len(content) // 3
    assert time.monotonic() - started < 60


def test_random_damage_through_the_loader(content: bytes, rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 5)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(MicrolithError):
            ml.load(path)


def _vector_of_itself(count: int) -> bytes:
    """A model whose list of subgraphs refers to one table, over and over."""
    head = struct.pack("<I4s", 20, b"TFL3")
    vtable = struct.pack("<HHHHH", 10, 12, 4, 0, 8)  # version, no codes, subgraphs
    body = head + vtable + b"\0\0"
    table = struct.pack("<iII", 20 - 8, 3, 4) + struct.pack("<I", count)
    return body + table + struct.pack("<I", 0) * count


def test_lists_longer_than_the_file_are_refused() -> None:
    data = bytearray(_vector_of_itself(2))
    data[32:36] = struct.pack("<I", 1 << 30)
    with pytest.raises(InputError, match="reaches beyond the end of the file"):
        parse_tflite(bytes(data), "test")


def test_large_constants_are_not_made_from_nothing() -> None:
    tensors = {
        "x": Tensor((1, 1)),
        "shape": constant(np.array([1, 1 << 26], np.int32)),
        "value": constant(np.array(1.0, np.float32)),
        "filled": Tensor((1, 1 << 26)),
        "y": Tensor((1, 1 << 26)),
    }
    nodes = [Node("FILL", ["shape", "value"], ["filled"]), Node("MUL", ["x", "filled"], ["y"], options("MulOptions"))]
    with pytest.raises(UnsupportedError, match="67,108,864 elements are made from one"):
        onnx_of_tflite(build(tensors, nodes, ["x"], ["y"]), "test")


def test_lists_of_tables_are_bounded() -> None:
    with pytest.raises(InputError, match="at most 1,024 are read"):
        parse_tflite(_vector_of_itself(1 << 16), "test")


def test_what_is_read_in_total_is_bounded(content: bytes) -> None:
    root = Table.root(content, "the model")
    with pytest.raises(InputError, match="too often"):
        _ = [root.text(3) for _ in range(100_000)]


@pytest.mark.parametrize("offset", [0xFFFFFFF0, 1 << 31])
def test_roots_outside_are_refused(content: bytes, offset: int) -> None:
    with pytest.raises(InputError, match="lies at byte"):
        parse_tflite(struct.pack("<I", offset) + content[4:], "test")


def test_other_files_are_refused() -> None:
    with pytest.raises(InputError, match=r"does not begin like a \.tflite file"):
        parse_tflite(b"\x08\x07\x12\x04test", "test")


def test_operators_are_bounded() -> None:
    count = 8193
    tensors = {f"t{i}": Tensor((1, 4)) for i in range(count + 1)}
    nodes = [Node("RELU", [f"t{i}"], [f"t{i + 1}"]) for i in range(count)]
    with pytest.raises(InputError, match="8,193 of them, and at most 8,192 are read"):
        onnx_of_tflite(build(tensors, nodes, ["t0"], [f"t{count}"]), "test")
