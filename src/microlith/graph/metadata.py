"""What the project keeps in a model's metadata.

The requantization, the meaning of integer inputs and outputs, which nodes are computed in float at the user's wish, and
of which kind weights are that the type does not tell.
"""

from __future__ import annotations

import json
from typing import cast, get_args

import numpy as np
import onnx_ir as ir

from microlith.core.details import PrecisionPlan
from microlith.core.errors import ModelError
from microlith.quant.schemes import WeightType
from microlith.quant.types import QParams, Requantization

OWN_PREFIX = "microlith."
"""Of every key that is ours; other tools' metadata is not kept."""

REQUANTIZATION_KEY = OWN_PREFIX + "requantization"
_QPARAMS = OWN_PREFIX + "qparams."
_FLOAT = OWN_PREFIX + "float"
_WEIGHTS = OWN_PREFIX + "weights"
_PRECISION = OWN_PREFIX + "precision"


def requantization(model: ir.Model) -> Requantization:
    """The model's requantization; ``float``, which is what QuantizeLinear means, where none is stated."""
    mode = model.metadata_props.get(REQUANTIZATION_KEY, "float")
    if mode == "float":
        return "float"
    if mode == "fixed":
        return "fixed"
    raise ModelError(f"the model's requantization is {mode!r}, expected 'float' or 'fixed'")


def set_requantization(model: ir.Model, mode: Requantization) -> None:
    """State the requantization."""
    model.metadata_props[REQUANTIZATION_KEY] = mode


def io_qparams(model: ir.Model, name: str) -> QParams | None:
    """What the integers of a graph input or output stand for, where that is stated."""
    text = model.metadata_props.get(_QPARAMS + name)
    if text is None:
        return None
    try:
        fields = json.loads(text)
        return QParams.per_tensor(fields["scale"], fields["zero_point"], fields["dtype"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the quantization parameters of {name!r} in the model's metadata are malformed") from error


def set_io_qparams(model: ir.Model, name: str, qparams: QParams) -> None:
    """State what the integers of a graph input or output stand for (per tensor)."""
    key, text = io_qparams_entry(name, qparams)
    model.metadata_props[key] = text


def io_qparams_entry(name: str, qparams: QParams) -> tuple[str, str]:
    """The entry of the metadata that :func:`set_io_qparams` writes."""
    fields = {
        "scale": float(np.float32(qparams.scale)),
        "zero_point": int(qparams.zero_point),
        "dtype": qparams.dtype,
    }
    return _QPARAMS + name, json.dumps(fields)


def keep_in_float(node: ir.Node) -> None:
    """State that a node is computed in float, although DequantizeLinear and QuantizeLinear stand around it."""
    node.metadata_props[_FLOAT] = "1"


def is_kept_in_float(node: ir.Node) -> bool:
    """Whether :func:`keep_in_float` was said of a node."""
    return _FLOAT in node.metadata_props


def set_weight_kind(dequantize: ir.Node, kind: WeightType) -> None:
    """State which of the integers of the stored type the weights read by a DequantizeLinear use."""
    dequantize.metadata_props[_WEIGHTS] = kind


def weight_kind(dequantize: ir.Node) -> WeightType | None:
    """What :func:`set_weight_kind` said; None where the stored type says everything."""
    text = dequantize.metadata_props.get(_WEIGHTS)
    if text is None:
        return None
    if text not in get_args(WeightType):
        raise ModelError(
            f"{dequantize.name!r} has weights of the kind {text!r}, expected one of {get_args(WeightType)}"
        )
    return cast(WeightType, text)


def set_precision_plan(model: ir.Model, plan: PrecisionPlan) -> None:
    """Keep how the precision of each layer was chosen."""
    model.metadata_props[_PRECISION] = plan.model_dump_json()


def precision_plan(model: ir.Model) -> PrecisionPlan | None:
    """What :func:`set_precision_plan` kept."""
    text = model.metadata_props.get(_PRECISION)
    try:
        return None if text is None else PrecisionPlan.model_validate_json(text)
    except ValueError as error:
        raise ModelError("how the precision of layers was chosen is malformed in the model's metadata") from error
