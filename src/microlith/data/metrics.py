"""How good outputs are, and how much worse than the original model's, each with its 95% interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.core.evidence import Evidence, How
from microlith.core.statistics import (
    Interval,
    bootstrap,
    bootstrap_mean,
    draws,
    paired_difference,
    percentile_interval,
    wilson,
)
from microlith.data.function import load_function, running
from microlith.data.samples import to_array

Array = NDArray[np.generic]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A figure of merit of outputs (N, ...) against targets.

    Attributes:
        name: ``accuracy``, ``auc``, ``mse``, ``agreement`` or the user's function.
        higher_is_better: whether a larger figure is a better one.
        needs_labels: whether there must be labels.
        compute: from outputs and targets, one value a sample, shape (N,), whose mean is the figure; or the figure
            alone, shape (), where it is no mean.
        against_original: whether the targets are the original model's outputs, and not labels.
        proportion: whether the values are 0 and 1.
        stratified: whether both classes of the targets must be kept when samples are drawn again.
    """

    name: str
    higher_is_better: bool
    needs_labels: bool
    compute: Callable[[Array, Array | None], Values]
    against_original: bool = False
    proportion: bool = False
    stratified: bool = False

    def value(self, outputs: Array, targets: Array | None) -> float:
        """The figure."""
        return float(self.compute(_finite(outputs), targets).mean())

    @property
    def drop_unit(self) -> str:
        """``pp`` where the figure is a fraction, ``%`` of the original's figure where lower is better."""
        return "pp" if self.higher_is_better else "%"

    def drop(self, reference: float, value: float) -> float:
        """How much worse a value is than the original's, in :attr:`drop_unit`; negative where it is better."""
        if self.higher_is_better:
            return 100 * (reference - value)
        if reference == 0:
            raise InputError(
                f"the original model's {self.name} is 0, and a drop relative to it has no meaning",
                hint="Choose another --metric.",
            )
        return 100 * (value - reference) / reference


@dataclass(frozen=True)
class Comparison:
    """A model against the original on the same samples.

    Attributes:
        metric: what was computed.
        reference: the figure of the original model.
        value: the figure of the model.
        drop: how much worse it is, paired, in ``metric.drop_unit``.
        agreement: proportion of samples with the same top-1 output; None where a sample has one output only.
    """

    metric: Metric
    reference: Interval
    value: Interval
    drop: Interval
    agreement: Interval | None

    def evidence(self, how: How, context: Mapping[str, str] | None = None) -> tuple[Evidence, ...]:
        """``accuracy_float``, ``accuracy``, ``accuracy_drop`` and ``agreement``; the context names the metric."""
        full = {**(context or {}), "metric": self.metric.name}
        unit = "fraction" if self.metric.higher_is_better else "1"
        items = [
            self.reference.evidence("accuracy_float", unit, how, full),
            self.value.evidence("accuracy", unit, how, full),
            self.drop.evidence("accuracy_drop", self.metric.drop_unit, how, full),
        ]
        if self.agreement is not None:
            items.append(self.agreement.evidence("agreement", "fraction", how, full))
        return tuple(items)


def metric_named(name: str | None, *, labelled: bool) -> Metric:
    """The metric of a name, or of ``module.py:function``; None chooses accuracy with labels and agreement without.

    A function is called with outputs (N, ...) and labels (or None) and returns one value a sample or one figure. Where
    larger is better, which is taken for granted unless its attribute ``higher_is_better`` says otherwise, figures are
    fractions of 1.
    """
    if name is None:
        return ACCURACY if labelled else AGREEMENT
    found = next((metric for metric in METRICS if metric.name == name), None)
    if found is None:
        if ".py" not in name:
            known = ", ".join(metric.name for metric in METRICS)
            raise InputError(f"unknown metric {name!r}", hint=f"Use one of {known}, or module.py:function.")
        return _custom(name)
    if found.needs_labels and not labelled:
        raise InputError(
            f"the metric {name} needs labels, and the data has none",
            hint="Give data with labels, or leave out --metric: agreement with the original model is used then.",
        )
    return found


def compare(
    metric: Metric, original: Array, outputs: Array, labels: Array | None, rng: np.random.Generator
) -> Comparison:
    """Judge outputs (N, ...) beside the original model's on the same samples.

    Args:
        metric: what to compute.
        original: outputs of the original model.
        outputs: outputs of the model.
        labels: of the samples, or None.
        rng: for metrics whose interval is drawn.
    """
    if original.shape != outputs.shape:
        raise ValueError(f"outputs of shapes {original.shape} and {outputs.shape}")
    original, outputs = _finite(original), _finite(outputs)
    targets = original if metric.against_original else labels
    first, second = metric.compute(original, targets), metric.compute(outputs, targets)
    agreement = None
    if outputs[0].size > 1:
        same = AGREEMENT.compute(outputs, original).astype(bool)
        agreement = wilson(int(same.sum()), len(same))
    if first.ndim == 0:
        reference, value, drop = _drawn_figures(metric, original, outputs, targets, rng)
    elif metric.proportion:
        reference, value = (wilson(int(values.sum()), len(values)) for values in (first, second))
        drop = paired_difference(first.astype(bool), second.astype(bool)).scaled(100)
    else:
        reference, value, drop = _drawn_means(metric, first, second, rng)
    return Comparison(metric, reference, value, drop, agreement)


