"""Writes a model to a file, in the format that the name of the file asks for."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from microlith.core.errors import InputError
from microlith.core.files import write_bytes
from microlith.graph.export import export_model
from microlith.graph.save import model_bytes

TFLITE = ".tflite"


def save_model(model: ir.Model, path: Path | str, opset: int | None = None) -> tuple[str, ...]:
    """Write a model in one piece: as ``.tflite`` where the name ends so, else as :func:`export_model` gives it.

    Returns:
        What a ``.tflite`` file computes otherwise than the graph, each within rounding; nothing for ``.onnx``.

    Raises:
        InputError: the place cannot be written, or there is no such opset.
        UnsupportedError: a node cannot be expressed in the format or the opset; it is named.
    """
    target = Path(path)
    if not is_tflite(target):
        write_bytes(target, model_bytes(export_model(model, opset)))
        return ()
    if opset is not None:
        raise InputError(f"opset {opset} is asked for, and {target.name} is no ONNX file", hint="Leave out the opset.")
    from microlith.graph.tflite.write import tflite_of_model

    file = tflite_of_model(model)
    write_bytes(target, file.content)
    return file.remarks


def is_tflite(path: Path | str) -> bool:
    """Whether a file is to be written as ``.tflite``."""
    return Path(path).suffix.lower() == TFLITE
