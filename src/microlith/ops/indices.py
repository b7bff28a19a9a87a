"""Indices that are computed at run time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microlith.ops.base import Array


def bounded(indices: Array, size: int) -> NDArray[np.int64]:
    """Indices into an axis of that size, counted from the front.

    Negative ones count from the end. ONNX leaves undefined what lies outside [-size, size); here that is the nearest
    index that does not.
    """
    counted = indices.astype(np.int64)
    return np.clip(np.where(counted < 0, counted + size, counted), 0, size - 1)
