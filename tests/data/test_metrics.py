from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.core.errors import InputError
from microlith.core.statistics import paired_difference, wilson
from microlith.data.metrics import ACCURACY, AGREEMENT, AUC, MSE, compare, metric_named

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(40, 5)).astype(np.float32)
LABELS = RNG.integers(0, 5, 40)


def _user(path: Path, body: str) -> str:
    (path / "user.py").write_text(f"import numpy as np\n{body}\n")
    return f"{path / 'user.py'}:score"


def test_accuracy() -> None:
    assert ACCURACY.value(LOGITS, LABELS) == np.mean(LOGITS.argmax(1) == LABELS)
    assert ACCURACY.value(LOGITS.reshape(40, 5, 1, 1), LABELS.reshape(40, 1)) == ACCURACY.value(LOGITS, LABELS)
    assert ACCURACY.value(LOGITS, LABELS.astype(np.float32)) == ACCURACY.value(LOGITS, LABELS)


def test_agreement() -> None:
    other = LOGITS.copy()
    other[:4] = -other[:4]
    assert AGREEMENT.value(other, LOGITS) == 0.9


def test_mse() -> None:
    target = RNG.normal(size=(40, 5))
    assert MSE.value(LOGITS, target) == pytest.approx(((LOGITS - target) ** 2).mean())
    assert MSE.compute(LOGITS, target).shape == (40,)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
def test_auc_counts_pairs(samples: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in samples], np.float32)
    truth = np.array([label for _, label in samples], int)
    if len(np.unique(truth)) < 2:
        with pytest.raises(InputError, match="both present"):
            AUC.value(scores[:, None], truth)
        return
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[truth == 1] for n in scores[truth == 0]]
    assert AUC.value(scores[:, None], truth) == pytest.approx(np.mean(pairs))
    assert AUC.value(np.stack([-scores, scores], 1), truth) == pytest.approx(np.mean(pairs))


def test_choice_of_metric() -> None:
    assert metric_named(None, labelled=True) is ACCURACY
    assert metric_named(None, labelled=False) is AGREEMENT
    assert metric_named("mse", labelled=True) is MSE
    with pytest.raises(InputError, match="needs labels"):
        metric_named("accuracy", labelled=False)
    with pytest.raises(InputError, match="unknown metric 'f1'") as caught:
        metric_named("f1", labelled=True)
    assert "accuracy, auc, mse, agreement" in str(caught.value)


def test_compare_accuracy_is_paired() -> None:
    outputs = LOGITS.copy()
    outputs[:6] = RNG.normal(size=(6, 5))
    result = compare(ACCURACY, LOGITS, outputs, LABELS, np.random.default_rng(0))
    first, second = LOGITS.argmax(1) == LABELS, outputs.argmax(1) == LABELS
    assert result.reference == wilson(int(first.sum()), 40)
    assert result.value == wilson(int(second.sum()), 40)
    assert result.drop == paired_difference(first, second).scaled(100)
    assert result.agreement == wilson(int((outputs.argmax(1) == LOGITS.argmax(1)).sum()), 40)


def test_compare_without_labels_uses_the_original() -> None:
    outputs = LOGITS.copy()
    outputs[:4] = -outputs[:4]
    result = compare(AGREEMENT, LOGITS, outputs, None, np.random.default_rng(0))
    assert (result.reference.value, result.value.value) == (1.0, 0.9)
    assert result.drop.value == pytest.approx(10.0)
    assert result.agreement == result.value


def test_compare_mse_is_relative() -> None:
    target = np.zeros((40, 5))
    result = compare(MSE, LOGITS, LOGITS * np.float32(1.1), target, np.random.default_rng(0))
    assert result.drop.value == pytest.approx(21.0, rel=1e-5)
    assert result.drop.low == pytest.approx(21.0, rel=1e-5)
    assert MSE.drop_unit == "%"


