"""The files of an artifact: complete, deterministic, and tied together by the manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import compiled
import models
from microlith.compile.layout import channels_last, same_bytes, transposed
from microlith.compile.manifest import Manifest, read_manifest
from microlith.compile.package import Package
from microlith.compile.pipeline import compile_graph
from microlith.core.errors import InputError, UnsupportedError
from microlith.device.load import device

GOLDEN = Path(__file__).parent.parent / "golden"


def _package(name: str = "net", target: str = "stm32l4r5") -> Package:
    graph = compiled.prepared(models.tiny_mlp())
    rng = np.random.default_rng(0)
    samples = [{"features": rng.uniform(-1, 1, (1, 12)).astype(np.float32)} for _ in range(8)]
    return compile_graph(compiled.quantized(graph, samples), device(target), name=name)


@pytest.fixture(scope="module")
def package() -> Package:
    return _package()


def test_same_input_gives_the_same_bytes(package: Package) -> None:
    assert dict(_package().files) == dict(package.files)


def test_manifest_names_every_file_by_its_hash(package: Package) -> None:
    manifest = Manifest.model_validate_json(package.files["manifest.json"])
    assert manifest == package.manifest
    assert set(manifest.files) == set(package.files) - {"manifest.json"}
    for path, digest in manifest.files.items():
        assert hashlib.sha256(package.files[path]).hexdigest() == digest
    assert {"src/net.c", "src/net_weights.c", "include/net.h", "selftest/main.c", "model.onnx"} <= set(manifest.files)


def test_artifact_hash_follows_the_library(package: Package) -> None:
    other = _package(target="rp2040")
    assert other.manifest.artifact_hash != package.manifest.artifact_hash
    assert other.manifest.artifact_hash[:16].encode() in other.files["selftest/main.c"]


def test_stored_constants_lie_as_the_manifest_says(package: Package) -> None:
    (segment,) = package.manifest.segments
    end = 0
    for const in package.manifest.consts:
        assert const.offset >= end
        end = const.offset + const.bytes
    assert sum(const.bytes for const in package.manifest.consts) == segment.bytes


def test_every_symbol_has_the_prefix(package: Package) -> None:
    source = package.files["src/net.c"].decode()
    defined = [line for line in source.splitlines() if line.startswith("ML_NOINLINE void ") and line.endswith(")")]
    assert len(defined) == len(package.manifest.layers)
    assert all(line.startswith("ML_NOINLINE void net_") for line in defined)


@pytest.mark.parametrize("file", ["src/net.c", "include/net.h"])
def test_emitted_text_is_the_golden_one(package: Package, file: str) -> None:
    """To accept a change, write the new text into tests/golden and look at the difference."""
    assert package.files[file].decode() == (GOLDEN / f"{Path(file).name}.txt").read_text()


def test_reading_a_manifest_refuses_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no manifest"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema_version": 7}')
    with pytest.raises(InputError, match="not a manifest of this version"):
        read_manifest(tmp_path)


def test_ops_that_cannot_be_compiled_are_named() -> None:
    model = models.one_node("Det", {"x": (4, 4)}, {"y": ()}, opset=20)
    with pytest.raises(UnsupportedError, match="Det") as caught:
        compile_graph(compiled.prepared(model), device("host"), name="net")
    assert "node" in str(caught.value)


def test_layouts_differ_only_where_bytes_move() -> None:
    assert channels_last(4) == (0, 2, 3, 1)
    assert same_bytes((1, 8, 1, 1), (0, 1, 2, 3), (0, 2, 3, 1))
    assert not same_bytes((1, 8, 2, 1), (0, 1, 2, 3), (0, 2, 3, 1))
    assert transposed((0, 2, 3, 1), (0, 2, 3, 1)) == (0, 1, 2, 3)
