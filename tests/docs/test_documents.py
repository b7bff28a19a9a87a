"""Links and file names in the documents lead somewhere; what they tell a reader to run exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
TOPS = ("src/", "tests/", "docs/", "examples/", ".ci/", "LICENSES/")


def names(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def anchors(document: Path) -> set[str]:
    """Anchors that a rendered Markdown heading gets."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_relative_links_lead_to_files_and_headings(document):
    dead = []
    for target in LINK.findall(document.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_files_named_in_code_spans_exist(document):
    """Upper-case words such as NAME stand for any name."""
    missing = []
    for span in CODE.findall(document.read_text()):
        if span.startswith(TOPS) and " " not in span:
            pattern = re.sub(r"\b[A-Z]{3,}\b|_NAME\b", "*", span) if not span.startswith("LICENSES/") else span
            if not list(ROOT.glob(pattern.rstrip("/"))):
                missing.append(span)
    assert missing == []


def test_every_make_target_and_extra_that_is_named_exists():
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named_targets = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text))
    named_extras = {
        extra
        for group in re.findall(r"\.\[([a-z,]+)\]|microlith\[([a-z,]+)\]", text)
        for extra in ",".join(group).split(",")
    }
    assert named_targets >= {"demo", "test"}
    assert named_targets <= targets
    assert named_extras - {""} <= extras
