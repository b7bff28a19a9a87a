"""What of a quantized model stays in float: never unasked, and always told with its cost."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pytest

import microlith as ml
import models
from microlith.core.errors import UnsupportedError
from microlith.report.html import render


@pytest.fixture
def mixed(tiny_cnn_file: Path, rng: np.random.Generator) -> object:
    """Quantized, but for its GlobalAveragePool."""
    return ml.apply(ml.load(tiny_cnn_file), [ml.PTQ(float_ops=("GlobalAveragePool",))], data=models.images(rng, 8))


def test_a_float_op_is_refused_unless_it_is_named(mixed: object) -> None:
    with pytest.raises(
        UnsupportedError, match=r"1 ops of the quantized model are computed in float: .*\(GlobalAveragePool\)"
    ):
        ml.compile(mixed, ml.device("nrf52840"))
    with pytest.raises(UnsupportedError, match="computed in float"):
        ml.compile(mixed, ml.device("nrf52840"), float_ops=("Conv",))


def test_check_lists_it(mixed: object) -> None:
    form = ml.check(mixed, ml.device("nrf52840")).forms[0]
    assert [text for text in form.obstacles if "(GlobalAveragePool) is computed in float" in text]


def test_the_report_tells_what_stays_in_float_and_what_it_costs(mixed: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    artifact = ml.compile(mixed, ml.device("nrf52840"), float_ops=("GlobalAveragePool",))
    (note,) = [text for text in artifact.details.notes if "float32" in text]
    assert note.startswith("1 op stays in float32 by choice (float_ops): ")
    assert "(GlobalAveragePool); " in note
    assert "MACs, 0 B of constants" in note


def test_a_model_all_in_integers_has_no_such_note(
    tiny_cnn_file: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    model = ml.apply(ml.load(tiny_cnn_file), [ml.PTQ()], data=models.images(rng, 8))
    assert not [text for text in ml.compile(model, ml.device("nrf52840")).details.notes if "float32" in text]


@pytest.mark.mcu
def test_instructions_are_told_where_they_were_counted(mixed: object) -> None:
    artifact = ml.compile(mixed, ml.device("nrf52840"), float_ops=("GlobalAveragePool",))
    (note,) = [text for text in artifact.details.notes if "float32" in text]
    rows = artifact.details.layers
    left = sum(row.instructions for row in rows if row.name == "gap")
    assert 0 < left < sum(row.instructions for row in rows)
    assert f"{left / sum(row.instructions for row in rows):.1%} of the instructions" in note
    assert note in html.unescape(render(artifact.details, artifact.evidence))
