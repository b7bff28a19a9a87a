"""Recipes: lists of techniques, read from and written to YAML, checked before they run."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import yaml
from pydantic import BaseModel

from microlith.core.errors import InputError, UnsupportedError, VerificationError
from microlith.graph.pass_base import FLOAT_WEIGHTS, Property
from microlith.graph.verifier import verify
from microlith.techniques import technique
from microlith.techniques.base import INTEGER_WEIGHTS, OPPOSITES, STATES, Context, Technique

SCHEMA_VERSION = 1
_KEYS = ("schema_version", "steps")
_MAX_CHARACTERS = 100_000


@dataclass(frozen=True)
class Recipe:
    """Techniques in the order in which they are applied."""

    steps: tuple[Technique, ...]

    def to_yaml(self) -> str:
        """YAML text with every parameter written out.

        Raises:
            InputError: a step is not one of the package's own techniques, which alone have a form in YAML.
        """
        return yaml.safe_dump(
            {"schema_version": SCHEMA_VERSION, "steps": [_plain(step) for step in self.steps]}, sort_keys=False
        )

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """The recipe in a YAML file.

        Raises:
            InputError: the file cannot be read, or holds no recipe.
        """
        try:
            return cls.from_yaml(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the recipe {path}: {error}") from error

    @classmethod
    def from_yaml(cls, text: str) -> Recipe:
        """Read a recipe that need not be trusted.

        Raises:
            InputError: the text is not YAML, or a key, a technique or a value is not known; the message names the
                nearest known one.
        """
        fields = _mapping(_load(text), "a recipe")
        _check_keys(fields, _KEYS, "a recipe")
        if fields.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"the recipe has schema_version {fields.get('schema_version')!r}, expected {SCHEMA_VERSION}"
            )
        steps = fields.get("steps")
        if not isinstance(steps, list) or not steps:
            raise InputError("a recipe needs a list of steps", hint='Write "steps:" and below it "- technique: ptq".')
        return cls(tuple(_step(item, number) for number, item in enumerate(steps, 1)))


def _load(text: str) -> Any:
    if len(text) > _MAX_CHARACTERS:
        raise InputError(f"the recipe has {len(text):,} characters, expected at most {_MAX_CHARACTERS:,}")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"the recipe is not YAML: {' '.join(str(error).split())}") from error


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{what} is a {type(value).__name__}, expected a mapping of names to values")
    return value


def _check_keys(fields: Collection[str], known: Collection[str], what: str) -> None:
    for key in fields:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), 1)
            raise InputError(
                f"{what} has no {key!r}",
                hint=f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}.",
            )


def _step(item: Any, number: int) -> Technique:
    fields = dict(_mapping({"technique": item} if isinstance(item, str) else item, f"step {number} of the recipe"))
    name = fields.pop("technique", None)
    if not isinstance(name, str):
        raise InputError(f"step {number} of the recipe names no technique", hint='Write "technique: ptq".')
    return technique(name, **fields)


def _plain(step: Technique) -> dict[str, Any]:
    if not isinstance(step, BaseModel):
        raise InputError(f"the technique {step.name!r} is not one of microlith's, so it has no form in YAML")
    return {"technique": step.name, **step.model_dump(mode="json")}


def check_recipe(model: ir.Model, recipe: Recipe) -> None:
    """Refuse a recipe of which some step would meet a model that it cannot work on; nothing is run.

    Raises:
        UnsupportedError: with the step, the condition, and what stands against it.
    """
    reasons: dict[str, str | None] = {}
    for number, step in enumerate(recipe.steps, 1):
        for condition in step.requires:
            if condition.name not in reasons:
                reasons[condition.name] = condition.violation(model)
            reason = reasons[condition.name]
            if reason is not None:
                raise UnsupportedError(
                    f"step {number} of the recipe, {step.name}, requires that {condition.name}, but {reason}"
                )
        if number == 1:
            reasons.update({state.name: state.violation(model) for state in STATES})
        for condition in step.ensures:
            _hold(condition, f"after step {number}, {step.name}, {condition.name}", reasons)


def _hold(condition: Property, because: str, reasons: dict[str, str | None]) -> None:
    reasons[condition.name] = None
    for pair in OPPOSITES:
        for one, other in (pair, pair[::-1]):
            if one.name == condition.name:
                reasons[other.name] = because


def run_recipe(model: ir.Model, recipe: Recipe, context: Context) -> ir.Model:
    """Apply the steps in order; the model given stays as it is.

    Raises:
        UnsupportedError: a step cannot work on the model that it would meet; found before anything runs.
        VerificationError: a step left a broken model or did not do what it ensures, which is a bug of the technique.
    """
    check_recipe(model, recipe)
    for number, step in enumerate(recipe.steps, 1):
        context.progress(step.name, number - 1, len(recipe.steps))
        before, model = model, step.apply(model, context)
        verify(model)
        for condition in step.ensures:
            reason = condition.violation(model)
            if reason is not None:
                raise VerificationError(f"{step.name} ensures that {condition.name}, but {reason}")
        if FLOAT_WEIGHTS in step.requires and INTEGER_WEIGHTS in step.ensures:
            context = replace(context, original=before)
    context.progress("recipe", len(recipe.steps), len(recipe.steps))
    return model
