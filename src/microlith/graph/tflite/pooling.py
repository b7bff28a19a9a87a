"""Pooling over windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from microlith.graph.tflite.importer import Importer
from microlith.graph.tflite.windows import windows


def _pooled(imp: Importer, op_type: str, value: str) -> str:
    options = imp.operator.options
    _, height, width, _ = imp.shape(imp.input(0), 4)
    found = windows(imp, (height, width), (options["filter_h"], options["filter_w"]))
    return imp.node(op_type, [value], kernel_shape=found.kernel, strides=found.strides, pads=found.pads)


def average_pool_2d(imp: Importer) -> None:
    """AVERAGE_POOL_2D: padding does not count."""
    imp.same_parameters()
    imp.finish(
        _pooled(imp, "AveragePool", imp.real(imp.input(0), "nchw")),
        "nchw",
        activation=imp.operator.options["activation"],
    )


def max_pool_2d(imp: Importer) -> None:
    """MAX_POOL_2D."""
    imp.same_parameters()
    imp.finish(
        _pooled(imp, "MaxPool", imp.real(imp.input(0), "nchw")), "nchw", activation=imp.operator.options["activation"]
    )


def l2_pool_2d(imp: Importer) -> None:
    """L2_POOL_2D: the root of the mean of squares."""
    imp.float_only()
    x = imp.real(imp.input(0), "nchw")
    mean = _pooled(imp, "AveragePool", imp.node("Mul", [x, x]))
    imp.finish(imp.node("Sqrt", [mean]), "nchw", activation=imp.operator.options["activation"])


HANDLERS: Mapping[str, Callable[[Importer], None]] = {
    "AVERAGE_POOL_2D": average_pool_2d,
    "L2_POOL_2D": l2_pool_2d,
    "MAX_POOL_2D": max_pool_2d,
}
