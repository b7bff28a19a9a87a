import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.core.errors import InputError
from microlith.core.units import format_bytes, format_seconds, parse_bytes, parse_drop, parse_joules, parse_seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("64K", 65536), ("64k", 65536), ("64KB", 65536), ("64KiB", 65536), ("1.5M", 1572864), ("300", 300), ("7B", 7)],
)
def test_bytes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


def test_bytes_of_a_number() -> None:
    assert parse_bytes(1000) == 1000


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_bytes_round_trip(count: int) -> None:
    assert parse_bytes(str(count)) == count
    assert format_bytes(count).startswith(f"{count:,} B")


@pytest.mark.parametrize("text", ["", "K", "64X", "-64K", "64 K B", "1e3", "64%"])
def test_malformed_bytes(text: str) -> None:
    with pytest.raises(InputError):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("50ms", 0.05), ("2s", 2.0), ("7 us", 7e-6), ("3ns", 3e-9), (0.25, 0.25), (2, 2.0)]
)
def test_seconds(text: str | float, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["50", "50mS", "50 minutes", "fast"])
def test_malformed_seconds(text: str) -> None:
    with pytest.raises(InputError):
        parse_seconds(text)


def test_joules() -> None:
    assert parse_joules("3mJ") == pytest.approx(3e-3)
    with pytest.raises(InputError):
        parse_joules("3mW")


def test_drop_in_points() -> None:
    assert parse_drop("1pp") == 1.0
    assert parse_drop("0.5 pp") == 0.5
    assert parse_drop(2) == 2.0


def test_drop_in_percent_is_refused_with_the_hint() -> None:
    with pytest.raises(InputError, match="ambiguous") as caught:
        parse_drop("1.5%")
    assert "1.5pp" in str(caught.value)


def test_drop_without_a_unit_is_refused() -> None:
    with pytest.raises(InputError, match="percentage points"):
        parse_drop("1")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1,023 B"), (65536, "65,536 B (64.0 K)"), (1572864, "1,572,864 B (1.50 M)")],
)
def test_format_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.0321, "32.1 ms"), (4.5e-6, "4.5 us"), (3e-9, "3 ns"), (0.0, "0 ns")]
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
