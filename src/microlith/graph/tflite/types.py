"""Element types of ONNX by the name that NumPy has for them."""

from __future__ import annotations

from collections.abc import Mapping

ONNX_TYPES: Mapping[str, int] = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int16": 5,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
}
"""Numbers of TensorProto.DataType."""
