import math

import pytest
from pydantic import ValidationError

from microlith.core.details import CheckRow, LayerRow, RunDetails


def test_json_round_trip() -> None:
    details = RunDetails(
        model="kws",
        device="nrf52840",
        device_title="nRF52840",
        layers=(
            LayerRow(index=0, name="conv", op="conv2d", kernel="k", output_shape=(1, 2, 2, 8), macs=9, weight_bytes=8),
        ),
        notes=("read me",),
    )
    assert RunDetails.model_validate_json(details.model_dump_json()) == details


def test_figures_that_are_not_finite_survive() -> None:
    layer = LayerRow(index=0, name="", op="", kernel="", output_shape=(1,), macs=1, weight_bytes=1, sqnr_db=math.inf)
    row = CheckRow(what="c", samples=1, elements=1, differing=0, worst=0, bound=math.inf, passed=True)
    details = RunDetails(model="a", device="b", device_title="c", layers=(layer,), checks=(row,))
    assert RunDetails.model_validate_json(details.model_dump_json()) == details


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        RunDetails.model_validate({"model": "a", "device": "b", "device_title": "c", "speed": 3})
