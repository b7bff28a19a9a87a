"""From graph to C: lower, select, order, arena, emit, package; called, it is :func:`microlith.api.compile`."""

from __future__ import annotations

from microlith.core.callable_package import make_callable

make_callable(__name__, "microlith.api", "compile")
