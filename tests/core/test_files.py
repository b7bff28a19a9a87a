from pathlib import Path

import pytest

from microlith.core import files
from microlith.core.errors import InputError


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "één\n")
    files.write_text(path, "two\r\n")
    assert path.read_bytes() == b"two\r\n"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_place_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        files.write_bytes(tmp_path / "missing" / "a.bin", b"1")


def test_a_failed_rename_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        files.write_bytes(tmp_path / "target", b"1")
    assert [item.name for item in tmp_path.iterdir()] == ["target"]


def test_directory_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with files.directory(out) as place:
        (place / "manifest.json").write_text("{}")
        assert not out.exists()
    assert [item.name for item in out.iterdir()] == ["manifest.json"]
    assert [item.name for item in out.parent.iterdir()] == ["out"]


def test_directory_replaces_an_earlier_artifact_and_nothing_of_it_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("old.c", "new.c"):
        with files.directory(out) as place:
            (place / "manifest.json").write_text("{}")
            (place / name).write_text("")
    assert sorted(item.name for item in out.iterdir()) == ["manifest.json", "new.c"]
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def _fail_half_way(out: Path) -> None:
    with files.directory(out) as place:
        (place / "half.c").write_text("")
        raise KeyError("stop")


def test_an_error_inside_leaves_the_earlier_artifact(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with files.directory(out) as place:
        (place / "manifest.json").write_text("first")
    with pytest.raises(KeyError):
        _fail_half_way(out)
    assert (out / "manifest.json").read_text() == "first"
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_a_directory_of_the_users_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "cat.jpg").write_text("")
    with pytest.raises(InputError, match="not an artifact"), files.directory(out):
        raise AssertionError("the block must not run")
    assert [item.name for item in out.iterdir()] == ["cat.jpg"]


def test_an_empty_directory_may_be_filled(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with files.directory(out) as place:
        (place / "manifest.json").write_text("{}")
    assert (out / "manifest.json").is_file()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="not an artifact"), files.directory(tmp_path / "out"):
        raise AssertionError("the block must not run")
    with pytest.raises(InputError, match="cannot write"), files.directory(tmp_path / "out" / "deeper"):
        raise AssertionError("the block must not run")


def test_errors_of_the_block_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.directory(tmp_path / "out"):
        (tmp_path / "no such file").read_bytes()
    assert not list(tmp_path.iterdir())


def test_a_tree(tmp_path: Path) -> None:
    files.write_tree(tmp_path / "out", {"manifest.json": b"{}", "a/b/c": b"\x00"})
    assert (tmp_path / "out" / "a" / "b" / "c").read_bytes() == b"\x00"
    with pytest.raises(InputError, match="cannot write"):
        files.write_tree(tmp_path / "out", {"a": b"", "a/b": b""})
    assert (tmp_path / "out" / "a" / "b" / "c").is_file()
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_places_are_checked_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    files.check_directory(tmp_path / "a" / "b" / "out")
    files.check_parent(tmp_path / "x.npy")
    with pytest.raises(InputError, match="file is not a directory"):
        files.check_directory(tmp_path / "file" / "a" / "out")
    with pytest.raises(InputError, match="not an artifact"):
        files.check_directory(tmp_path / "file")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match="permission denied"):
        files.check_directory(tmp_path / "a" / "b" / "out")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
