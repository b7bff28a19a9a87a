import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.core.errors import InputError
from microlith.data.preprocess import Preprocessing


def _images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 4, 5, channels), dtype=np.uint8)


def test_default_keeps_raw_values_and_order() -> None:
    raw = _images()
    values = Preprocessing().apply(raw)
    assert values.dtype == np.float32
    assert np.array_equal(values, raw)


def test_images_are_scaled_per_channel_and_reordered() -> None:
    raw = _images()
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    values = Preprocessing("nhwc", -1.0, 1.0, mean, std).apply(raw)
    assert values.shape == (2, 3, 4, 5)
    assert values.flags.c_contiguous
    for n, y, x, c in ((0, 0, 0, 0), (1, 3, 4, 2), (0, 2, 1, 1)):
        expected = (raw[n, y, x, c] / 255 * 2 - 1 - mean[c]) / std[c]
        assert values[n, c, y, x] == np.float32(expected)


def test_floats_are_taken_to_be_in_range_already() -> None:
    raw = np.array([[0.5, 1.0], [0.0, -2.0]], np.float16)
    assert np.array_equal(Preprocessing(low=0, high=1).apply(raw), raw.astype(np.float32))
    assert np.array_equal(Preprocessing(mean=(0.5,), std=(2.0,)).apply(raw), [[0, 0.25], [-0.25, -1.25]])


@settings(deadline=None)
@given(st.floats(-4, 3), st.floats(0.1, 4), st.floats(-2, 2), st.floats(0.1, 3))
def test_affine_is_what_apply_does(low: float, width: float, mean: float, std: float) -> None:
    stated = Preprocessing("nchw", low, low + width, (mean,), (std,))
    raw = np.arange(256, dtype=np.uint8).reshape(64, 1, 2, 2)
    scale, offset = stated.affine(1)
    assert np.array_equal(stated.apply(raw), (raw * scale[0] + offset[0]).astype(np.float32))


def test_affine_has_one_entry_a_channel() -> None:
    scale, offset = Preprocessing(low=0, high=1, mean=(0.5,), std=(0.5, 0.25)).affine(2)
    assert scale.tolist() == [2 / 255, 4 / 255]
    assert offset.tolist() == [-1.0, -2.0]


def test_identity() -> None:
    assert Preprocessing("nhwc").is_identity
    assert Preprocessing(mean=(0.0,), std=(1.0, 1.0)).is_identity
    assert not Preprocessing(high=1.0).is_identity
    assert not Preprocessing(mean=(0.1,)).is_identity
    assert not Preprocessing(std=(2.0,)).is_identity


def test_features_of_rank_two() -> None:
    raw = np.array([[10, 20]], np.uint8)
    assert np.allclose(Preprocessing(mean=(10.0, 0.0), std=(1.0, 10.0)).apply(raw), [[0, 2]])


def test_parse() -> None:
    stated = Preprocessing.parse(input_range="-1, 1", mean="0.1,0.2,0.3", std="0.5", layout="NHWC")
    assert stated == Preprocessing("nhwc", -1.0, 1.0, (0.1, 0.2, 0.3), (0.5,))
    assert Preprocessing.parse() == Preprocessing()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_range": "0"}, "two numbers"),
        ({"input_range": "0,1,2"}, "two numbers"),
        ({"input_range": "1,0"}, "lower end first"),
        ({"input_range": "a,b"}, "separated by commas"),
        ({"mean": "0.1;0.2"}, "separated by commas"),
        ({"mean": "nan"}, "finite"),
        ({"std": "0"}, "positive"),
        ({"std": "0.5,-1"}, "positive"),
        ({"layout": "hwc"}, "nhwc or nchw"),
    ],
)
def test_malformed(fields: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocessing.parse(**fields)


def test_channels_that_do_not_match() -> None:
    with pytest.raises(InputError, match="3 values and the input has 5 channels") as caught:
        Preprocessing(mean=(0.1, 0.2, 0.3)).apply(_images().transpose(0, 2, 3, 1))
    assert "--layout nhwc" in str(caught.value)


def test_other_types_are_refused() -> None:
    with pytest.raises(InputError, match="int64"):
        Preprocessing().apply(np.zeros((1, 2), np.int64))


def test_no_channel_axis_to_move() -> None:
    with pytest.raises(InputError, match="no channel axis"):
        Preprocessing("nhwc").apply(np.zeros((1, 2), np.float32))
