"""Functions of the Python API whose name is also a package's."""

from __future__ import annotations

import inspect

import microlith
import microlith.compile.plan
import microlith.device.profile
from microlith import api


def test_functions_stay_callable_once_their_packages_are_imported() -> None:
    assert inspect.ismodule(microlith.device)
    assert microlith.device("nrf52840") == api.device("nrf52840")
    assert inspect.ismodule(microlith.compile)


def test_calls_reach_the_function(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(api, "compile", lambda *arguments, **named: (arguments, named))
    assert microlith.compile(1, name="net") == ((1,), {"name": "net"})
