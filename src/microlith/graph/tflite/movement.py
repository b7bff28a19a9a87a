"""Operators that move elements: shapes, slices, joins, paddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.graph.tflite.importer import NCHW_AXIS, Importer
from microlith.quant.types import QArray

Handler = Callable[[Importer], None]


def _axis(imp: Importer, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ModelError(f"axis {axis} of a tensor of {rank} dimensions", node=imp.where)
    return axis % rank


def _moved(imp: Importer, op_type: str, extra: Sequence[str] = (), **attributes: Any) -> None:
    """One input whose elements move as they are stored, where the result means them alike."""
    index = imp.input(0)
    if imp.moves_integers:
        imp.keep(imp.node(op_type, [imp.stored(index), *extra], **attributes), "own", imp.output())
    else:
        imp.finish(imp.node(op_type, [imp.real(index), *extra], **attributes))


def _reshape(imp: Importer) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the file states the shape of the result."""
    source, out = imp.shape(imp.input(0)), imp.shape(imp.output())
    if math.prod(source) != math.prod(out):
        raise ModelError(f"shape {list(source)} becomes {list(out)}, which has other elements", node=imp.where)
    _moved(imp, "Reshape", [imp.ints(out, "shape")])


def _transpose(imp: Importer) -> None:
    perm = imp.integers(1)
    if sorted(perm) != list(range(len(imp.shape(imp.input(0))))):
        raise ModelError(f"the permutation is {list(perm)}", node=imp.where)
    _moved(imp, "Transpose", perm=perm)


def _concatenation(imp: Importer) -> None:
    inputs = [imp.input(position) for position in range(len(imp.operator.inputs))]
    rank = len(imp.shape(imp.output()))
    axis = _axis(imp, imp.operator.options["axis"], rank)
    layout = imp.layout_of(inputs, imp.output())
    y = imp.node(
        "Concat",
        [imp.real(index, layout) for index in inputs],
        axis=NCHW_AXIS[axis] if layout == "nchw" else axis,
    )
    imp.finish(y, layout, activation=imp.operator.options["activation"])


def _pad(imp: Importer) -> None:
    """PAD with the real value 0, PADV2 with a constant."""
    index, pairs = imp.input(0), _pad_widths(imp)
    layout = imp.layout_of([index], imp.output())
    if layout == "nchw":
        pairs = pairs[[0, 3, 1, 2]]
    inputs = [imp.real(index, layout), imp.ints(pairs.T.reshape(-1).tolist(), "pads")]
    if imp.operator.name == "PADV2":
        inputs.append(_known_value(imp, imp.input(2)))
    imp.finish(imp.node("Pad", inputs), layout)


def _known_value(imp: Importer, index: int) -> str:
    """A constant as the real number that it is; a computed one as it is."""
    tensor = imp.tensor(index)
    if tensor.values is None or tensor.qparams is None or not imp.is_constant(index):
        return imp.real(index)
    return imp.constant(QArray(tensor.values, tensor.qparams).dequantize(), f"{imp.layer}/value")


def _pad_widths(imp: Importer) -> NDArray[np.int64]:
    """Elements before and after each axis of the first input."""
    rank = len(imp.shape(imp.input(0)))
    widths = np.asarray(imp.integers(1), np.int64)
    if widths.size != 2 * rank or (widths < 0).any():
        raise ModelError(f"paddings {widths.tolist()} for {rank} dimensions", node=imp.where)
    return widths.reshape(rank, 2)


def _mirror_pad(imp: Importer) -> None:
    if imp.operator.options["mode"] != 0:
        raise imp.refuse("a symmetric MIRROR_PAD (that repeats the edge) cannot be imported")
    _moved(imp, "Pad", [imp.ints(_pad_widths(imp).T.reshape(-1).tolist(), "pads")], mode="reflect")


def _slice(imp: Importer) -> None:
    begin, sizes, shape = imp.integers(1), imp.integers(2), imp.shape(imp.input(0))
    if len(begin) != len(shape) or len(sizes) != len(shape):
        raise ModelError(f"a slice from {begin} of {sizes} of the shape {list(shape)}", node=imp.where)
    ends = [extent if size < 0 else at + size for at, size, extent in zip(begin, sizes, shape, strict=True)]
    _sliced(imp, begin, ends, [1] * len(shape))


