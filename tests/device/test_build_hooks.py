from __future__ import annotations

import shutil

import pytest

from microlith.device.build_hooks import build_hooks


@pytest.mark.mcu
def test_hooks_are_built_once_and_again_where_they_are_gone():
    first = build_hooks()
    assert first is not None and first.is_file()
    assert build_hooks() == first
    shutil.rmtree(first.parent)
    second = build_hooks()
    assert second is not None and second.is_file()
