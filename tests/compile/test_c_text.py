"""Python values as C text, hostile names included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith.compile.c_text import array_body, check_identifier, comment, float_literal, identifier, int_literal
from microlith.core.errors import InputError


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float_literals_read_back_as_the_same_bits(value: float) -> None:
    text = float_literal(value)
    assert text.endswith("f")
    assert any(char in text for char in ".e")
    assert np.float32(text[:-1]).tobytes() == np.float32(value).tobytes()


def test_least_integer_is_an_expression() -> None:
    assert int_literal(-(2**31)) == "(-2147483647 - 1)"
    assert int_literal(-5) == "-5"


@given(st.text(max_size=60))
def test_comments_hold_any_text(text: str) -> None:
    made = comment(text)
    assert "*/" not in made
    assert "/*" not in made
    assert "\n" not in made
    assert "??" not in made
    assert made.isascii()


@given(st.text(max_size=60))
def test_identifiers_are_made_of_any_text(text: str) -> None:
    assert check_identifier(identifier(text)) == identifier(text)


@pytest.mark.parametrize(
    "name", ["", "int", "9net", "a-b", "class", "Net", "ml_net", "mlrun_x", "a" * 41, "x;y", "é", "string"]
)
def test_names_that_cannot_prefix_symbols_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="prefix C symbols"):
        check_identifier(name)


def test_arrays_wrap_and_keep_every_element() -> None:
    values = np.arange(-200, 200, dtype=np.int32)
    body = array_body(values)
    assert max(map(len, body.splitlines())) <= 120
    assert [int(item) for item in body.strip("{}\n").replace("\n", "").split(",")[:-1]] == values.tolist()
