"""Elements taken along every axis by a list of places, with a value where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from microlith.ops.base import Array

Places = NDArray[np.int64]
NOWHERE = -1
"""The place of an element that is not read but set."""


def take(x: Array, places: Sequence[Places | None], value: Array) -> Array:
    """``x`` read at those places of each axis (None for all of it, in order), ``value`` at :data:`NOWHERE`."""
    result = x
    for axis, listed in enumerate(places):
        if listed is None:
            continue
        nowhere = listed == NOWHERE
        result = np.take(result, np.maximum(listed, 0), axis=axis)
        if nowhere.any():
            result[(slice(None),) * axis + (nowhere,)] = value
    return result
