"""constraints.txt pins everything that pyproject.toml asks for, at a version that it allows."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
ASKED = [
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *(item for extra in PROJECT["project"]["optional-dependencies"].values() for item in extra),
    *PROJECT["dependency-groups"]["dev"],
]


def pinned() -> dict[str, str]:
    return {canonicalize_name(name): version for name, _, version in (pin.partition("==") for pin in PINS)}


def test_every_line_pins_one_version_of_another_package():
    assert [pin for pin in PINS if pin.count("==") != 1 or not pin.partition("==")[2]] == []
    assert len(pinned()) == len(PINS)


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_for_is_pinned_at_an_allowed_version(asked):
    requirement = Requirement(asked)
    version = pinned()[canonicalize_name(requirement.name)]
    assert version in requirement.specifier
