"""Techniques: each one a function from graph to graph, listed here and nowhere else."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError

from microlith.core.errors import InputError
from microlith.techniques.absorb import AbsorbBiases
from microlith.techniques.adaround import AdaRound
from microlith.techniques.balance import BalanceActivations
from microlith.techniques.base import Technique
from microlith.techniques.correct_biases import CorrectBiases
from microlith.techniques.equalize import Equalize
from microlith.techniques.gptq import GPTQ
from microlith.techniques.mixed_precision import MixedPrecision
from microlith.techniques.ptq import PTQ
from microlith.techniques.qat import QAT

TECHNIQUES = (PTQ, Equalize, AbsorbBiases, CorrectBiases, GPTQ, AdaRound, BalanceActivations, MixedPrecision, QAT)


def technique(name: str, **parameters: Any) -> Technique:
    """The technique of that name with the parameters given.

    Raises:
        InputError: there is no such technique, or a parameter is unknown or has a value that it cannot take.
    """
    known = {str(item.name): item for item in TECHNIQUES}
    if name not in known:
        near = difflib.get_close_matches(name, list(known), 1)
        raise InputError(
            f"there is no technique {name!r}",
            hint=f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}.",
        )
    chosen = known[name]
    for key in parameters:
        if key not in chosen.model_fields:
            near = difflib.get_close_matches(key, list(chosen.model_fields), 1)
            raise InputError(
                f"{name} has no parameter {key!r}",
                hint=f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(chosen.model_fields)}.",
            )
    try:
        return chosen(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{name}: {where} is {first['input']!r}: {first['msg']}") from error
