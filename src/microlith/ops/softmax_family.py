"""LogSoftmax and Hardmax, with the axes of Softmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape
from microlith.ops.softmax import SoftmaxAttrs, parse
from microlith.ops.unary import same_shape

Floats = NDArray[np.float32]


def _log_softmax(x: Floats, axis: int) -> Floats:
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True, dtype=np.float32)), np.float32)


def _hardmax(x: Floats, axis: int) -> Floats:
    y = np.zeros_like(x)
    np.put_along_axis(y, np.expand_dims(x.argmax(axis=axis), axis), np.float32(1), axis)
    return y


def _batches(attrs: SoftmaxAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return attrs.view(output)[1] != 0


def _op(op_type: str, compute: Callable[[Floats, int], Floats]) -> Op[SoftmaxAttrs]:
    def reference(attrs: SoftmaxAttrs, inputs: Sequence[Array | None]) -> Array:
        x = nodes.f32(inputs)
        shape, axis = attrs.view(x.shape)
        return compute(x.reshape(shape), axis).reshape(x.shape)

    return Op(op_type, parse, same_shape, reference, batches=_batches, lowering="lower_pool.lower_softmax")


LOG_SOFTMAX = _op("LogSoftmax", _log_softmax)
HARDMAX = _op("Hardmax", _hardmax)
