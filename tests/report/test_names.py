from __future__ import annotations

from microlith.core.details import LayerRow, RunDetails
from microlith.report.names import WIDTH, short, short_details, shorten_in

CONV = (
    "model/batch_normalization_2/FusedBatchNormV3;model/conv2d_2/BiasAdd/ReadVariableOp/resource;model/conv2d_2/Conv2D"
)
FUSED = f"TFLITE2ONNX_model/activation_1/Relu;{CONV}1, model/activation_1/Relu;{CONV}"


def test_short_names_stay() -> None:
    assert short("stem.conv, stem.relu") == "stem.conv, stem.relu"


def test_names_that_a_converter_joined() -> None:
    assert short(FUSED) == "model/activation_1/Relu"
    assert short(CONV) == "batch_normalization_2/FusedBatchNormV3"
    assert short(CONV, 24) == "batch_normalization_2/…"
    assert short(CONV, 21) == "batch_normalization_2"


def test_fused_nodes_are_counted() -> None:
    assert short("block1.expand.conv, block1.expand.norm, block1.expand.relu") == "block1.expand.conv +2"


def test_anything_fits_and_layers_stay_apart() -> None:
    names = [f"/features/features.{index}/conv/conv.{index % 3}/conv.0.0.0/Conv_with_a_long_name" for index in range(9)]
    for width in (10, 24, WIDTH):
        assert all(len(short(name, width)) <= width for name in [*names, FUSED, CONV, "x" * 300])
    wide = [f"/features/features.{index}/block/conv{index}/Conv" for index in range(9)]
    assert len({short(name, 24) for name in wide}) == 9


def test_messages() -> None:
    message = shorten_in(f"The layer is {CONV}: 5 B; and /a/path;with/semicolon stays (node {CONV})")
    assert message == (
        "The layer is model/batch_normalization_2/FusedBatchNormV3: 5 B; and /a/path;with/semicolon stays "
        "(node model/batch_normalization_2/FusedBatchNormV3)"
    )


def test_all_names_of_a_layer_in_a_message() -> None:
    assert shorten_in(f"The layer is {FUSED}: 5 B") == "The layer is model/activation_1/Relu: 5 B"


def test_details_keep_everything_else() -> None:
    layer = LayerRow(index=0, name=FUSED, op="conv2d", kernel="k", output_shape=(1,), macs=1, weight_bytes=1)
    details = RunDetails(model="m", device="d", device_title="D", layers=(layer,))
    shortened = short_details(details)
    assert shortened.layers == (layer.model_copy(update={"name": "model/activation_1/Relu"}),)
    assert details.layers == (layer,)
