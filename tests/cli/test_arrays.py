from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microlith.cli.arrays import read_array, write_array
from microlith.core.errors import InputError


def test_round_trip(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int8).reshape(2, 3)
    write_array(tmp_path / "a.npy", array)
    again = read_array(tmp_path / "a.npy")
    assert again.dtype == np.int8
    assert np.array_equal(again, array)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00\xff\xff{", np.arange(9).tobytes()])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npy is not a \.npy file"):
        read_array(tmp_path / "a.npy")


def test_a_truncated_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(100))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-8])
    with pytest.raises(InputError, match="damaged"):
        read_array(tmp_path / "a.npy")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"not a \.npy file of numbers"):
        read_array(tmp_path / "a.npy")


def test_other_contents(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(1))
    with pytest.raises(InputError, match="archive"):
        read_array(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", np.array(["text"]))
    with pytest.raises(InputError, match="expected integers or floats"):
        read_array(tmp_path / "b.npy")


def test_places(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_array(tmp_path / "missing.npy")
    with pytest.raises(InputError, match="cannot read"):
        read_array(tmp_path)
    with pytest.raises(InputError, match="cannot write"):
        write_array(tmp_path / "missing" / "a.npy", np.zeros(1))
