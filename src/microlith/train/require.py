"""Torch, imported on first use, and refused with what to install where it is missing."""

from __future__ import annotations

from types import ModuleType

from microlith.core.errors import InputError


def require_torch() -> ModuleType:
    """The torch package, with what its exporter to ONNX and checkpoints need.

    Raises:
        InputError: torch, onnxscript or safetensors is not installed.
    """
    try:
        import onnxscript  # noqa: F401
        import safetensors  # noqa: F401
        import torch
    except ModuleNotFoundError as error:
        raise InputError(
            f"models of PyTorch need the package {error.name}, and it is not installed",
            hint="Install the extra: pip install 'microlith[train]'.",
        ) from error
    return torch  # type: ignore[no-any-return]
