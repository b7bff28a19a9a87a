"""Operators with windows over images, and those that resize and rearrange images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from microlith.graph.tflite.channels_last import is_channels_last
from microlith.graph.tflite.exporter import Exporter
from microlith.graph.units import Unit
from microlith.graph.values import constant, real, static_shape
from microlith.ops.average_pool import AveragePoolAttrs
from microlith.ops.conv import ConvAttrs
from microlith.ops.max_pool import MaxPoolAttrs
from microlith.ops.resize import ResizeAttrs
from microlith.quant.types import QParams, stored
from microlith.quant.windows import Geometry

_SAME, _VALID = 0, 1


def _image(exp: Exporter, unit: Unit) -> int:
    """The operand as N,H,W,C; a sequence N,L,C is an image of one row."""
    x = exp.operand(unit, 0)
    if not is_channels_last(unit.node):
        raise exp.refuse(unit, f"{unit.node.op_type} over {len(exp.shape(x)) - 2} axes cannot be written")
    shape = exp.shape(x)
    return x if len(shape) == 4 else exp.reshaped(unit, x, (shape[0], 1, *shape[1:]))


def _first(shape: Sequence[int]) -> tuple[int, ...]:
    """N,H,W,C (N,L,C) as N,C,H,W (N,C,L)."""
    return (shape[0], shape[-1], *shape[1:-1])


def _geometry(exp: Exporter, unit: Unit, attrs: ConvAttrs | MaxPoolAttrs | AveragePoolAttrs) -> Geometry:
    return attrs.spatial.geometry(_first(static_shape(exp.given(unit, 0).value)))


def _written(geometry: Geometry, channels: int, batch: int) -> tuple[int, ...]:
    return (batch, *geometry.output, channels)


def _after(geometry: Geometry, axis: int) -> int:
    """Padding behind the last window that holds it whole, and no more; negative where elements are left over."""
    window = (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1
    last = (geometry.output[axis] - 1) * geometry.stride[axis] - geometry.pad[axis] + window
    return last - geometry.size[axis]


def _is_same(geometry: Geometry) -> bool:
    """Whether the windows are those of SAME."""
    for axis in (0, 1):
        window = (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1
        output = -(-geometry.size[axis] // geometry.stride[axis])
        total = max((output - 1) * geometry.stride[axis] + window - geometry.size[axis], 0)
        if geometry.output[axis] != output or geometry.pad[axis] != total // 2:
            return False
    return True


def _is_valid(geometry: Geometry) -> bool:
    """Whether every window lies inside, and there is none more."""
    return all(geometry.pad[axis] == 0 and -geometry.stride[axis] < _after(geometry, axis) <= 0 for axis in (0, 1))


def _windows(exp: Exporter, unit: Unit, x: int, geometry: Geometry, least: bool = False) -> tuple[int, int]:
    """The operand and the number of its padding: as one of the two that operators know, or padded before.

    Args:
        exp: the export.
        unit: of the operator.
        x: N,H,W,C.
        geometry: the windows.
        least: whether padding is the least number of the type, and not zero.
    """
    if _is_valid(geometry):
        return x, _VALID
    if _is_same(geometry):
        return x, _SAME
    widths = [(0, 0), *((geometry.pad[axis], max(_after(geometry, axis), 0)) for axis in (0, 1)), (0, 0)]
    if any(_after(geometry, axis) <= -geometry.stride[axis] for axis in (0, 1)):
        raise exp.refuse(unit, "its windows leave out so much of the image that no padding gives them")
    shape = exp.shape(x)
    padded = exp.like(
        x, f"{unit.node.name}/padded", [size + sum(width) for size, width in zip(shape, widths, strict=True)]
    )
    inputs = [x, exp.ints(widths, unit, "paddings")]
    if least:
        tensor = exp.tensors[x]
        low = np.finfo(np.float32).min if tensor.qparams is None else tensor.qparams.low
        inputs.append(exp.constant(np.asarray(low, tensor.dtype), f"{unit.node.name}/least", tensor.qparams))
    exp.emit("PADV2" if least else "PAD", inputs, [padded])
    return padded, _VALID


def _conv(exp: Exporter, unit: Unit) -> None:
    """Conv: weights O,KH,KW,I, or 1,KH,KW,O where each filter sees one of several channels."""
    attrs = exp.attrs(unit)
    if not isinstance(attrs, ConvAttrs):
        raise exp.refuse(unit, "Conv over three axes cannot be written")
    x = _image(exp, unit)
    geometry = _geometry(exp, unit, attrs)
    rows = len(exp.given(unit, 1).value.shape or ()) == 3
    if attrs.is_depthwise:
        weights = exp.weights(unit, 1, (1, 2, 0) if rows else (1, 2, 3, 0))
    else:
        weights = exp.weights(unit, 1, (0, 2, 1) if rows else (0, 2, 3, 1))
    if rows:
        weights = _with_row(exp, weights)
    bias = exp.bias(unit, x, weights, attrs.filters)
    x, padding = _windows(exp, unit, x, geometry)
    shape = _written(geometry, attrs.filters, exp.shape(x)[0])
    options: dict[str, Any] = _strides(geometry) | {
        "dilation_h": geometry.dilation[0],
        "dilation_w": geometry.dilation[1],
    }
    if attrs.is_depthwise:
        options["multiplier"] = attrs.filters // attrs.channels
    name = "DEPTHWISE_CONV_2D" if attrs.is_depthwise else "CONV_2D"
    exp.finish(unit, name, [x, weights, bias], shape=shape, padding=padding, **options)


def _with_row(exp: Exporter, weights: int) -> int:
    """Weights of a sequence, A,K,B, as those of an image of one row, A,1,K,B."""
    tensor = exp.tensors[weights]
    if tensor.values is None:
        raise AssertionError("weights of a layer are constants")
    qparams = tensor.qparams
    if qparams is not None and qparams.axis:
        qparams = replace(qparams, axis=qparams.axis + 1)
    values = tensor.values[:, None]
    exp.tensors[weights] = replace(tensor, values=values, shape=values.shape, qparams=qparams)
    return weights


def _strides(geometry: Geometry) -> dict[str, Any]:
    return {"stride_h": geometry.stride[0], "stride_w": geometry.stride[1]}


def _conv_transpose(exp: Exporter, unit: Unit) -> None:
    """ConvTranspose: weights O,KH,KW,I; where the padding is not one of the two, the whole is made and cut."""
    attrs = exp.attrs(unit)
    volume = attrs.volume
    x = _image(exp, unit)
    if volume.rank > 2 or attrs.groups != 1 or any(step != 1 for step in volume.dilation):
        raise exp.refuse(unit, "ConvTranspose with groups or dilations, or over three axes, cannot be written")
    found = attrs.geometry(_first(static_shape(exp.given(unit, 0).value)))
    rows = volume.rank == 1
    weights = exp.weights(unit, 1, (1, 2, 0) if rows else (1, 2, 3, 0))
    if rows:
        weights = _with_row(exp, weights)
    axes = [_Transposed(1, 1, 1, 0, 1)] if rows else []
    axes += [
        _Transposed(size, taps, stride, before, output)
        for size, taps, stride, before, output in zip(
            found.size, found.kernel, found.stride, found.before, found.output, strict=True
        )
    ]
    batch = exp.shape(x)[0]
    cut = not (all(axis.is_valid for axis in axes) or all(axis.is_same for axis in axes))
    padding = _SAME if all(axis.is_same for axis in axes) else _VALID
    shape = (batch, *(axis.whole if cut else axis.output for axis in axes), attrs.filters)
    inputs = [exp.ints(shape, unit, "shape"), weights, x, exp.bias(unit, x, weights, attrs.filters)]

    def sliced(whole: int, part: int) -> None:
        begin = exp.ints([0, *(axis.before for axis in axes), 0], unit, "begin")
        sizes = (batch, *(axis.output for axis in axes), attrs.filters)
        image = exp.like(part, f"{unit.node.name}/cut", sizes) if rows else part
        exp.emit("SLICE", [whole, begin, exp.ints(sizes, unit, "size")], [image])
        if rows:
            exp.reshape(unit, image, part)

    options: dict[str, Any] = {"padding": padding, "stride_h": axes[0].stride, "stride_w": axes[1].stride}
    exp.finish(unit, "TRANSPOSE_CONV", inputs, shape=shape, last=sliced if cut else None, **options)


@dataclass(frozen=True)
class _Transposed:
    """One axis of a transposed convolution: what it reads, its windows, and what it cuts off in front of its result."""

    size: int
    taps: int
    stride: int
    before: int
    output: int

    @property
    def whole(self) -> int:
        """Elements of the result before any are cut off, with those that no product reaches."""
        return max((self.size - 1) * self.stride + self.taps, self.before + self.output)

    @property
    def is_valid(self) -> bool:
        """Whether the runtime finds the result by VALID padding."""
        return self.before == 0 and (self.output - self.taps) // self.stride + 1 == self.size

    @property
    def is_same(self) -> bool:
        """Whether the runtime finds the result by SAME padding."""
        total = max((self.size - 1) * self.stride + self.taps - self.output, 0)
        return self.before == total // 2 and -(-self.output // self.stride) == self.size


def _max_pool(exp: Exporter, unit: Unit) -> None:
    attrs = exp.attrs(unit)
    if not isinstance(attrs, MaxPoolAttrs):
        raise exp.refuse(unit, "MaxPool over three axes, or with indices, cannot be written")
    _pool(exp, unit, attrs, "MAX_POOL_2D", least=True)


def _average_pool(exp: Exporter, unit: Unit) -> None:
    """AveragePool: padding that does not count is that of SAME only; padding that counts is made before."""
    attrs = exp.attrs(unit)
    if not isinstance(attrs, AveragePoolAttrs):
        raise exp.refuse(unit, "AveragePool over three axes cannot be written")
    geometry = _geometry(exp, unit, attrs)
    if not attrs.count_include_pad and not (_is_valid(geometry) or _is_same(geometry)):
        raise exp.refuse(
            unit,
            f"AveragePool whose padding {geometry.pad} does not count, and is not that of SAME, cannot be written",
            "Pad before it, or let the padding count (count_include_pad).",
        )
    if unit.kind == "integer" and unit.output.qparams is not None and geometry.kernel == geometry.size:
        qx = exp.given(unit, 0).qparams
        if geometry.output == (1, 1) and qx is not None and not qx.same(unit.output.qparams):
            exp.remark(unit, "the average of a whole image is a MEAN, whose rounding differs now and then by a quantum")
            _mean_of_image(exp, unit)
            return
    _pool(exp, unit, attrs, "AVERAGE_POOL_2D", counts=attrs.count_include_pad)


def _pool(
    exp: Exporter,
    unit: Unit,
    attrs: MaxPoolAttrs | AveragePoolAttrs,
    name: str,
    *,
    least: bool = False,
    counts: bool = False,
) -> None:
    geometry = _geometry(exp, unit, attrs)
    if geometry.dilation != (1, 1):
        raise exp.refuse(unit, f"{unit.node.op_type} with dilations {geometry.dilation} cannot be written")
    x = _image(exp, unit)
    meaning = exp.tensors[x].qparams
    if counts and not _is_valid(geometry):
        x, padding = _padded_with_zeros(exp, unit, x, geometry), _VALID
    else:
        x, padding = _windows(exp, unit, x, geometry, least)
    shape = _written(geometry, exp.shape(x)[3], exp.shape(x)[0])
    if name == "AVERAGE_POOL_2D" and meaning is not None and unit.output.qparams is not None:
        _say_twice(exp, unit, meaning)
    options: dict[str, Any] = {"filter_h": geometry.kernel[0], "filter_w": geometry.kernel[1], "padding": padding}
    exp.finish(unit, name, [x], shape=shape, meaning=meaning, **options, **_strides(geometry))


def _say_twice(exp: Exporter, unit: Unit, meaning: QParams) -> None:
    assert unit.output.qparams is not None, "asked before"
    if not meaning.same(stored(unit.output.qparams)):
        exp.remark(unit, "averages have the scale of what is averaged, and are rounded again to that of the result")


def _padded_with_zeros(exp: Exporter, unit: Unit, x: int, geometry: Geometry) -> int:
    """The operand with all the padding that counts; a window that reaches beyond it counts no more."""
    if any(_after(geometry, axis) > geometry.pad[axis + 2] for axis in (0, 1)):
        raise exp.refuse(unit, "AveragePool whose last windows reach beyond the padding that counts cannot be written")
    widths = [(0, 0), *((geometry.pad[axis], max(_after(geometry, axis), 0)) for axis in (0, 1)), (0, 0)]
    shape = [size + sum(width) for size, width in zip(exp.shape(x), widths, strict=True)]
    padded = exp.like(x, f"{unit.node.name}/padded", shape)
    exp.emit("PAD", [x, exp.ints(widths, unit, "paddings")], [padded])
    return padded


def _global_average_pool(exp: Exporter, unit: Unit) -> None:
    _mean_of_image(exp, unit)


def _mean_of_image(exp: Exporter, unit: Unit) -> None:
    """MEAN without the dimensions, which come back by a RESHAPE: the one that keeps them rounds in another way."""
    x = _image(exp, unit)
    shape = exp.shape(x)
    axes = exp.ints([1, 2], unit, "axes")
    if unit.kind == "integer":
        exp.finish(unit, "MEAN", [x, axes], shape=(shape[0], shape[3]))
    else:
        exp.finish(unit, "MEAN", [x, axes], shape=(shape[0], 1, 1, shape[3]), keep_dims=True)


def _global_max_pool(exp: Exporter, unit: Unit) -> None:
    x = _image(exp, unit)
    shape = (exp.shape(x)[0], 1, 1, exp.shape(x)[3])
    axes = exp.ints([1, 2], unit, "axes")
    exp.finish(unit, "REDUCE_MAX", [x, axes], shape=shape, meaning=exp.tensors[x].qparams, keep_dims=True)


def _resize(exp: Exporter, unit: Unit) -> None:
    """Resize of rows and columns, nearest or bilinear, with the coordinates that operators know."""
    attrs = exp.attrs(unit)
    assert isinstance(attrs, ResizeAttrs), "the only ones"
    x, how = _image(exp, unit), attrs.how
    before, shape = exp.shape(x), static_shape(unit.output.value)
    if len(shape) != 4:
        raise exp.refuse(unit, "Resize of what is no image cannot be written")
    known = _RESIZES.get((how.mode, how.coordinates, how.rounding if how.mode == "nearest" else ""))
    whole = all(size % other == 0 for size, other in zip(shape[1:3], before[1:3], strict=True))
    if (how.mode, how.coordinates, how.rounding) == ("nearest", "half_pixel", "round_prefer_floor") and whole:
        known = (False, True)  # no coordinate lies in the middle between two elements
    plain = attrs.policy == "stretch" and not how.exclude_outside and not how.antialias
    computed = unit.kind == "integer" and how.mode != "nearest"
    if known is None or not plain or computed or (shape[0], shape[3:]) != (before[0], before[3:]):
        raise exp.refuse(
            unit, f"Resize in mode {how.mode} with coordinates {how.coordinates} ({how.rounding}) cannot be written"
        )
    if attrs.scales is not None and not _scales_are_of_sizes(attrs.scales, before, shape):
        raise exp.refuse(unit, f"Resize by {attrs.scales}, which is not the ratio of the sizes, cannot be written")
    name = "RESIZE_NEAREST_NEIGHBOR" if how.mode == "nearest" else "RESIZE_BILINEAR"
    size = exp.ints(shape[1:3], unit, "size")
    exp.finish(
        unit,
        name,
        [exp.means(unit, x), size],
        align_corners=known[0],
        half_pixel_centers=known[1],
    )


# Mode, coordinates and rounding of Resize: align_corners and half_pixel_centers.
_RESIZES: Mapping[tuple[str, str, str], tuple[bool, bool]] = {
    ("nearest", "asymmetric", "floor"): (False, False),
    ("nearest", "half_pixel", "round_prefer_ceil"): (False, True),
    ("nearest", "align_corners", "round_prefer_ceil"): (True, False),
    ("linear", "asymmetric", ""): (False, False),
    ("linear", "half_pixel", ""): (False, True),
    ("linear", "align_corners", ""): (True, False),
}


def _scales_are_of_sizes(scales: Sequence[float], before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether the scales (N,C,H,W) are those of the sizes (N,H,W,C)."""
    wanted = [after[axis] / before[axis] for axis in (0, 3, 1, 2)]
    return len(scales) == 4 and bool(np.allclose(scales, wanted, rtol=1e-6, atol=0.0))