def _sliced(imp: Importer, begin: Sequence[int], end: Sequence[int], step: Sequence[int]) -> None:
    extra = [imp.ints(items, what) for items, what in ((begin, "starts"), (end, "ends"))]
    _moved(imp, "Slice", [*extra, imp.ints(range(len(begin)), "axes"), imp.ints(step, "steps")])


def _strided_slice(imp: Importer) -> None:
    """STRIDED_SLICE, also where it drops an axis of which it takes one element."""
    options, shape = imp.operator.options, imp.shape(imp.input(0))
    begin, end, step = (list(imp.integers(position)) for position in (1, 2, 3))
    if options["ellipsis_mask"] or options["new_axis_mask"] or options["offset"]:
        raise imp.refuse("an ellipsis, a new axis or an offset in STRIDED_SLICE cannot be imported")
    if not len(begin) == len(end) == len(step) or len(begin) > len(shape) or 0 in step:
        raise ModelError(f"a slice from {begin} to {end} by {step} of {list(shape)}", node=imp.where)
    for axis in range(len(begin)):
        forward = step[axis] > 0
        if options["begin_mask"] >> axis & 1:
            begin[axis] = 0 if forward else shape[axis] - 1
        if options["end_mask"] >> axis & 1:
            end[axis] = shape[axis] if forward else -shape[axis] - 1
        if options["shrink_axis_mask"] >> axis & 1:
            begin[axis] %= max(shape[axis], 1)
            end[axis], step[axis] = begin[axis] + 1, 1
    if not options["shrink_axis_mask"]:
        _sliced(imp, begin, end, step)
        return
    index = imp.input(0)
    source = imp.stored(index) if imp.moves_integers else imp.real(index)
    extra = [imp.ints(items, what) for items, what in ((begin, "starts"), (end, "ends"))]
    cut = imp.node("Slice", [source, *extra, imp.ints(range(len(begin)), "axes"), imp.ints(step, "steps")])
    y = imp.node("Reshape", [cut, imp.ints(imp.shape(imp.output()), "shape")])
    if imp.moves_integers:
        imp.keep(y, "own", imp.output())
    else:
        imp.finish(y)


def _parts(imp: Importer, index: int, axis: int, sizes: Sequence[int], shapes: Sequence[Sequence[int]] | None) -> None:
    """The parts of a tensor along an axis, as the results of the operator, in other shapes if some are given."""
    if len(sizes) != len(imp.operator.outputs):
        raise ModelError(f"{len(imp.operator.outputs)} results of {len(sizes)} parts", node=imp.where)
    raw = imp.moves_integers
    source = imp.stored(index) if raw else imp.real(index)
    names = imp.multi("Split", [source, imp.ints(sizes, "sizes")], len(sizes), axis=axis)
    for place, name in enumerate(names):
        if shapes is not None:
            name = imp.node("Reshape", [name, imp.ints(shapes[place], "shape")])
        if raw:
            imp.keep(name, "own", imp.output(place))
        else:
            imp.finish(name, output=imp.output(place))


