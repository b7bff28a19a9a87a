"""NonMaxSuppression: boxes by falling score, without those that overlap one chosen; rows that stay unused hold -1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape

UNUSED = -1
"""What every element of a row holds that no box takes."""


@dataclass(frozen=True)
class NonMaxSuppressionAttrs:
    """Attributes of NonMaxSuppression.

    Attributes:
        limit: boxes chosen at most, of one class of one image.
        overlap: intersection over union above which the box of the lower score goes.
        threshold: score that a box must exceed; None where every box takes part.
        center: a box is its centre x and y, its width and its height, instead of y1, x1, y2, x2 of two corners.
    """

    limit: int
    overlap: float
    threshold: float | None
    center: bool


def parse(node: ir.Node) -> NonMaxSuppressionAttrs:
    """Attributes and constant inputs of a NonMaxSuppression node."""
    limit = nodes.constant_integers(node, 2, "its max_output_boxes_per_class")
    if limit is None or len(limit) != 1 or limit[0] < 1:
        raise ModelError(
            f"its max_output_boxes_per_class is {0 if limit is None else list(limit)}, expected one integer of 1 or "
            "more, since room for that many boxes is kept",
            node=nodes.where(node),
        )
    overlap, threshold = (_number(node, index, what) for index, what in ((3, "iou"), (4, "score")))
    overlap = 0.0 if overlap is None else overlap
    if not 0 <= overlap <= 1:
        raise ModelError(f"its iou_threshold is {overlap}, expected one between 0 and 1", node=nodes.where(node))
    return NonMaxSuppressionAttrs(limit[0], overlap, threshold, bool(nodes.integer(node, "center_point_box", 0)))


def _number(node: ir.Node, index: int, what: str) -> float | None:
    given = nodes.constant(node, index, f"its {what}_threshold")
    if given is None:
        return None
    if given.size != 1:
        raise ModelError(f"its {what}_threshold has shape {given.shape}, expected one number", node=nodes.where(node))
    return float(np.float32(given.reshape(-1)[0]))


def most_rows(limit: int, boxes: Sequence[int | None], scores: Sequence[int | None]) -> int | None:
    """Rows of the result at most; None for shapes that are no boxes and scores of known size."""
    if len(boxes) != 3 or len(scores) != 3 or None in (scores[0], scores[1], boxes[1]):
        return None
    images, classes, count = scores[0], scores[1], boxes[1]
    assert images is not None and classes is not None and count is not None, "just looked at"
    return images * classes * min(limit, count)


def infer(attrs: NonMaxSuppressionAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """As many rows as there can be boxes chosen."""
    boxes, scores = inputs[0], inputs[1]
    rows = most_rows(attrs.limit, boxes, scores)
    if rows is None or boxes != (scores[0], scores[2], 4):
        raise ModelError(f"NonMaxSuppression got boxes of shape {boxes} and scores of shape {scores}")
    return ((rows, 3),)


def reference(attrs: NonMaxSuppressionAttrs, inputs: Sequence[Array | None]) -> Array:
    """Image, class and box of each one chosen, then rows of -1; a score that is no number is never chosen."""
    boxes, scores = nodes.f32(inputs, 0), nodes.f32(inputs, 1)
    result = np.full(infer(attrs, (boxes.shape, scores.shape))[0], UNUSED, np.int64)
    row = 0
    for image, class_ in np.ndindex(*scores.shape[:2]):
        for box in _chosen(attrs, _corners(boxes[image], center=attrs.center), scores[image, class_]):
            result[row] = image, class_, box
            row += 1
    return result


def _corners(boxes: NDArray[np.float32], *, center: bool) -> NDArray[np.float32]:
    """Least x and y, greatest x and y; of each box a column."""
    a, b, c, d = boxes.T
    if center:
        half_width, half_height = c / np.float32(2), d / np.float32(2)
        return np.stack([a - half_width, b - half_height, a + half_width, b + half_height])
    return np.stack([_least(b, d), _least(a, c), _greatest(b, d), _greatest(a, c)])


def _least(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(a < b, a, b)  # np.minimum lets NaN through from either side, C does not


def _greatest(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(a > b, a, b)


def _chosen(attrs: NonMaxSuppressionAttrs, corners: NDArray[np.float32], scores: NDArray[np.float32]) -> list[int]:
    """Boxes in the order of their choice; of equal scores the first comes first."""
    left = ~np.isnan(scores) if attrs.threshold is None else scores > np.float32(attrs.threshold)
    chosen: list[int] = []
    while left.any() and len(chosen) < attrs.limit:
        candidates = np.flatnonzero(left)
        best = int(candidates[np.argmax(scores[candidates])])
        chosen.append(best)
        left[best] = False
        left &= ~_overlapping(corners, corners[:, best : best + 1], np.float32(attrs.overlap))
    return chosen


def _overlapping(boxes: NDArray[np.float32], box: NDArray[np.float32], overlap: np.float32) -> NDArray[np.bool_]:
    """Which boxes share more than ``overlap`` of their union with ``box``, every step rounded to float32."""
    with np.errstate(all="ignore"):
        width = _least(boxes[2], box[2]) - _greatest(boxes[0], box[0])
        height = _least(boxes[3], box[3]) - _greatest(boxes[1], box[1])
        common = width * height
        area = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
        other = (box[2] - box[0]) * (box[3] - box[1])
        union = (area + other) - common
        sound = (width > 0) & (height > 0) & (common > 0) & (area > 0) & (other > 0) & (union > 0)
        return np.asarray(sound & (common / union > overlap))


NON_MAX_SUPPRESSION = Op(
    "NonMaxSuppression",
    parse,
    infer,
    reference,
    data_inputs=(0, 1),
    lowering="lower_indexing.lower_non_max_suppression",
)