def test_relative_to_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="is 0"):
        compare(MSE, np.zeros((4, 2)), np.ones((4, 2)), np.zeros((4, 2)), np.random.default_rng(0))


def test_compare_auc_is_drawn_from_the_generator() -> None:
    truth = np.array([0] * 30 + [1] * 10)
    scores = (truth + RNG.normal(size=40)).astype(np.float32)[:, None]
    worse = (scores + RNG.normal(size=(40, 1))).astype(np.float32)
    one, two = (compare(AUC, scores, worse, truth, np.random.default_rng(7)) for _ in range(2))
    assert one == two
    assert one.reference.value == AUC.value(scores, truth)
    assert one.drop.low <= one.drop.value <= one.drop.high
    assert one.drop.value == pytest.approx(100 * (one.reference.value - one.value.value))
    assert one.agreement is None


def test_evidence() -> None:
    result = compare(ACCURACY, LOGITS, LOGITS, LABELS, np.random.default_rng(0))
    items = {item.metric: item for item in result.evidence("measured", {"device": "host"})}
    assert list(items) == ["accuracy_float", "accuracy", "accuracy_drop", "agreement"]
    assert (items["accuracy_drop"].value, items["accuracy_drop"].unit, items["accuracy_drop"].n) == (0, "pp", 40)
    assert items["accuracy_drop"].high > 0
    assert items["agreement"].value == 1
    assert items["accuracy"].context == {"device": "host", "metric": "accuracy"}


def test_custom_per_sample(tmp_path: Path) -> None:
    source = _user(tmp_path, "def score(outputs, labels): return outputs.argmax(1) == labels")
    metric = metric_named(source, labelled=True)
    assert metric.value(LOGITS, LABELS) == ACCURACY.value(LOGITS, LABELS)
    result = compare(metric, LOGITS, LOGITS[::-1].copy(), LABELS, np.random.default_rng(0))
    assert result.reference.value == ACCURACY.value(LOGITS, LABELS)


def test_custom_figure_where_lower_is_better(tmp_path: Path) -> None:
    body = "def score(outputs, labels): return np.median(abs(outputs))\nscore.higher_is_better = False"
    metric = metric_named(_user(tmp_path, body), labelled=False)
    assert not metric.higher_is_better
    result = compare(metric, LOGITS, LOGITS * 2, None, np.random.default_rng(0))
    assert result.drop.value == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return outputs[:3, 0]", "returned shape"),
        ("return 'good'", "returned shape"),
        ("return float('nan')", "not a finite"),
        ("return missing", "NameError"),
    ],
)
def test_custom_that_cannot_be_used(tmp_path: Path, body: str, message: str) -> None:
    metric = metric_named(_user(tmp_path, f"def score(outputs, labels): {body}"), labelled=True)
    with pytest.raises(InputError, match=message):
        metric.value(LOGITS, LABELS)


def test_refusals() -> None:
    with pytest.raises(InputError, match="5 outputs"):
        ACCURACY.value(LOGITS, LABELS + 1)
    with pytest.raises(InputError, match="whole number"):
        ACCURACY.value(LOGITS, np.eye(5)[LABELS])
    with pytest.raises(InputError, match="whole number"):
        ACCURACY.value(LOGITS, LABELS + 0.5)
    with pytest.raises(InputError, match="one output a sample"):
        ACCURACY.value(LOGITS[:, :1], LABELS)
    with pytest.raises(InputError, match="one output a sample"):
        AGREEMENT.value(LOGITS[:, :1], LOGITS[:, :1])
    with pytest.raises(InputError, match="compares outputs of shape"):
        MSE.value(LOGITS, LABELS)
    with pytest.raises(InputError, match="5 outputs"):
        AUC.value(LOGITS, LABELS % 2)
    with pytest.raises(InputError, match="not a finite number"):
        ACCURACY.value(np.where(LOGITS > 1, np.nan, LOGITS), LABELS)
