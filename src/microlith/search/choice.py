"""The choice between candidates by what they did on the selection part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from microlith.core.details import CandidateRow
from microlith.techniques.ptq import PTQ


@dataclass(frozen=True)
class Score:
    """How a candidate did on the selection part.

    Attributes:
        metric: its figure.
        standard_error: of that figure; 0 where the metric is no mean over samples.
        sqnr_db: ratio of the outputs to their noise against the original's.
    """

    metric: float
    standard_error: float
    sqnr_db: float


def ranked(scores: Sequence[Score], *, higher_is_better: bool) -> list[int]:
    """Indices, best first: of those within one standard error of the best metric, the least noisy outputs come first.

    A few samples more or less are chance; how close the outputs stay to the original's is seen on every sample.

    Source: Breiman et al., Classification and Regression Trees (1984), section 3.4.3 (the one standard error rule).
    """
    sign = -1.0 if higher_is_better else 1.0
    best = min(scores, key=lambda score: sign * score.metric)
    limit = sign * best.metric + best.standard_error
    tied = [sign * score.metric <= limit for score in scores]
    keys = [
        (0, -score.sqnr_db, 0.0) if tie else (1, sign * score.metric, -score.sqnr_db)
        for score, tie in zip(scores, tied, strict=True)
    ]
    return sorted(range(len(scores)), key=lambda index: keys[index])


def candidate_row(candidate: PTQ, score: Score, *, chosen: bool) -> CandidateRow:
    """A line of the table of candidates."""
    settings = {
        "calibration": candidate.calibration,
        "weights": "per channel" if candidate.per_channel else "per tensor",
        "activations": "symmetric" if candidate.symmetric else "affine",
    }
    note = f"outputs {score.sqnr_db:.1f} dB over noise"
    return CandidateRow(settings=settings, metric=score.metric, chosen=chosen, note=note)
