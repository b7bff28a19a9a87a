"""PyTorch modules and ``.pt2`` files into the one graph: torch's exporter, then the loader of files.

The exporter's own optimizer stays off: it merges layers under the name of one of them, and what is done to a graph is
shown by this project's passes. Only constants are folded, since the exporter writes sizes out as arithmetic.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from microlith.core.errors import InputError, MicrolithError, UnsupportedError
from microlith.graph.load import load_bytes
from microlith.graph.onnx_file import read_file
from microlith.train.pt2_file import check_pt2
from microlith.train.require import require_torch

Shapes = Mapping[str, tuple[int, ...]]

OPSET = 20
"""The newest opset that the exporter of every supported torch can write; the loader brings it to its own."""

_SCOPES = "pkg.torch.onnx.name_scopes"
_BRANCH_HINT = "Write the branch with torch.where, or take it outside of the module."
_EVAL_HINT = "Call module.eval() before torch.export.export, and pass training=self.training to functional dropout."
_DYNAMIC = ("DataDependent", "Could not guard on data-dependent", "data-dependent", "Dynamic control flow")


def load_module(module: object, example_input: object, shapes: Shapes | None = None) -> ir.Model:
    """The graph of a module in evaluation mode; the module is left as it was.

    Args:
        module: a ``torch.nn.Module``.
        example_input: a tensor or an array, or a sequence of them for several inputs; only shapes and types matter.
        shapes: as for files; the example says them all.

    Raises:
        InputError: torch is missing, this is no module, or its ``forward`` fails.
        UnsupportedError: control flow depends on data, or an operator has no form in ONNX.
    """
    torch = require_torch()
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"got {type(module).__name__}, expected the path of a model or a torch.nn.Module")
    if example_input is None:
        raise InputError(
            "a torch.nn.Module is given without an example of its input",
            hint="Pass one: ml.load(module, torch.zeros(1, 3, 32, 32)).",
        )
    name = type(module).__name__
    with _quiet(), _evaluating(module), _refused(name), redirect_stderr(io.StringIO()):
        program = torch.export.export(module, _arguments(torch, example_input))
    return _load_program(program, name, shapes)


def load_pt2(path: Path, shapes: Shapes | None = None) -> ir.Model:
    """The graph of a file that ``torch.export.save`` wrote.

    The file is trusted like a Python module: torch's reader makes no promise about hostile ones. What it would unpickle
    or evaluate is refused before it is called.

    Raises:
        InputError: torch is missing, the file cannot be read or holds pickled parts.
        UnsupportedError: its shapes are dynamic, it was exported in training mode, or an operator has no form in ONNX.
    """
    data = read_file(path, "a .pt2 file")
    torch = require_torch()
    with _quiet(), _refused(str(path)):
        check_pt2(data, str(path), torch)
        program = torch.export.load(io.BytesIO(data))
    return _load_program(program, path.stem, shapes)


def _load_program(program: Any, name: str, shapes: Shapes | None) -> ir.Model:
    import onnxscript.optimizer

    _refuse_training(program)
    torch = require_torch()
    with _quiet(), _refused(name):
        exported = torch.onnx.export(program, (), dynamo=True, optimize=False, verbose=False, opset_version=OPSET)
        onnxscript.optimizer.fold_constants(exported.model)
    model: ir.Model = exported.model
    _name_after_layers(model)
    model.graph.name = name
    loaded = load_bytes(ir.to_proto(model).SerializeToString(), name, shapes)
    _shorten_names(loaded)
    return loaded


def _arguments(torch: Any, example: object) -> tuple[Any, ...]:
    items = example if isinstance(example, Sequence) else (example,)
    found = tuple(torch.from_numpy(item) if isinstance(item, np.ndarray) else item for item in items)
    for item in found:
        if not isinstance(item, torch.Tensor):
            raise InputError(
                f"the example input holds {type(item).__name__}, expected tensors or arrays",
                hint="Pass one tensor, or a tuple of one for each argument of forward.",
            )
    return found


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """The module in evaluation mode; every part is put back into its own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings and log lines of the exporter, which are about torch's own code and absent extras."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def _refused(name: str) -> Iterator[None]:
    """What torch raises as an error of this project.

    ``Exception`` is meant: the user's ``forward`` runs in here, and the exporter raises errors of many bases.
    """
    try:
        yield
    except MicrolithError:
        raise
    except Exception as error:
        causes = _causes(error)
        text = _reason(causes[-1])
        if any(word in f"{type(cause).__name__}: {cause}" for cause in causes for word in _DYNAMIC):
            raise UnsupportedError(
                f"{name} decides by the values of a tensor what to compute next, and a compiled model cannot: {text}",
                hint=_BRANCH_HINT,
            ) from error
        if any("onnx" in type(cause).__module__ for cause in causes):
            raise UnsupportedError(f"{name} cannot be written as ONNX: {text}") from error
        raise InputError(f"torch cannot export {name}: {text}") from error


def _causes(error: BaseException) -> list[BaseException]:
    found = [error]
    while (cause := found[-1].__cause__) is not None and cause not in found:
        found.append(cause)
    return found


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _refuse_training(program: Any) -> None:
    """Refuse dropout and batch statistics that are active: the exported program computes them at random, or anew."""
    for node in program.graph.nodes:
        if node.op != "call_function" or not (found := getattr(node.target, "_schema", None)):
            continue
        for index, argument in enumerate(found.arguments):
            given = node.args[index] if index < len(node.args) else node.kwargs.get(argument.name)
            if argument.name in ("train", "training") and given is True:
                raise UnsupportedError(
                    "the exported program is in training mode", node=f"{node.name} ({found.name})", hint=_EVAL_HINT
                )


def _name_after_layers(model: ir.Model) -> None:
    """Name each node by the path of its layer and by its operator."""
    for node in model.graph:
        if layer := _layer(node):
            node.name = f"{layer}/{node.op_type}"


def _shorten_names(model: ir.Model) -> None:
    """Let a node that is alone in its layer have the name of the layer."""
    layers = {node: (node.name or "").rpartition("/")[0] for node in model.graph}
    sizes = Counter(layers.values())
    taken = {node.name for node in model.graph}
    for node, layer in layers.items():
        if layer and sizes[layer] == 1 and layer not in taken:
            node.name = layer


def _layer(node: ir.Node) -> str:
    """Path of the innermost module that a node comes from; the traced operation itself at the top level."""
    import ast

    text = node.metadata_props.get(_SCOPES)
    scopes = ast.literal_eval(text) if text else []
    return next((scope for scope in reversed(scopes[:-1]) if scope), "") or (scopes[-1] if scopes else "")
