"""Writes a model so that equal models are equal bytes."""

from __future__ import annotations

import hashlib

import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.graph.metadata import OWN_PREFIX


def model_bytes(model: ir.Model) -> bytes:
    """The model as an ONNX file without time, path or documentation string: the same model gives the same bytes."""
    proto = ir.serde.serialize_model(model)
    proto.producer_name = "microlith"
    for field in ("producer_version", "doc_string", "domain", "model_version"):
        proto.ClearField(field)
    for item in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        item.ClearField("doc_string")
        own = sorted((entry.key, entry.value) for entry in item.metadata_props if entry.key.startswith(OWN_PREFIX))
        item.ClearField("metadata_props")
        for key, value in own:
            item.metadata_props.add(key=key, value=value)
    try:
        data: bytes = proto.SerializeToString(deterministic=True)
    except ValueError as error:
        raise ModelError("the model is too large for one ONNX file (2 GiB)") from error
    return data


def model_hash(model: ir.Model) -> str:
    """SHA-256 of :func:`model_bytes`, in hexadecimal."""
    return hashlib.sha256(model_bytes(model)).hexdigest()
