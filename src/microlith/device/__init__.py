"""Device profiles, toolchains, runners and the emulator.

The package can be called, ``microlith.device("nrf52840")``, and is then :func:`microlith.device.load.device`: a
function of the public interface has the name of this package, and importing any module of it would otherwise hide the
function.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microlith.device.profile import Device


class _CallablePackage(type(sys)):  # type: ignore[misc]
    def __call__(self, name_or_path: Any) -> Device:
        from microlith.device.load import device

        return device(name_or_path)


sys.modules[__name__].__class__ = _CallablePackage
