import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from microlith.core.errors import InputError
from microlith.data.dataset import Dataset
from microlith.data.load import load_data
from microlith.data.preprocess import Preprocessing

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
Y = np.arange(6)


def _npz(path: Path, **arrays: np.ndarray) -> str:
    np.savez_compressed(path / "d.npz", **arrays)
    return str(path / "d.npz")


def _module(path: Path, body: str) -> str:
    (path / "user.py").write_text("import numpy as np\n" + textwrap.dedent(body))
    return f"{path / 'user.py'}:data"


def test_npz_by_default_names(tmp_path: Path) -> None:
    data = load_data(_npz(tmp_path, x=X, y=Y))
    assert np.array_equal(data.x, X)
    assert np.array_equal(data.y, Y)
    assert (len(data), data.sample_shape) == (6, (4, 5, 3))


def test_npz_without_labels(tmp_path: Path) -> None:
    assert load_data(Path(_npz(tmp_path, x=X))).y is None


def test_npz_by_chosen_names(tmp_path: Path) -> None:
    path = _npz(tmp_path, images=X, classes=Y, x=X[:1])
    both, alone = load_data(f"{path}:images,classes"), load_data(f"{path}:images")
    assert np.array_equal(both.x, X)
    assert np.array_equal(both.y, Y)
    assert alone.y is None
    assert len(alone) == 6


def test_npz_missing_key_names_the_keys(tmp_path: Path) -> None:
    path = _npz(tmp_path, images=X, classes=Y)
    with pytest.raises(InputError, match="no array 'x'; the arrays there are: images, classes"):
        load_data(path)
    with pytest.raises(InputError, match="no array 'labels'"):
        load_data(f"{path}:images,labels")


@pytest.mark.parametrize("names", ["", "a,b,c", "a,"])
def test_npz_malformed_names(tmp_path: Path, names: str) -> None:
    with pytest.raises(InputError, match="names no arrays"):
        load_data(f"{_npz(tmp_path, x=X)}:{names}")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_data(tmp_path / "none.npz")


def test_a_directory(tmp_path: Path) -> None:
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(InputError, match="cannot read"):
        load_data(tmp_path / "d.npz")


@pytest.mark.parametrize("content", [b"", b"just text\n", b"PK\x03\x04 no zip"])
def test_not_an_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"not an \.npz file, or is damaged"):
        load_data(tmp_path / "d.npz")


def test_a_bare_array(tmp_path: Path) -> None:
    with (tmp_path / "d.npz").open("wb") as stream:
        np.save(stream, X)
    with pytest.raises(InputError, match="one bare array"):
        load_data(tmp_path / "d.npz")


def test_truncated_and_damaged(tmp_path: Path) -> None:
    path = Path(_npz(tmp_path, x=X, y=Y))
    content = path.read_bytes()
    for cut in (len(content) // 2, len(content) - 10):
        path.write_bytes(content[:cut])
        with pytest.raises(InputError, match="damaged"):
            load_data(path)
    broken = bytearray(content)
    broken[150:200] = bytes(50)
    path.write_bytes(broken)
    with pytest.raises(InputError, match=r"array 'x' of .* is damaged"):
        load_data(path)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [[1], [1, 2]]
    with pytest.raises(InputError, match="type object"):
        load_data(_npz(tmp_path, x=ragged))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "y": Y[:5]}, "6 samples and 5 labels"),
        ({"x": X, "y": np.array(3)}, "6 samples and one label"),
        ({"x": X[:0]}, "no samples"),
        ({"x": np.array(1.0)}, "single number"),
        ({"x": X.astype(np.int32)}, "int32"),
        ({"x": X > 3}, "bool"),
        ({"x": X[:, :0]}, "hold no value"),
        ({"x": X, "y": np.array(list("abcdef"))}, "expected numbers"),
        ({"x": X, "y": np.full(6, np.nan)}, "labels that are not finite"),
    ],
)
def test_data_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_data(_npz(tmp_path, **arrays))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_name_the_sample(tmp_path: Path, bad: float) -> None:
    x = np.zeros((600, 2), np.float32)
    x[431, 1] = x[500, 0] = bad
    with pytest.raises(InputError, match="first in sample 431"):
        load_data(_npz(tmp_path, x=x))


@pytest.mark.parametrize("source", ["photos", "model.onnx", "d.npy", "module:function", "d.npz.gz"])
def test_other_sources(source: str) -> None:
    with pytest.raises(InputError, match=r"neither an \.npz file nor"):
        load_data(source)


def test_function_returning_arrays(tmp_path: Path) -> None:
    source = _module(tmp_path, "def data(): return np.ones((3, 2), np.float32), [0, 1, 2]")
    data = load_data(source)
    assert data.sample_shape == (2,)
    assert data.y is not None
    assert data.y.tolist() == [0, 1, 2]


