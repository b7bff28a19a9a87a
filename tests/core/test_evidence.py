import json

import pytest

from microlith.core.evidence import Evidence, EvidenceSet

DROP = Evidence("accuracy_drop", 0.3, -0.4, 0.9, 1000, "pp", "measured", {"device": "host", "compiler": "clang"})
FLASH = Evidence.exact("flash_bytes", 51200, "B", "counted", {"artifact": "ab12"})


def test_exact_has_no_spread() -> None:
    assert (FLASH.low, FLASH.value, FLASH.high, FLASH.n) == (51200, 51200, 51200, 1)


def test_look_up() -> None:
    evidence = EvidenceSet((DROP, FLASH))
    assert evidence.get("accuracy_drop") is DROP
    assert evidence.get("ram_bytes") is None
    assert evidence.value("flash_bytes") == 51200
    with pytest.raises(KeyError):
        evidence.value("ram_bytes")


def test_json_round_trip() -> None:
    evidence = EvidenceSet((DROP, FLASH))
    assert EvidenceSet.from_json(evidence.to_json()) == evidence


def test_json_is_stable_and_keyed_by_metric() -> None:
    again = Evidence(*[getattr(DROP, name) for name in ("metric", "value", "low", "high", "n", "unit", "how")], {})
    turned = Evidence(**{**again.__dict__, "context": {"compiler": "clang", "device": "host"}})
    assert EvidenceSet((turned,)).to_json() == EvidenceSet((DROP,)).to_json()
    assert json.loads(EvidenceSet((DROP,)).to_json())["accuracy_drop"]["high"] == 0.9
