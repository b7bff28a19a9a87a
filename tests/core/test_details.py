import pytest
from pydantic import ValidationError

from microlith.core.details import LayerRow, RunDetails


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


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        RunDetails.model_validate({"model": "a", "device": "b", "device_title": "c", "speed": 3})
