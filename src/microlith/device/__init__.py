"""Device profiles, toolchains, runners and the emulator; called, it is :func:`microlith.device.load.device`."""

from __future__ import annotations

from microlith.core.callable_package import make_callable

make_callable(__name__, "microlith.device.load", "device")
