"""Packages that can be called, because a function of the public interface has their name.

Importing any module of ``microlith.device`` binds the package to the name ``device`` of ``microlith``, and would hide
the function ``microlith.device``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def make_callable(package: str, module: str, function: str) -> None:
    """Let calls of ``package`` be calls of a function, whose module is imported at the first one."""

    class CallablePackage(ModuleType):
        def __call__(self, *arguments: Any, **named: Any) -> Any:
            return getattr(import_module(module), function)(*arguments, **named)

    sys.modules[package].__class__ = CallablePackage