def _depth_to_space(exp: Exporter, unit: Unit) -> None:
    attrs = exp.attrs(unit)
    if attrs.column_first:
        raise exp.refuse(unit, "DepthToSpace in mode CRD cannot be written")
    exp.finish(unit, "DEPTH_TO_SPACE", [exp.means(unit, _image(exp, unit))], block=attrs.block)


def _space_to_depth(exp: Exporter, unit: Unit) -> None:
    exp.finish(unit, "SPACE_TO_DEPTH", [exp.means(unit, _image(exp, unit))], block=exp.attrs(unit).block)


def _batch_normalization(exp: Exporter, unit: Unit) -> None:
    """BatchNormalization that nothing absorbed: a product and a sum."""
    if unit.kind == "integer":
        raise exp.refuse(unit, "BatchNormalization of quantized tensors cannot be written")
    x = exp.operand(unit, 0)
    scale, offset, mean, variance = (constant(value) for value in unit.node.inputs[1:5])
    if scale is None or offset is None or mean is None or variance is None:
        raise exp.refuse(unit, "BatchNormalization by computed statistics cannot be written")
    if not is_channels_last(unit.node) and len(exp.shape(x)) > 2:
        raise exp.refuse(unit, f"BatchNormalization over {len(exp.shape(x)) - 2} axes cannot be written")
    factor = scale / np.sqrt(variance.astype(np.float64) + real(unit.node, "epsilon", 1e-5))
    base = str(unit.node.name)
    product = exp.like(x, f"{base}/product")
    exp.emit("MUL", [x, exp.constant(factor.astype(np.float32), f"{base}/factor")], [product])
    added = (offset - mean * factor).astype(np.float32)
    exp.finish(unit, "ADD", [product, exp.constant(added, f"{base}/offset")])


HANDLERS: Mapping[str, Callable[[Exporter, Unit], None]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "SpaceToDepth": _space_to_depth,
}
