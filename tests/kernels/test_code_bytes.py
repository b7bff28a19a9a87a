"""The table of code bytes knows the kernels that there are."""

from __future__ import annotations

import json
from importlib import resources

from microlith.device.load import device
from microlith.kernels import ALL
from microlith.kernels.code_bytes import estimated_code_bytes


def test_every_entry_is_a_kernel() -> None:
    text = resources.files("microlith.kernels").joinpath("code_bytes.json").read_text(encoding="utf-8")
    for table in json.loads(text).values():
        assert table.keys() <= {item.name for item in ALL}


def test_an_unmeasured_kernel_is_reckoned_like_the_median() -> None:
    core = device("stm32l4r5")
    measured = [estimated_code_bytes(item, core) for item in ALL if item.isa != "avx2"]
    (unmeasured,) = {estimated_code_bytes(item, core) for item in ALL if item.isa == "avx2"}
    assert min(measured) < unmeasured < max(measured)