def _drawn_means(
    metric: Metric, first: Values, second: Values, rng: np.random.Generator
) -> tuple[Interval, Interval, Interval]:
    def drop(chosen: NDArray[np.intp]) -> float:
        return metric.drop(float(first[chosen].mean()), float(second[chosen].mean()))

    return bootstrap_mean(first, rng), bootstrap_mean(second, rng), bootstrap(len(first), drop, rng)


def _drawn_figures(
    metric: Metric, original: Array, outputs: Array, targets: Array | None, rng: np.random.Generator
) -> tuple[Interval, Interval, Interval]:
    """Intervals of figures that are no means, all three from the same resamples."""

    def figures(chosen: NDArray[np.intp]) -> tuple[float, float, float]:
        part = None if targets is None else targets[chosen]
        first, second = (float(metric.compute(array[chosen], part)) for array in (original, outputs))
        return first, second, metric.drop(first, second)

    n = len(outputs)
    strata = targets if metric.stratified else None
    drawn = [figures(chosen) for chosen in draws(n, rng, strata=strata)]
    values = figures(np.arange(n))
    intervals = [percentile_interval(value, [row[k] for row in drawn], n) for k, value in enumerate(values)]
    return intervals[0], intervals[1], intervals[2]


def _finite(outputs: Array) -> Array:
    if outputs.dtype.kind == "f" and not np.isfinite(outputs).all():
        raise InputError(
            "the model gave an output that is not a finite number (NaN or infinity)",
            hint="Check its weights and the preprocessing (--input-range, --mean, --std).",
        )
    return outputs


def _classes(outputs: Array, name: str) -> Array:
    """Outputs as (N, K) with K > 1."""
    flat = outputs.reshape(len(outputs), -1)
    if flat.shape[1] < 2:
        raise InputError(
            f"the metric {name} compares the largest output, and the model has one output a sample",
            hint="Use --metric auc for a score, --metric mse for a value, or --metric module.py:function.",
        )
    return flat


def _column(labels: Array | None, samples: int, name: str) -> Array:
    """Labels as one integer a sample."""
    assert labels is not None
    flat = labels.reshape(samples, -1)
    whole = flat.astype(np.int64)
    if flat.shape[1] != 1 or not np.array_equal(whole, flat):
        raise InputError(
            f"the metric {name} takes one whole number a sample as label, and the labels have shape {labels.shape} and "
            f"type {labels.dtype}",
            hint="Store the index of the class, for instance y.argmax(axis=1) of one-hot labels.",
        )
    return whole[:, 0]


def _accuracy(outputs: Array, labels: Array | None) -> Values:
    scores = _classes(outputs, "accuracy")
    truth = _column(labels, len(outputs), "accuracy")
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise InputError(
            f"labels run from {truth.min()} to {truth.max()}, and the model has {scores.shape[1]} outputs",
            hint="Count classes from 0, in the order of the model's outputs.",
        )
    return np.asarray(scores.argmax(axis=1) == truth, np.float64)


def _agreement(outputs: Array, original: Array | None) -> Values:
    assert original is not None
    first, second = _classes(outputs, "agreement"), _classes(original, "agreement")
    return np.asarray(first.argmax(axis=1) == second.argmax(axis=1), np.float64)


def _mse(outputs: Array, labels: Array | None) -> Values:
    assert labels is not None
    if outputs.size != labels.size:
        raise InputError(
            f"the metric mse compares outputs of shape {outputs.shape} with labels of shape {labels.shape}",
            hint="Give a target for every output.",
        )
    error = outputs.reshape(len(outputs), -1).astype(np.float64) - labels.reshape(len(outputs), -1).astype(np.float64)
    return np.asarray((error**2).mean(axis=1))


def _auc(outputs: Array, labels: Array | None) -> Values:
    """Chance that a positive sample scores above a negative one, ties counted half (Mann and Whitney, 1947)."""
    truth = _column(labels, len(outputs), "auc")
    flat = outputs.reshape(len(outputs), -1).astype(np.float64)
    if flat.shape[1] > 2 or not np.array_equal(np.unique(truth), [0, 1]):
        raise InputError(
            f"the metric auc takes labels 0 and 1, both present, and one or two outputs; there are labels "
            f"{np.unique(truth)[:5].tolist()} and {flat.shape[1]} outputs",
            hint="Use --metric accuracy for more classes.",
        )
    scores = flat[:, 0] if flat.shape[1] == 1 else flat[:, 1] - flat[:, 0]
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(truth.sum())
    above = ranks[truth == 1].sum() - positives * (positives + 1) / 2
    return np.asarray(above / (positives * (len(truth) - positives)), np.float64)


def _custom(source: str) -> Metric:
    function: Callable[..., Any] = load_function(source, "the metric")

    def compute(outputs: Array, labels: Array | None) -> Values:
        with running(source):
            values = to_array(function(outputs, labels), source)
        if values.shape not in ((), (len(outputs),)) or values.dtype.kind not in "biuf":
            raise InputError(
                f"{source} returned shape {values.shape} of {values.dtype} for {len(outputs)} samples",
                hint="Return one number, or one a sample.",
            )
        figures = values.astype(np.float64)
        if not np.isfinite(figures).all():
            raise InputError(f"{source} returned a value that is not a finite number (NaN or infinity)")
        return figures

    return Metric(source, bool(getattr(function, "higher_is_better", True)), False, compute)


ACCURACY = Metric("accuracy", True, True, _accuracy, proportion=True)
AUC = Metric("auc", True, True, _auc, stratified=True)
MSE = Metric("mse", False, True, _mse)
AGREEMENT = Metric("agreement", True, False, _agreement, against_original=True, proportion=True)
METRICS = (ACCURACY, AUC, MSE, AGREEMENT)