def test_function_returning_an_iterable(tmp_path: Path) -> None:
    source = _module(
        tmp_path,
        """
        from neighbour import N
        def data():
            for i in range(N):
                yield np.full((2, 3), i, np.uint8), np.array([i, i + 1])
        """,
    )
    (tmp_path / "neighbour.py").write_text("N = 4\n")
    before = list(sys.path)
    data = load_data(source)
    assert sys.path == before
    assert data.x[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert data.y is not None
    assert data.y.tolist() == [0, 1, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def other(): pass", "no function 'data'; the functions there are: other"),
        ("def data(): return 1 / 0", "failed: ZeroDivisionError"),
        ("1 / 0", "failed: ZeroDivisionError"),
        ("def data(:", "failed: SyntaxError"),
        ("def data(needed): pass", "failed: TypeError"),
        ("def data(): return None", "NoneType"),
        ("def data(): return 'text'", "type str"),
        ("def data(): return 1, 2, 3", "tuple of 3"),
        ("def data(): return []", "gave no samples"),
        ("def data(): return [np.ones((2, 2)), np.ones((2, 3))]", "one shape and type"),
        ("def data(): return [np.ones((2, 2)), np.ones((2, 2), np.float32)]", "one shape and type"),
        ("def data(): return [(np.ones((2, 2)), np.ones(3))]", "2 samples with 3 labels"),
        ("def data(): return [(np.ones((2, 2)), np.ones(2)), np.ones((2, 2))]", "none with others"),
        ("def data(): return [(np.ones((2, 2)), [1, 2]), (np.ones((2, 2)), [[1], [2]])]", "different shapes"),
        ("def data(): return [(np.ones(2), 1, 2)]", "3 entries"),
        ("def data(): return [1.0, 2.0]", "single number"),
        ("def data(): return [['a', [1, 2]]]", "single number"),
        ("def data(): return [np.array([[1], [1, 2]], object)]", "type object"),
    ],
)
def test_functions_that_cannot_be_used(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_data(_module(tmp_path, body))


def test_function_file_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_data(f"{tmp_path}/none.py:data")
    with pytest.raises(InputError, match="names no function"):
        load_data(f"{tmp_path}/none.py")


class Tensor:
    """What makes a torch tensor recognizable."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> "Tensor":
        return self

    def numpy(self) -> np.ndarray:
        return self.values


class Loader:
    """A re-iterable source of batches, as a DataLoader is."""

    def __init__(self, x: np.ndarray, y: np.ndarray, *, shuffle: bool = False) -> None:
        self.x, self.y, self.shuffle, self.passes = x, y, shuffle, 0

    def __iter__(self) -> Iterator[list[Tensor]]:
        self.passes += 1
        order = np.random.default_rng(self.passes).permutation(len(self.x)) if self.shuffle else np.arange(len(self.x))
        for start in range(0, len(order), 4):
            part = order[start : start + 4]
            yield [Tensor(self.x[part]), Tensor(self.y[part])]


@pytest.mark.parametrize("keep_bytes", [1 << 20, 100, 0])
def test_loader_in_memory_and_streamed(keep_bytes: int) -> None:
    loader = Loader(X, Y)
    data = load_data(loader, keep_bytes=keep_bytes)
    assert np.array_equal(data.x, X)
    assert np.array_equal(data.y, Y)
    part = data.select(np.array([5, 1, 4]))
    assert np.array_equal(part.x, X[[1, 4, 5]])
    assert np.array_equal(part.y, [1, 4, 5])
    deeper = part.select(np.array([2, 0]))
    assert np.array_equal(deeper.x, X[[1, 5]])
    assert [x.shape[0] for x, _ in data.batches(4)] == [4, 2]
    assert (loader.passes == 1) == (keep_bytes > 1000)


def test_a_shuffling_loader_is_kept_whole_when_it_fits() -> None:
    data = load_data(Loader(X, Y, shuffle=True))
    assert sorted(data.y) == list(range(6))
    assert all(np.array_equal(x, X[label]) for x, label in zip(data.x, data.y, strict=True))


def test_a_shuffling_loader_is_refused_where_its_order_matters() -> None:
    data = load_data(Loader(X, Y, shuffle=True), keep_bytes=0)
    with pytest.raises(InputError, match="another order") as caught:
        list(data.batches(2))
    assert "shuffle=False" in str(caught.value)


def test_a_loader_that_changes_its_length() -> None:
    loader = Loader(X, Y)
    data = load_data(loader, keep_bytes=0)
    loader.x = X[:4]
    loader.y = Y[:4]
    with pytest.raises(InputError, match="ended after 4 of 6"):
        list(data.batches(2))
    loader.x = np.concatenate([X[:6], X[:2]])
    loader.y = np.zeros(8)
    with pytest.raises(InputError, match="more than the 6 samples"):
        list(data.batches(2))


def test_a_generator_too_large_to_keep() -> None:
    with pytest.raises(InputError, match="only once"):
        load_data((x for x in [X, X]), keep_bytes=100)


@pytest.mark.train
def test_torch_loader() -> None:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    images = torch.from_numpy(X.astype(np.float32))
    data = load_data(DataLoader(TensorDataset(images, torch.from_numpy(Y)), batch_size=4, shuffle=True))
    assert all(np.array_equal(x, X[label]) for x, label in zip(data.x, data.y, strict=True))
    assert load_data(DataLoader(TensorDataset(images), batch_size=4)).y is None
    assert np.array_equal(load_data(images).x, X)


def test_single_samples_with_a_number_as_label() -> None:
    data = load_data(list(zip(X, Y, strict=True)))
    assert np.array_equal(data.x, X)
    assert np.array_equal(data.y, Y)


def test_a_dataset_passes_through() -> None:
    data = Dataset.of(X, Y)
    assert load_data(data) is data
    assert load_data((X, Y)).y is not None
    assert load_data(X).without_labels().y is None


def test_feeds_are_preprocessed_batches_and_start_anew() -> None:
    data = load_data((X, Y))
    stated = Preprocessing("nhwc", 0.0, 1.0)
    for _ in range(2):
        feeds = list(data.feeds("image", stated, batch=4))
        assert [feed["image"].shape for feed in feeds] == [(4, 3, 4, 5), (2, 3, 4, 5)]
        joined = np.concatenate([feed["image"] for feed in feeds])
        assert np.array_equal(joined, stated.apply(X))
    raw = next(data.feeds("image"))["image"]
    assert raw.dtype == np.uint8
    assert np.array_equal(raw, X[:1])


def test_channels_last_is_found_where_only_it_fits() -> None:
    assert Dataset.of(X).check_against((1, 3, 4, 5)) == Preprocessing("nhwc")
    assert Dataset.of(X).check_against((1, 4, 5, 3)) == Preprocessing()
    ranged = Preprocessing(high=1.0)
    assert Dataset.of(X).check_against((1, 3, 4, 5), preprocessing=ranged) == Preprocessing("nhwc", high=1.0)


def test_ambiguous_layout_is_refused() -> None:
    cube = Dataset.of(np.zeros((2, 3, 3, 3), np.uint8))
    with pytest.raises(InputError, match="both with channels first and with channels last") as caught:
        cube.check_against((1, 3, 3, 3))
    assert "--layout nchw or --layout nhwc" in str(caught.value)
    for layout in ("nchw", "nhwc"):
        assert cube.check_against((1, 3, 3, 3), preprocessing=Preprocessing(layout)).layout == layout
    assert Dataset.of(np.zeros((2, 1, 1, 1), np.uint8)).check_against((1, 1, 1, 1)).layout is None


def test_stated_layout_that_does_not_fit() -> None:
    with pytest.raises(InputError, match="with layout nchw"):
        Dataset.of(X).check_against((1, 3, 4, 5), preprocessing=Preprocessing("nchw"))
    with pytest.raises(InputError, match="with layout nhwc"):
        Dataset.of(X).check_against((1, 4, 5, 3), preprocessing=Preprocessing("nhwc"))


@pytest.mark.parametrize(
    ("shape", "wanted", "hint"),
    [
        ((4, 5), (1, 1, 4, 5), "x.reshape"),
        ((5, 2, 3), (1, 3, 2, 5), "--layout"),
        ((2, 5, 3), (1, 30), "reshape"),
        ((5,), (1, 7, 5), "batch axis comes first"),
        ((2, 8, 8, 3), (1, 3, 8, 8), "size that the model takes"),
        ((8, 8, 3), (1, 3, 9, 9), "size that the model takes"),
    ],
)
def test_shape_mismatch_says_what_to_do(shape: tuple[int, ...], wanted: tuple[int, ...], hint: str) -> None:
    with pytest.raises(InputError, match="model's input takes") as caught:
        Dataset.of(np.zeros((2, *shape), np.float32)).check_against(wanted)
    assert hint in str(caught.value)


def test_type_mismatch() -> None:
    s8 = Dataset.of(np.zeros((2, 4), np.int8))
    assert s8.check_against((1, 4), "int8") == Preprocessing()
    with pytest.raises(InputError, match="takes float32"):
        s8.check_against((1, 4))
    with pytest.raises(InputError, match="takes uint8 as it is"):
        s8.check_against((1, 4), "uint8")
    with pytest.raises(InputError, match="Leave out --input-range"):
        s8.check_against((1, 4), "int8", Preprocessing(high=1.0))


def test_mean_of_other_length_is_found_early() -> None:
    with pytest.raises(InputError, match="--mean has 2 values"):
        Dataset.of(X).check_against((1, 3, 4, 5), preprocessing=Preprocessing(mean=(0.1, 0.2)))
