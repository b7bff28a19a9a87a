from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx.external_data_helper import convert_model_to_external_data

import models
from microlith.core.errors import InputError
from microlith.graph.load import load_model
from microlith.graph.save import model_bytes


@pytest.fixture
def external(tmp_path):
    """A folder with a model whose weights lie in ``weights.bin`` beside it."""
    proto = models.tiny_mlp()
    convert_model_to_external_data(proto, location="weights.bin", size_threshold=0)
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(proto, folder / "m.onnx")
    return folder


def edit(folder, **entries):
    """Rewrite the first tensor's external data entries."""
    proto = onnx.load(folder / "m.onnx", load_external_data=False)
    fields = {entry.key: entry for entry in proto.graph.initializer[0].external_data}
    for key, value in entries.items():
        if key not in fields:
            fields[key] = proto.graph.initializer[0].external_data.add(key=key)
        fields[key].value = value
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


def test_weights_beside_the_model(external, load):
    assert model_bytes(load_model(external / "m.onnx")) == model_bytes(load(models.tiny_mlp()))


@pytest.mark.parametrize(
    "location",
    ["../weights.bin", "/etc/passwd", "sub/../../weights.bin", "C:\\weights.bin", "..\\weights.bin", "", "a\0b"],
)
def test_places_outside(external, location):
    (external.parent / "weights.bin").write_bytes((external / "weights.bin").read_bytes())
    with pytest.raises(InputError, match="outside the folder of the model"):
        load_model(edit(external, location=location))


def test_links_out_of_the_folder(external):
    secret = external.parent / "secret.bin"
    secret.write_bytes((external / "weights.bin").read_bytes())
    (external / "weights.bin").unlink()
    os.symlink(secret, external / "weights.bin")
    with pytest.raises(InputError, match="a link out of the model's folder"):
        load_model(external / "m.onnx")


def test_links_within_the_folder(external):
    (external / "weights.bin").rename(external / "blob")
    os.symlink("blob", external / "weights.bin")
    assert load_model(external / "m.onnx").graph.num_nodes() == 4


def test_missing_data_and_directories(external):
    with pytest.raises(InputError, match=r"'none.bin' of the constant 'fc1.weight' is missing"):
        load_model(edit(external, location="none.bin"))
    with pytest.raises(InputError, match="is missing"):
        load_model(edit(external, location="."))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": "100000000"}, "lies at bytes 100000000 to .* which ends at"),
        ({"length": "8"}, "needs 384 bytes of external data, and its length says 8"),
        ({"offset": "-4"}, "offset of the external data of .* is '-4', expected a number"),
        ({"offset": "9" * 30}, "expected a number"),
        ({"length": "many"}, "is 'many', expected a number"),
    ],
)
def test_places_inside_the_file(external, entries, message):
    with pytest.raises(InputError, match=message):
        load_model(edit(external, **entries))


def test_a_file_cut_short(external):
    data = (external / "weights.bin").read_bytes()
    (external / "weights.bin").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="which ends at"):
        load_model(external / "m.onnx")


def test_data_that_is_no_number_is_found(external):
    data = bytearray((external / "weights.bin").read_bytes())
    data[:4] = np.float32(np.nan).tobytes()
    (external / "weights.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"'fc1\.weight' contains NaN"):
        load_model(external / "m.onnx")


def test_a_link_to_itself(external):
    (external / "weights.bin").unlink()
    os.symlink("weights.bin", external / "weights.bin")
    with pytest.raises(InputError, match=r"cannot find the external data|is missing"):
        load_model(external / "m.onnx")


def test_entries_that_may_be_left_out(external, load):
    proto = onnx.load(external / "m.onnx", load_external_data=False)
    for index, tensor in enumerate(proto.graph.initializer):
        raw = (external / "weights.bin").read_bytes()
        fields = {entry.key: entry.value for entry in tensor.external_data}
        part = raw[int(fields["offset"]) : int(fields["offset"]) + int(fields["length"])]
        (external / f"{index}.bin").write_bytes(part)
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=f"{index}.bin")
    (external / "m.onnx").write_bytes(proto.SerializeToString())
    assert model_bytes(load_model(external / "m.onnx")) == model_bytes(load(models.tiny_mlp()))