def _split(imp: Importer) -> None:
    """SPLIT: the axis comes first; all parts are equal."""
    index, count = imp.input(1), len(imp.operator.outputs)
    shape = imp.shape(index)
    axis = _axis(imp, imp.integer(0), len(shape))
    if count == 0 or shape[axis] % count:
        raise ModelError(f"{shape[axis]} elements in {count} equal parts", node=imp.where)
    imp.source = index
    _parts(imp, index, axis, [shape[axis] // count] * count, None)


def _split_v(imp: Importer) -> None:
    index = imp.input(0)
    shape = imp.shape(index)
    axis, sizes = _axis(imp, imp.integer(2), len(shape)), list(imp.integers(1))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = shape[axis] - sum(size for size in sizes if size >= 0)
    if min(sizes, default=0) < 0 or sum(sizes) != shape[axis]:
        raise ModelError(f"parts of {sizes} of {shape[axis]} elements", node=imp.where)
    _parts(imp, index, axis, sizes, None)


def _unpack(imp: Importer) -> None:
    index = imp.input(0)
    shape = imp.shape(index)
    axis = _axis(imp, imp.operator.options["axis"], len(shape))
    if shape[axis] != len(imp.operator.outputs):
        raise ModelError(f"{len(imp.operator.outputs)} results of {shape[axis]} parts", node=imp.where)
    rest = [*shape[:axis], *shape[axis + 1 :]]
    _parts(imp, index, axis, [1] * shape[axis], [rest] * shape[axis])


def _pack(imp: Importer) -> None:
    inputs = [imp.input(position) for position in range(len(imp.operator.inputs))]
    shape = list(imp.shape(imp.output()))
    axis = _axis(imp, imp.operator.options["axis"], len(shape))
    shape[axis] = 1
    parts = [imp.real_of(imp.node("Reshape", [imp.stored(i), imp.ints(shape, "shape")]), i) for i in inputs]
    imp.finish(imp.node("Concat", parts, axis=axis))


def _tile(imp: Importer) -> None:
    _moved(imp, "Tile", [imp.ints(imp.integers(1), "repeats")])


def _broadcast_to(imp: Importer) -> None:
    _moved(imp, "Expand", [imp.ints(imp.shape(imp.output()), "shape")])


def _reverse(imp: Importer) -> None:
    shape = imp.shape(imp.input(0))
    axes = [_axis(imp, axis, len(shape)) for axis in imp.integers(1)]
    least = np.iinfo(np.int64).min
    extra = [imp.ints([value] * len(axes), what) for value, what in ((-1, "starts"), (least, "ends"))]
    _moved(imp, "Slice", [*extra, imp.ints(axes, "axes"), imp.ints([-1] * len(axes), "steps")])


def _block(imp: Importer) -> None:
    """SPACE_TO_DEPTH and DEPTH_TO_SPACE, whose channels lie as ONNX has them (depth, column, row)."""
    index, block = imp.input(0), imp.operator.options["block"]
    if block < 1:
        raise ModelError(f"a block of {block}, expected at least 1", node=imp.where)
    imp.shape(index, 4)
    op_type = "DepthToSpace" if imp.operator.name == "DEPTH_TO_SPACE" else "SpaceToDepth"
    imp.finish(imp.node(op_type, [imp.real(index, "nchw")], blocksize=block), "nchw")


def _gather(imp: Importer) -> None:
    options = imp.operator.options
    rank = len(imp.shape(imp.input(0)))
    if options["batch_dims"]:
        raise imp.refuse(f"GATHER with {options['batch_dims']} batch dimensions cannot be imported")
    _moved(imp, "Gather", [imp.stored(imp.input(1))], axis=_axis(imp, options["axis"], rank))


def _gather_nd(imp: Importer) -> None:
    indices = imp.node("Cast", [imp.stored(imp.input(1))], to=_INT64)
    _moved(imp, "GatherND", [indices])


def _embedding_lookup(imp: Importer) -> None:
    table = imp.real(imp.input(1))
    imp.finish(imp.node("Gather", [table, imp.stored(imp.input(0))], axis=0))


def _scatter_nd(imp: Importer) -> None:
    """SCATTER_ND: values that meet are added up."""
    zeros = imp.constant(np.zeros(imp.made(imp.output()), np.float32), f"{imp.layer}/zeros")
    imp.float_only()
    indices = imp.node("Cast", [imp.stored(imp.input(0))], to=_INT64)
    imp.finish(imp.node("ScatterND", [zeros, indices, imp.real(imp.input(1))], reduction="add"))


def _resize(imp: Importer) -> None:
    """RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR."""
    index, options = imp.input(0), imp.operator.options
    imp.shape(index, 4)
    batch, height, width, channels = imp.shape(imp.output(), 4)
    corners, centers = options["align_corners"], options["half_pixel_centers"]
    place = "align_corners" if corners else "half_pixel" if centers else "asymmetric"
    attributes: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": place}
    if imp.operator.name == "RESIZE_NEAREST_NEIGHBOR":
        rounding = "round_prefer_ceil" if corners or centers else "floor"
        attributes |= {"mode": "nearest", "nearest_mode": rounding}
    sizes = imp.ints((batch, channels, height, width), "sizes")
    imp.finish(imp.node("Resize", [imp.real(index, "nchw"), "", "", sizes], **attributes), "nchw")


_INT64 = 7  # onnx.TensorProto.INT64

HANDLERS: Mapping[str, Handler] = {
    "BROADCAST_TO": _broadcast_to,
    "CONCATENATION": _concatenation,
    "DEPTH_TO_SPACE": _block,
    "EMBEDDING_LOOKUP": _embedding_lookup,
    "EXPAND_DIMS": _reshape,
    "GATHER": _gather,
    "GATHER_ND": _gather_nd,
    "MIRROR_PAD": _mirror_pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "REVERSE_V2": _reverse,
    "SCATTER_ND": _scatter_nd,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _block,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
