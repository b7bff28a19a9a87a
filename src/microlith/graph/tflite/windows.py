"""Padding of windows as TensorFlow Lite computes it."""

from __future__ import annotations

from dataclasses import dataclass

from microlith.core.errors import ModelError
from microlith.graph.tflite.importer import Importer
from microlith.graph.tflite.schema import PADDINGS


@dataclass(frozen=True)
class Windows:
    """Attributes of an ONNX op over windows: (rows, columns), pads (top, left, bottom, right)."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]


def windows(imp: Importer, size: tuple[int, int], kernel: tuple[int, int]) -> Windows:
    """The windows of the current operator over an image of this size."""
    options = imp.operator.options
    strides = options["stride_h"], options["stride_w"]
    dilations = options.get("dilation_h", 1), options.get("dilation_w", 1)
    if min(*kernel, *strides, *dilations) < 1:
        raise ModelError(
            f"windows of {kernel} with strides {strides} and dilations {dilations}, expected positive numbers",
            node=imp.where,
        )
    stated = options.get("pads")
    if stated is not None:
        return Windows(kernel, strides, dilations, stated)
    before, after = zip(
        *(
            padding(imp, extent, (taps - 1) * dilation + 1, stride)
            for extent, taps, dilation, stride in zip(size, kernel, dilations, strides, strict=True)
        ),
        strict=True,
    )
    return Windows(kernel, strides, dilations, (*before, *after))


def padding(imp: Importer, size: int, window: int, stride: int) -> tuple[int, int]:
    """Elements before and after one axis; of an odd number the larger half comes after."""
    if padding_name(imp) == "VALID":
        return 0, 0
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def padding_name(imp: Importer) -> str:
    """SAME or VALID."""
    number = imp.operator.options["padding"]
    if not 0 <= number < len(PADDINGS):
        raise ModelError(f"the padding is number {number}, expected 0 or 1", node=imp.where)
    return PADDINGS[number]
