import pytest

from microlith.core import errors


def test_message_says_what_where_and_what_to_do() -> None:
    error = errors.UnsupportedError("Conv has rank 5", node="conv1 (Conv)", hint="Use a 2-D convolution.")
    assert str(error) == "Conv has rank 5 (node conv1 (Conv))\n  Use a 2-D convolution."
    assert str(errors.InputError("plain")) == "plain"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InputError, 2),
        (errors.ModelError, 2),
        (errors.UnsupportedError, 2),
        (errors.ToolchainError, 2),
        (errors.RunError, 2),
        (errors.BudgetUnmetError, 3),
        (errors.VerificationError, 4),
    ],
)
def test_exit_codes(kind: type[errors.MicrolithError], code: int) -> None:
    assert kind("x").exit_code == code


def test_what_is_wrong_with_a_model_can_be_told_from_other_input() -> None:
    assert issubclass(errors.UnsupportedError, errors.ModelError)
    assert issubclass(errors.ModelError, errors.InputError)


def test_a_message_about_a_model_has_an_end() -> None:
    text = str(errors.ModelError(f"begin {'n' * 10**6} end", node="n" * 10**6))
    assert len(text) < 4000
    assert text.startswith("begin n") and "n end (node n" in text


def test_every_error_has_a_base() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) >= 7
    assert all(issubclass(kind, errors.MicrolithError) for kind in kinds)
