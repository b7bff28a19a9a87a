"""Convolutions and matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from microlith.core.errors import ModelError
from microlith.graph.tflite.importer import Array, Importer
from microlith.graph.tflite.windows import padding_name, windows


def _weights(imp: Importer, position: int, rank: int) -> Array:
    index = imp.input(position)
    tensor = imp.tensor(index)
    imp.shape(index, rank)
    if tensor.values is None or not imp.is_constant(index):
        raise imp.refuse(f"the weights {tensor.name!r} are computed, expected a constant")
    if 0 in tensor.shape:
        raise ModelError(f"the weights {tensor.name!r} have the shape {list(tensor.shape)}", node=imp.where)
    return tensor.values


def _biased(imp: Importer, position: int, x: int, weights: int) -> list[str]:
    index = imp.optional(position)
    return [] if index is None else [imp.bias(index, x, weights)]


def conv_2d(imp: Importer) -> None:
    """CONV_2D: weights O,KH,KW,I; fewer input channels than the image has mean groups."""
    x, w = imp.input(0), imp.input(1)
    values = _weights(imp, 1, 4)
    _, height, width, channels = imp.shape(x, 4)
    if channels % values.shape[3]:
        raise ModelError(f"weights over {values.shape[3]} channels, and the image has {channels}", node=imp.where)
    operands = [imp.real(x, "nchw"), imp.weights(w, values.transpose(0, 3, 1, 2), _axis(imp, w, {0: 0}))]
    _convolve(imp, operands, x, w, (height, width), (values.shape[1], values.shape[2]), channels // values.shape[3])


def depthwise_conv_2d(imp: Importer) -> None:
    """DEPTHWISE_CONV_2D: weights 1,KH,KW,C*M."""
    x, w = imp.input(0), imp.input(1)
    values = _weights(imp, 1, 4)
    _, height, width, channels = imp.shape(x, 4)
    if values.shape[0] != 1 or channels == 0 or values.shape[3] % channels:
        raise ModelError(f"weights {values.shape} do not fit {channels} channels", node=imp.where)
    operands = [imp.real(x, "nchw"), imp.weights(w, values.transpose(3, 0, 1, 2), _axis(imp, w, {3: 0}))]
    _convolve(imp, operands, x, w, (height, width), (values.shape[1], values.shape[2]), channels)


def _convolve(
    imp: Importer, operands: list[str], x: int, w: int, size: tuple[int, int], kernel: tuple[int, int], groups: int
) -> None:
    found = windows(imp, size, kernel)
    y = imp.node(
        "Conv",
        [*operands, *_biased(imp, 2, x, w)],
        kernel_shape=found.kernel,
        strides=found.strides,
        dilations=found.dilations,
        pads=found.pads,
        group=groups,
    )
    imp.finish(y, "nchw", activation=imp.operator.options["activation"])


def _axis(imp: Importer, index: int, places: Mapping[int, int]) -> int | None:
    qparams = imp.tensor(index).qparams
    if qparams is None or qparams.axis is None:
        return None
    if qparams.axis not in places:
        raise imp.refuse(f"the weights have scales along axis {qparams.axis}, expected {list(places)}")
    return places[qparams.axis]


def transpose_conv(imp: Importer) -> None:
    """TRANSPOSE_CONV: weights O,KH,KW,I; the shape of the result is an input, which decides the padding."""
    w, x = imp.input(1), imp.input(2)
    values = _weights(imp, 1, 4)
    _, height, width, _ = imp.shape(x, 4)
    out = imp.shape(imp.output(), 4)
    options = imp.operator.options
    strides = options["stride_h"], options["stride_w"]
    if min(strides) < 1:
        raise ModelError(f"strides of {strides}, expected positive numbers", node=imp.where)
    before, after, beyond = [], [], []
    for size, wanted, taps, stride in zip((height, width), out[1:3], values.shape[1:3], strides, strict=True):
        total = (size - 1) * stride + taps - wanted
        same = padding_name(imp) == "SAME"
        before.append(max(total, 0) // 2 if same else 0)
        after.append(max(total, 0) - before[-1])
        beyond.append(max(-total, 0))
    y = imp.node(
        "ConvTranspose",
        [
            imp.real(x, "nchw"),
            imp.weights(w, values.transpose(3, 0, 1, 2), _axis(imp, w, {0: 1})),
            *_biased(imp, 3, x, w),
        ],
        kernel_shape=values.shape[1:3],
        strides=strides,
        pads=[*before, *after],
        output_padding=beyond,
    )
    imp.finish(y, "nchw", activation=options["activation"])


def fully_connected(imp: Importer) -> None:
    """FULLY_CONNECTED: rows of K by weights O,K."""
    x, w = imp.input(0), imp.input(1)
    if imp.operator.options["weights_format"]:
        raise imp.refuse("weights in a shuffled format cannot be imported")
    values = _weights(imp, 1, 2)
    outputs, depth = values.shape
    shape, out = imp.shape(x), imp.shape(imp.output())
    if math.prod(shape) % depth:
        raise ModelError(f"an input of shape {list(shape)} does not consist of rows of {depth}", node=imp.where)
    rows = math.prod(shape) // depth
    source = _reshaped(imp, x, (rows, depth))
    operands = [source, imp.weights(w, values, _axis(imp, w, {0: 0})), *_biased(imp, 2, x, w)]
    y = imp.node("Gemm", operands, transB=1)
    if out == (rows, outputs):
        imp.finish(y, activation=imp.operator.options["activation"])
        return
    flat = imp.quantized_result(y, imp.operator.options["activation"])
    if math.prod(out) != rows * outputs:
        raise ModelError(f"the result has the shape {list(out)}, expected {rows} rows of {outputs}", node=imp.where)
    imp.keep(imp.node("Reshape", [flat, imp.ints(out, "shape")]), "own", imp.output())


def _reshaped(imp: Importer, index: int, shape: tuple[int, ...]) -> str:
    """The tensor to compute with, in another shape; integers are reshaped before they are dequantized."""
    if imp.shape(index) == shape:
        return imp.real(index)
    return imp.real_of(imp.node("Reshape", [imp.stored(index), imp.ints(shape, "rows")]), index)


def batch_matmul(imp: Importer) -> None:
    """BATCH_MATMUL: either operand may be transposed."""
    operands = []
    for position, key in ((0, "adj_x"), (1, "adj_y")):
        index = imp.input(position)
        tensor = imp.tensor(index)
        rank = len(tensor.shape)
        if not imp.operator.options[key]:
            operands.append(imp.real(index))
            continue
        if rank < 2:
            raise ModelError(f"an operand of shape {list(tensor.shape)} has no matrix", node=imp.where)
        perm = [*range(rank - 2), rank - 1, rank - 2]
        if imp.is_constant(index) and tensor.values is not None:
            places = {axis: place for place, axis in enumerate(perm)}
            operands.append(imp.weights(index, tensor.values.transpose(perm), _axis(imp, index, places)))
        else:
            operands.append(imp.real_of(imp.node("Transpose", [imp.stored(index)], perm=perm), index))
    imp.finish(imp.node("MatMul", operands))


def conv_3d(imp: Importer) -> None:
    """CONV_3D of floats: weights KD,KH,KW,I,O."""
    imp.float_only()
    x, w = imp.input(0), imp.input(1)
    values = _weights(imp, 1, 5)
    options = imp.operator.options
    strides, dilations = ([options[f"{what}_{axis}"] for axis in "dhw"] for what in ("stride", "dilation"))
    if min(*strides, *dilations) < 1:
        raise ModelError(f"strides {strides} and dilations {dilations}, expected positive numbers", node=imp.where)
    pads = [0] * 6
    if padding_name(imp) == "SAME":
        for axis, size in enumerate(imp.shape(x, 5)[1:4]):
            window = (values.shape[axis] - 1) * dilations[axis] + 1
            total = max((-(-size // strides[axis]) - 1) * strides[axis] + window - size, 0)
            pads[axis], pads[axis + 3] = total // 2, total - total // 2
    source = imp.node("Transpose", [imp.real(x)], perm=(0, 4, 1, 2, 3))
    kernel = imp.constant(np.asarray(values, np.float32).transpose(4, 3, 0, 1, 2), imp.tensor(w).name)
    operands = [source, kernel, *_biased(imp, 2, x, w)]
    attributes: dict[str, Any] = {
        "kernel_shape": values.shape[:3],
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
    }
    y = imp.node("Transpose", [imp.node("Conv", operands, **attributes)], perm=(0, 2, 3, 4, 1))
    imp.finish(y, activation=options["activation"])


HANDLERS: Mapping[str, Callable[[Importer], None]] = {
    "BATCH_MATMUL": batch_matmul,
    "CONV_2D": conv_2d,
    "CONV_3D": conv_3d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "FULLY_CONNECTED": fully_connected,
    "TRANSPOSE_CONV": transpose_conv,
}
