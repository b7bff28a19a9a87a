"""Reading what a run left behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from microlith.core.details import RunDetails
from microlith.core.errors import InputError
from microlith.core.evidence import EvidenceSet, How

_HINT = "Give a directory that microlith compile or optimize wrote."


@dataclass(frozen=True)
class Run:
    """One artifact: its name for the reader, what is known of it, and its figures."""

    name: str
    details: RunDetails
    evidence: EvidenceSet


def load_run(path: Path) -> Run:
    """Read ``details.json`` and ``evidence.json`` of an artifact.

    Raises:
        InputError: the directory or a file is missing, or a file is not what this version writes.
    """
    if not path.is_dir():
        what = "is not a directory" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}", hint=_HINT)
    details_path, evidence_path = path / "details.json", path / "evidence.json"
    details_text, evidence_text = _read(details_path), _read(evidence_path)
    try:
        details = RunDetails.model_validate_json(details_text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{details_path} is malformed: {place}: {first['msg']}", hint=_HINT) from error
    try:
        evidence = EvidenceSet.from_json(evidence_text)
        _check(evidence)
    except (json.JSONDecodeError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{evidence_path} is malformed: {error}", hint=_HINT) from error
    return Run(path.resolve().name, details, evidence)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", hint=_HINT) from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text", hint=_HINT) from error


def _check(evidence: EvidenceSet) -> None:
    """Field types, which a dataclass does not check by itself."""
    for item in evidence.items:
        numbers = (item.value, item.low, item.high, item.n)
        if not all(isinstance(number, int | float) for number in numbers):
            raise ValueError(f"{item.metric}: a figure is no number")
        if not isinstance(item.unit, str) or item.how not in get_args(How) or not isinstance(item.context, dict):
            raise ValueError(f"{item.metric}: unit, how or context is of the wrong type")
