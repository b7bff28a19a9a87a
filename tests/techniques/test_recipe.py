from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
import pytest

from microlith.core.errors import InputError, UnsupportedError, VerificationError
from microlith.graph.pass_base import FLOAT_WEIGHTS, Property
from microlith.techniques import TECHNIQUES, technique
from microlith.techniques.base import INTEGER_WEIGHTS, Context, Technique
from microlith.techniques.ptq import PTQ
from microlith.techniques.recipe import Recipe, check_recipe, run_recipe
from qdq_models import residual, samples

NEVER = Property("the moon is full", lambda model: "it is not")


@dataclass(frozen=True)
class _Step:
    name: str
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()
    paper: str = ""

    def apply(self, model: ir.Model, context: Context) -> ir.Model:
        copy = model.clone()
        copy.metadata_props["steps"] = copy.metadata_props.get("steps", "") + self.name
        return copy


def _context() -> Context:
    return Context(lambda: [samples(residual(), 8)])


def test_yaml_there_and_back() -> None:
    recipe = Recipe((PTQ(calibration="percentile", percentile=99.9, float_ops=("Softmax",), per_channel=False),))
    text = recipe.to_yaml()
    assert text.startswith("schema_version: 1\nsteps:\n- technique: ptq\n")
    assert Recipe.from_yaml(text) == recipe
    assert Recipe.from_yaml(text).to_yaml() == text


def test_what_is_left_out_takes_its_default() -> None:
    assert Recipe.from_yaml("schema_version: 1\nsteps: [ptq, {technique: ptq, symmetric: true}]") == Recipe(
        (PTQ(), PTQ(symmetric=True))
    )


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("schema_version: 1\nsteps: [{technique: ptq, calibratoin: mse}]", "calibratoin", "'calibration'"),
        ("schema_version: 1\nsteps: [{technique: ptqq}]", "ptqq", "'ptq'"),
        ("schema_version: 1\nsteps: [ptq]\nstep: 3", "'step'", "'steps'"),
        ("schema_version: 1\nsteps: [{technique: ptq, calibration: median}]", "median", "minmax"),
        ("schema_version: 1\nsteps: [{technique: ptq, percentile: 20}]", "percentile is 20", ""),
        ("schema_version: 1\nsteps: [{symmetric: true}]", "step 1", "technique: ptq"),
        ("schema_version: 1\nsteps: [[ptq]]", "step 1", ""),
        ("schema_version: 1\nsteps: [{1: 2}]", "step 1", ""),
        ("schema_version: 2\nsteps: [ptq]", "schema_version 2", ""),
        ("steps: [ptq]", "schema_version None", ""),
        ("schema_version: 1\nsteps: []", "steps", ""),
        ("schema_version: 1", "steps", ""),
        ("- ptq", "a recipe is a list", ""),
        ("a: [", "not YAML", ""),
        ("!!python/object/apply:os.system ['true']", "not YAML", ""),
        ("[" * 2_000, "not YAML", ""),
        ("a" * 200_000, "200,000 characters", ""),
    ],
)
def test_what_is_not_a_recipe_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        Recipe.from_yaml(text)
    assert message in str(caught.value)
    assert hint in str(caught.value)


def test_only_own_techniques_have_a_form_in_yaml() -> None:
    with pytest.raises(InputError, match="mine"):
        Recipe((_Step("mine"),)).to_yaml()


def test_steps_run_in_order_on_copies() -> None:
    model = residual()
    seen: list[str] = []
    context = Context(_context().data, progress=lambda what, done, total: seen.append(f"{what} {done}/{total}"))
    result = run_recipe(model, Recipe((_Step("a"), _Step("b"), PTQ())), context)
    assert result.metadata_props["steps"] == "ab"
    assert "steps" not in model.metadata_props
    assert INTEGER_WEIGHTS.violation(result) is None
    assert seen[:3] == ["a 0/3", "b 1/3", "ptq 2/3"]


def test_a_step_that_would_meet_integer_weights_is_refused_before_anything_runs() -> None:
    ran: list[str] = []
    context = Context(lambda: ran.append("data") or [])  # type: ignore[func-returns-value]
    with pytest.raises(UnsupportedError) as caught:
        run_recipe(residual(), Recipe((PTQ(), PTQ())), context)
    assert "step 2" in str(caught.value)
    assert "after step 1, ptq, weights are integers" in str(caught.value)
    assert not ran


def test_what_the_model_itself_lacks_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="step 1 of the recipe, late, requires that weights are integers"):
        check_recipe(residual(), Recipe((_Step("late", requires=(INTEGER_WEIGHTS,)),)))


def test_what_an_earlier_step_ensures_may_be_required() -> None:
    check_recipe(residual(), Recipe((PTQ(), _Step("late", requires=(INTEGER_WEIGHTS,)))))
    check_recipe(residual(), Recipe((_Step("full", ensures=(NEVER,)), _Step("late", requires=(NEVER,)))))
    with pytest.raises(UnsupportedError, match="it is not"):
        check_recipe(residual(), Recipe((_Step("late", requires=(NEVER,)),)))


def test_a_step_that_does_not_keep_its_word_is_a_verification_error() -> None:
    with pytest.raises(VerificationError, match="moon"):
        run_recipe(residual(), Recipe((_Step("liar", ensures=(NEVER,)),)), _context())


def test_a_step_that_breaks_the_graph_is_a_verification_error() -> None:
    class Breaker(_Step):
        def apply(self, model: ir.Model, context: Context) -> ir.Model:
            copy = model.clone()
            copy.graph.outputs.clear()
            return copy

    with pytest.raises(VerificationError, match="no output"):
        run_recipe(residual(), Recipe((Breaker("breaker"),)), _context())


def test_every_technique_states_itself() -> None:
    names = [item.name for item in TECHNIQUES]
    assert len(set(names)) == len(names)
    for item in TECHNIQUES:
        made: Technique = technique(item.name)
        assert isinstance(made, item)
        assert made.paper
        assert (FLOAT_WEIGHTS in made.requires) != (INTEGER_WEIGHTS in made.requires)
