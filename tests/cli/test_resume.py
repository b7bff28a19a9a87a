"""An interrupted search goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.running import Inputs
from microlith import api
from microlith.search.study import Study

CANDIDATES = 12


class Stop(Exception):
    """The search is over; what comes after it is not what is tested here."""


def search(inputs: Inputs, monkeypatch: pytest.MonkeyPatch, *, seed: int, until: int, resume: bool = True) -> int:
    """Search until as many candidates are scored, as an interruption would end it; how many were computed."""
    computed = 0
    put = Study.put

    def counted(self: Study, settings: str, score: tuple[float, float, float]) -> None:
        nonlocal computed
        computed += 1
        put(self, settings, score)

    def progress(what: str, done: int, total: int | None) -> None:
        if what == "search" and done == until:
            raise KeyboardInterrupt
        if what == "compile and count":
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Study, "put", counted)
        with pytest.raises((KeyboardInterrupt, Stop)):
            api.optimize(
                api.load(inputs.model),
                api.device("nrf52840"),
                data=str(inputs.data),
                parts=api.Parts(20, 30),
                options=api.Options(name="net", seed=seed, resume=resume),
                progress=progress,
            )
    return computed


def test_scores_outlive_an_interruption(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert search(inputs, monkeypatch, seed=0, until=5) == 5
    assert search(inputs, monkeypatch, seed=0, until=CANDIDATES) == CANDIDATES - 5
    assert search(inputs, monkeypatch, seed=0, until=CANDIDATES) == 0
    assert [path.suffix for path in (tmp_path / "microlith" / "studies").iterdir() if path.suffix != ".lock"] == [
        ".json"
    ]


def test_other_data_and_no_resume_start_anew(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert search(inputs, monkeypatch, seed=0, until=3) == 3
    # Another seed deals the samples otherwise, so the scores are those of another question.
    assert search(inputs, monkeypatch, seed=1, until=CANDIDATES) == CANDIDATES
    assert search(inputs, monkeypatch, seed=0, until=CANDIDATES, resume=False) == CANDIDATES


def test_scores_of_other_code_are_not_used(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert search(inputs, monkeypatch, seed=0, until=2) == 2
    monkeypatch.setattr("microlith.search.study._code", lambda: "another version")
    assert search(inputs, monkeypatch, seed=0, until=2) == 2


def test_a_file_of_scores_in_another_form_is_passed_over(tmp_path: Path) -> None:
    study = Study("key", tmp_path)
    study.put("a", (0.5, 0.1, 20.0))
    (tmp_path / "key.json").write_text(json.dumps({"a": [0.5, 0.1], "b": [0.5, 0.1, 20.0]}))
    assert study.get("a") is None
    assert study.get("b") == (0.5, 0.1, 20.0)
