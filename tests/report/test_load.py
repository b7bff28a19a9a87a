from pathlib import Path

import pytest

from microlith.core.errors import InputError
from microlith.report.load import load_run
from report.example_run import details, evidence


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "details.json").write_text(details(evidence()).model_dump_json())
    (folder / "evidence.json").write_text(evidence().to_json())
    return folder


def test_reads_what_a_run_wrote(out: Path) -> None:
    run = load_run(out)
    assert run.name == "out"
    assert run.details == details(evidence())
    assert run.evidence == evidence()


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_run(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a directory"):
        load_run(tmp_path / "file")


@pytest.mark.parametrize("name", ["details.json", "evidence.json"])
def test_missing_file(out: Path, name: str) -> None:
    (out / name).unlink()
    with pytest.raises(InputError, match=rf"{name} does not exist"):
        load_run(out)


@pytest.mark.parametrize("name", ["details.json", "evidence.json"])
@pytest.mark.parametrize("content", [b"", b"not json", b"[1, 2]", b"\xff\xfe", b'{"a": 1}', b"3"])
def test_malformed_file(out: Path, name: str, content: bytes) -> None:
    (out / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        load_run(out)


@pytest.mark.parametrize(
    "fields",
    [
        '"value": "many", "low": 1, "high": 1, "n": 1, "unit": "B", "how": "counted", "context": {}',
        '"value": 1, "low": 1, "high": 1, "n": 1, "unit": 3, "how": "counted", "context": {}',
        '"value": 1, "low": 1, "high": 1, "n": 1, "unit": "B", "how": "counted", "context": "x"',
        '"value": 1, "low": 1, "high": 1, "n": 1, "unit": "B", "how": "guessed", "context": {}',
        '"value": 1, "unit": "B", "how": "counted"',
    ],
)
def test_malformed_evidence(out: Path, fields: str) -> None:
    (out / "evidence.json").write_text(f'{{"flash_bytes": {{{fields}}}}}')
    with pytest.raises(InputError, match=r"evidence\.json is malformed"):
        load_run(out)


def test_a_newer_schema_is_refused(out: Path) -> None:
    text = (out / "details.json").read_text().replace('"schema_version":1', '"schema_version":2')
    (out / "details.json").write_text(text)
    with pytest.raises(InputError, match="schema_version"):
        load_run(out)
