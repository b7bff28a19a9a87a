"""Loads an ``.onnx`` or ``.tflite`` file that need not be trusted into the one form that everything else works on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError, UnsupportedError, VerificationError
from microlith.graph.admission import admit
from microlith.graph.functions import inline_functions
from microlith.graph.inference import infer_types
from microlith.graph.onnx_file import MAX_VALUE_ELEMENTS, parse_onnx, read_file, read_onnx
from microlith.graph.open_rows import check_open_rows, check_open_shapes, has_open_rows
from microlith.graph.opset import to_internal_opset
from microlith.graph.pass_base import Pass
from microlith.graph.passes.eliminate_dead_nodes import EliminateDeadNodes
from microlith.graph.passes.expand_functions import ExpandFunctions, expand_newer
from microlith.graph.passes.fold_constants import FoldConstants, lift_constants
from microlith.graph.passes.infer_shapes import InferShapes
from microlith.graph.passes.inline_constant_if import InlineConstantIf
from microlith.graph.passes.rewrite_blocked_qdq import RewriteBlockedQdq
from microlith.graph.passes.unroll_loops import UnrollLoops
from microlith.graph.pipeline import run_passes
from microlith.graph.state import caller_inputs, caller_outputs, read_states
from microlith.graph.subgraphs import has_subgraph
from microlith.graph.values import constant, describe, known_shape
from microlith.graph.verifier import verify

_TYPES = (
    ir.DataType.FLOAT,
    ir.DataType.INT2,
    ir.DataType.UINT2,
    ir.DataType.INT4,
    ir.DataType.UINT4,
    ir.DataType.INT8,
    ir.DataType.UINT8,
    ir.DataType.INT16,
    ir.DataType.UINT16,
    ir.DataType.INT32,
    ir.DataType.INT64,
    ir.DataType.UINT32,
    ir.DataType.UINT64,
    ir.DataType.BOOL,
)

_WEIGHTED = frozenset(
    (
        *("BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "DeformConv", "GRU", "Gemm"),
        *("GroupNormalization", "InstanceNormalization", "LSTM", "LayerNormalization", "MatMul", "Mul", "PRelu"),
        *("RMSNormalization", "RNN", "QuantizeLinear", "DequantizeLinear"),
    )
)
"""Operators whose constants are multiplied: infinity there is no bound or mask, but a training that diverged."""


SIMPLIFY: tuple[Pass, ...] = (
    ExpandFunctions(),
    InferShapes(),
    FoldConstants(),
    RewriteBlockedQdq(),
    InlineConstantIf(),
    UnrollLoops(),
    EliminateDeadNodes(),
)
"""What a model goes through before it is checked: afterwards shapes are known, and nothing is decided at run time."""


def load_model(path: Path | str, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ir.Model:
    """A checked model in the internal opset, every type and shape known, no Constant nodes.

    The file is taken as untrusted: sizes are bounded, external data lies in the model's own folder. Constants are
    lifted to initializers, shape arithmetic is folded, nodes without effect on the outputs are dropped.

    Args:
        path: an ``.onnx`` or a ``.tflite`` file.
        shapes: full shapes, the batch included, of inputs with dynamic dimensions, by input name.

    Raises:
        InputError: the file cannot be read, or a shape that is given does not fit the model.
        ModelError: the model is malformed, or needs a shape.
        UnsupportedError: the model is well-formed and uses what cannot be compiled.
    """
    path = Path(path)
    proto = read_tflite(path) if path.suffix == ".tflite" else read_onnx(path)
    return _load_proto(proto, str(path), shapes or {})


def load_bytes(data: bytes, origin: str, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ir.Model:
    """A checked model from the bytes of an ``.onnx`` file, without external data; see :func:`load_model`.

    Args:
        data: the bytes.
        origin: what they are called in errors.
        shapes: as for :func:`load_model`.
    """
    return _load_proto(parse_onnx(data, origin), origin, shapes or {})


def _load_proto(proto: Any, origin: str, shapes: Mapping[str, tuple[int, ...]]) -> ir.Model:
    inline_functions(proto)
    admit(proto, shapes)
    declared = {value.name: _declared(value) for value in proto.graph.output}
    _check_standard(proto, origin)
    model = _deserialize(proto, origin)
    lift_constants(model.graph)
    _check_finite(model)
    check_open_rows(model)
    expand_newer(model)
    to_internal_opset(model, infer_types(model))
    run_passes(model, SIMPLIFY)
    _refuse_control_flow(model)
    _check_finite(model)
    check_open_shapes(model)
    _check_types(model)
    _check_outputs(model, declared)
    check_states(model)
    try:
        verify(model)
    except VerificationError as error:
        raise ModelError(error.what, node=error.node) from error
    return model


def check_states(model: ir.Model) -> None:
    """Refuse states that do not fit the model, or that leave it without an input or an output.

    Raises:
        ModelError: see :func:`microlith.graph.state.read_states`.
        UnsupportedError: what is kept holds rows of which data decides how many count.
    """
    kept = {state.output for state in read_states(model)}
    for value in model.graph.outputs:
        if value.name in kept and has_open_rows(value):
            raise UnsupportedError(f"how many rows of {value.name!r} count depends on data, and it is a state")
    if kept:
        for what, left in (("input", caller_inputs(model)), ("output", caller_outputs(model))):
            if not left:
                raise ModelError(f"every {what} of the model is a state, expected at least one that is none")


def read_tflite(path: Path) -> Any:
    """The ModelProto of a ``.tflite`` file.

    Raises:
        InputError: the file cannot be read.
        ModelError: it is too large or malformed.
        UnsupportedError: it uses what cannot be imported.
    """
    from microlith.graph.tflite.read import onnx_of_tflite

    return onnx_of_tflite(read_file(path, "a .tflite file"), str(path))


def _refuse_control_flow(model: ir.Model) -> None:
    """Refuse what is still decided at run time."""
    node = next((node for node in model.graph if has_subgraph(node)), None)
    if node is not None:
        article = "an" if node.op_type == "If" else "a"
        raise UnsupportedError(
            f"{article} {node.op_type} that depends on computed values, or runs too often to be written out, is not "
            "supported",
            node=describe(node),
            hint="Export the model with constant control flow, for instance by tracing it.",
        )


def check_supported(model: ir.Model, supported: Collection[str]) -> None:
    """Refuse a model with an operator that is not in ``supported``, naming every such operator and its first node."""
    first: dict[str, ir.Node] = {}
    for node in model.graph:
        if node.op_type not in supported:
            first.setdefault(node.op_type, node)
    if first:
        nodes = ", ".join(describe(node) for node in first.values())
        raise UnsupportedError(
            f"operator {', '.join(first)} is not supported",
            node=nodes,
            hint="Replace it in the model, or export the model so that it is not needed.",
        )


def _check_standard(proto: Any, origin: str) -> None:
    import onnx

    for value in proto.graph.output:
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.SetInParent()  # the checker wants one, runtimes do not, and ours is inferred
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{origin} is not valid ONNX: {' '.join(str(error).split())[:500]}") from error


def _deserialize(proto: Any, origin: str) -> ir.Model:
    """The proto as a model with every initializer as an array in memory."""
    try:
        model = ir.serde.deserialize_model(proto)
        for value in model.graph.initializers.values():
            assert value.const_value is not None
            array = np.array(value.const_value.numpy())
            value.const_value = ir.tensor(array, dtype=value.const_value.dtype, name=value.name)
            value.shape, value.dtype = ir.Shape(array.shape), value.const_value.dtype
    except (ir.serde.SerdeError, ValueError, TypeError, KeyError, OverflowError) as error:
        # The parser of the library meets bytes that nobody vouches for; whatever it stumbles over is the file's fault.
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__  # it wraps the reason in the whole text of the part that it read
        raise ModelError(f"{origin} is malformed: {' '.join(str(cause).split())[:500]}") from error
    return model


def _check_finite(model: ir.Model) -> None:
    """Refuse NaN everywhere, and infinity among weights; elsewhere it is a bound, a mask or a fill value."""
    for name, value in model.graph.initializers.items():
        array = constant(value)
        if array is None or not np.issubdtype(array.dtype, np.floating) or np.isfinite(array).all():
            continue
        if np.isnan(array).any() or any(use.node.op_type in _WEIGHTED for use in value.uses()):
            kind = "NaN" if np.isnan(array).any() else "infinity"
            readers = ", ".join(describe(use.node) for use in value.uses())
            raise ModelError(
                f"the constant {name!r} contains {kind}, expected finite numbers",
                node=readers or None,
                hint="The training probably diverged: export a model with finite weights.",
            )


def _check_types(model: ir.Model) -> None:
    for value in model.graph.initializers.values():
        _check_dtype(value, None)
    for value in model.graph.inputs:
        _check_size(value, None)
    for node in model.graph:
        for value in node.outputs:
            if not value.name:
                continue
            _check_dtype(value, node)
            if known_shape(value) is None:
                raise ModelError(
                    f"the shape of {value.name!r} is {value.shape or 'not known'}, expected known sizes",
                    node=describe(node),
                    hint="Give the shapes of all inputs with --shape, or export the model with static shapes.",
                )
            _check_size(value, node)


def _check_size(value: ir.Value, node: ir.Node | None) -> None:
    shape = known_shape(value) or ()
    if math.prod(shape) > MAX_VALUE_ELEMENTS:
        raise ModelError(
            f"{value.name!r} has the shape {list(shape)}, expected at most {MAX_VALUE_ELEMENTS:,} elements",
            node=None if node is None else describe(node),
            hint="Give smaller inputs, for instance with --shape where a dimension is open.",
        )


def _check_dtype(value: ir.Value, node: ir.Node | None) -> None:
    if value.dtype not in _TYPES:
        raise UnsupportedError(
            f"{value.name!r} has type {value.dtype}, and computing in it is not supported",
            node=None if node is None else describe(node),
            hint="Export the model in float32.",
        )


def _declared(value: Any) -> tuple[int, tuple[int | None, ...] | None]:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    dims = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim)
    return tensor.elem_type, dims


def _check_outputs(model: ir.Model, declared: Mapping[str, tuple[int, tuple[int | None, ...] | None]]) -> None:
    """Refuse outputs that are no result of the inputs, or not what the model declares."""
    depends = set(model.graph.inputs)
    for node in model.graph:
        if any(value in depends for value in node.inputs):
            depends.update(node.outputs)
    for value in model.graph.outputs:
        if value.producer() is None:
            raise UnsupportedError(f"the output {value.name!r} is an input or a constant itself, expected a result")
        if value not in depends:
            raise UnsupportedError(f"the output {value.name!r} does not depend on any input")
        assert value.name is not None and value.dtype is not None
        number, dims = declared[value.name]
        shape = known_shape(value) or ()
        if dims and has_open_rows(value):
            dims = (None, *dims[1:])
        fits = dims is None or (
            len(dims) == len(shape) and all(want in (None, got) for want, got in zip(dims, shape, strict=True))
        )
        if int(value.dtype) != number or not fits:
            raise ModelError(
                f"the output {value.name!r} is declared as {ir.DataType(number)} {dims} and comes out as "
                f"{value.dtype} {shape}",
                hint="Export the model again, with the shapes that are used here.",
            )
