"""ONNX names as attributes of a module."""

from __future__ import annotations

import keyword
import re

import torch
from torch import nn

from microlith.train.layers import Layer

_UNFIT = re.compile(r"[^A-Za-z0-9_.]")
# Of a module of the generated graph, whose own attributes no weight may hide.
_RESERVED = (*dir(torch.fx.GraphModule), *vars(Layer("", len)), "meta", "graph", "scale", "zero_point")


class Paths:
    """Gives each ONNX name a path that no other has: the name itself where it can be one.

    Letters, digits, ``_`` and ``.`` stay; a dot stands between a module and what it holds.
    """

    def __init__(self) -> None:
        self._leaves: set[str] = set()
        self._modules: set[str] = set()

    def leaf(self, name: str) -> str:
        """The path of a parameter or buffer."""
        path = _fitting(name)
        while path in self._leaves or path in self._modules or self._held(path) or self._below(path):
            path = _fitting(path.replace(".", "_")) if "." in path and self._held(path) else f"{path}_"
        self._leaves.add(path)
        return path

    def module(self, name: str) -> str:
        """The path of a submodule, which may hold others."""
        path = _fitting(name)
        while path in self._leaves or path in self._modules or self._held(path):
            path = _fitting(path.replace(".", "_")) if "." in path and self._held(path) else f"{path}_"
        self._modules.add(path)
        return path

    def _held(self, path: str) -> bool:
        """Whether a parameter stands where the path needs a module."""
        parts = path.split(".")
        return any(".".join(parts[:count]) in self._leaves for count in range(1, len(parts)))

    def _below(self, path: str) -> bool:
        return any(item.startswith(f"{path}.") for item in self._leaves | self._modules)


def _fitting(name: str) -> str:
    parts = [part for part in _UNFIT.sub("_", name).split(".") if part] or ["_"]
    return ".".join(f"{part}_" if part in _RESERVED or keyword.iskeyword(part) else part for part in parts)


def identifier(name: str) -> str:
    """A name of a Python variable like this one."""
    found = re.sub(r"\W", "_", name)
    found = f"_{found}" if not found or found[0].isdigit() else found
    return f"{found}_" if keyword.iskeyword(found) else found


def holder(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that holds what is at a path, made where there is none, and the last part of the path."""
    *parts, last = path.split(".")
    for part in parts:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        found = root._modules[part]
        assert found is not None
        root = found
    return root, last
