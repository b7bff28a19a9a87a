"""The ONNX ops in torch, one file for each family. ``FAMILIES`` lists them; ``REFUSED`` says what has no place here."""

from __future__ import annotations

from collections.abc import Mapping

from microlith.train.forms.base import Form
from microlith.train.forms.binary import BINARY
from microlith.train.forms.indexing import INDEXING
from microlith.train.forms.movement import MOVEMENT
from microlith.train.forms.normalization import NORMALIZATION
from microlith.train.forms.pointwise import POINTWISE
from microlith.train.forms.products import PRODUCTS
from microlith.train.forms.recurrent import RECURRENT
from microlith.train.forms.windows import WINDOWS

FAMILIES = (BINARY, INDEXING, MOVEMENT, NORMALIZATION, POINTWISE, PRODUCTS, RECURRENT, WINDOWS)

FORMS: Mapping[str, Form] = {form.op_type: form for family in FAMILIES for form in family}
"""By op."""

MODULES = ("BatchNormalization", "DequantizeLinear", "QuantizeLinear")
"""Ops that are modules with a state of their own."""

REFUSED: Mapping[str, str] = {
    "BitShift": "it shifts unsigned integers, and they have no gradient",
    "ConvInteger": "its weights are integers already",
    "DynamicQuantizeLinear": "its layers are quantized already",
    "MatMulInteger": "its weights are integers already",
    "NonMaxSuppression": "it lists boxes, as many as the data decides",
}
"""Ops that cannot be trained through, and why."""
