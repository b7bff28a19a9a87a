"""What follows from the constants of a call alone, worked out once for all schedules and rows of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from microlith.kernels.arguments import zero_point
from microlith.kernels.base import CallContext

_Result = TypeVar("_Result")
_Kept = tuple[tuple["weakref.ref[Any]", ...], Any]
_MOST = 512


def by_constants(function: Callable[[CallContext], _Result]) -> Callable[[CallContext], _Result]:
    """A function of constants, requantization, taps of the window and zero point of the first input, which remembers.

    Constants are told apart by identity, as long as they live; they do not change, nor may the results.
    """
    kept: dict[tuple[object, ...], _Kept] = {}

    @wraps(function)
    def remembering(ctx: CallContext) -> _Result:
        window = getattr(ctx.call.attrs, "window", None)
        geometry = None if window is None else (window.kernel, window.dilation)
        objects = (*ctx.consts.values(), *(() if ctx.call.requant is None else (ctx.call.requant,)))
        key = (*map(id, objects), tuple(ctx.consts), geometry, zero_point(ctx.reads[0]))
        found = kept.get(key)
        if found is not None and all(kept_by() is item for kept_by, item in zip(found[0], objects, strict=True)):
            result: _Result = found[1]
            return result
        if len(kept) >= _MOST:
            kept.clear()
        result = function(ctx)
        kept[key] = (tuple(map(weakref.ref, objects)), result)
        return result

    return remembering
