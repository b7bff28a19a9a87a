import numpy as np

from microlith.core.random import generator


def _draw(*args: int | str) -> list[int]:
    seed, *labels = args
    return generator(int(seed), *map(str, labels)).integers(0, 1 << 60, 4).tolist()


def test_the_same_seed_and_labels_give_the_same_stream() -> None:
    assert _draw(3, "split") == _draw(3, "split")


def test_streams_differ_by_seed_and_by_label() -> None:
    streams = [_draw(3, "split"), _draw(4, "split"), _draw(3, "train"), _draw(3), _draw(3, "a", "b"), _draw(3, "ab")]
    assert len({tuple(stream) for stream in streams}) == len(streams)


def test_global_state_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist()
    _draw(3, "split")
    assert np.random.get_state()[1].tolist() == before
