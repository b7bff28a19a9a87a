"""Modules and .pt2 files into the graph, and what is refused on the way."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import microlith as ml
from microlith.core.errors import InputError, UnsupportedError
from oracles import onnxruntime_run

Members = dict[str, bytes]


def _network() -> Any:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3, bias=False), torch.nn.BatchNorm2d(4))
            self.act = torch.nn.ReLU()
            self.dropout = torch.nn.Dropout(0.5)
            self.head = torch.nn.Linear(4, 3)

        def forward(self, image: Any) -> Any:
            return self.head(self.dropout(self.act(self.stem(image)).mean((2, 3))))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = Net()
        net.stem[1].running_mean.normal_()
        net.stem[1].running_var.uniform_(0.5, 2)
    return net


def _of(forward: Callable[[Any], Any]) -> Any:
    """A module with this forward."""
    import torch

    return type("Small", (torch.nn.Module,), {"forward": lambda self, x: forward(x)})()


def _example(*shape: int) -> Any:
    import torch

    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def _equal_outputs(graph: ir.Model, module: Any, x: Any) -> None:
    import torch

    with torch.no_grad():
        wanted = module.eval()(x).numpy()
    (found,) = onnxruntime_run(ir.to_proto(graph), {graph.graph.inputs[0].name: x.numpy()})
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.fixture(scope="module")
def pt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as a file."""
    import torch

    path = tmp_path_factory.mktemp("pt2") / "keywords.pt2"
    torch.export.save(torch.export.export(_network().eval(), (_example(1, 2, 8, 8),)), path)
    return path


@pytest.fixture
def edited(pt2: Path, tmp_path: Path) -> Callable[[Callable[[Members], None]], Path]:
    """``edited(change)``: a copy of the file whose members are changed in place."""

    def edit(change: Callable[[Members], None]) -> Path:
        with zipfile.ZipFile(pt2) as archive:
            members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        change(members)
        path = tmp_path / "edited.pt2"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(f"edited/{name}", content)
        return path

    return edit


@pytest.mark.train
def test_a_module_is_evaluated_and_left_in_its_own_mode():
    net = _network()
    net.act.eval()
    x = _example(1, 2, 8, 8)
    graph = ml.load(net, x)
    assert net.training and net.dropout.training and not net.act.training
    _equal_outputs(graph, net, x)
    assert all(node.op_type != "Dropout" or node.name == "dropout" for node in graph.graph)
    assert graph.graph.name == "Net" and graph.graph.inputs[0].name == "image"


@pytest.mark.train
def test_nodes_are_named_by_the_path_of_their_layer():
    names = {node.op_type: node.name for node in ml.load(_network(), _example(1, 2, 8, 8)).graph}
    assert names["Conv"].partition("/")[0] == "stem.0"
    assert names["BatchNormalization"] == "stem.1"
    assert names["Relu"] == "act"
    assert names["Gemm"] == "head"


@pytest.mark.train
def test_an_array_and_several_inputs():
    import torch

    class Sum(torch.nn.Module):
        def forward(self, left: Any, right: Any) -> Any:
            return left + 2 * right

    x = np.ones((1, 4), np.float32)
    graph = ml.load(Sum(), (x, torch.zeros(1, 4)))
    assert [value.name for value in graph.graph.inputs] == ["left", "right"]
    assert ml.load(_network(), np.zeros((1, 2, 8, 8), np.float32)).graph.num_nodes() > 3


@pytest.mark.train
def test_the_export_writes_nothing_and_warns_of_nothing(capfd, recwarn):
    ml.load(_network(), _example(1, 2, 8, 8))
    with pytest.raises(UnsupportedError):
        ml.load(_of(lambda x: x * 2 if x.sum() > 0 else x + 1), _example(1, 4))
    out, error = capfd.readouterr()
    assert (out, error, list(recwarn)) == ("", "", [])


@pytest.mark.train
def test_control_flow_that_depends_on_data_is_refused():
    with pytest.raises(UnsupportedError, match="decides by the values of a tensor"):
        ml.load(_of(lambda x: x * 2 if x.sum() > 0 else x + 1), _example(1, 4))


@pytest.mark.train
def test_control_flow_that_depends_on_shapes_is_settled():
    graph = ml.load(_of(lambda x: x * 2 if x.shape[1] > 3 else x + 1), _example(1, 4))
    assert [node.op_type for node in graph.graph] == ["Mul"]


@pytest.mark.train
def test_dropout_that_is_always_active_is_refused():
    import torch

    with pytest.raises(UnsupportedError, match="training mode") as caught:
        ml.load(_of(lambda x: torch.nn.functional.dropout(2 * x)), _example(1, 4))
    assert "dropout" in str(caught.value.node)


@pytest.mark.train
def test_a_file_exported_in_training_mode_is_refused(tmp_path):
    import torch

    torch.export.save(torch.export.export(_network().train(), (_example(2, 2, 8, 8),)), tmp_path / "t.pt2")
    with pytest.raises(UnsupportedError, match="training mode"):
        ml.load(tmp_path / "t.pt2")


@pytest.mark.train
@pytest.mark.parametrize(
    ("source", "example", "message"),
    [
        (lambda: {"state": 1}, 0, "got dict, expected the path of a model or a torch.nn.Module"),
        (_network, None, "without an example"),
        (_network, "x", "holds str"),
        (_network, [1.5], "holds float"),
        (_network, np.zeros((1, 3, 8, 8), np.float32), "torch cannot export Net"),
        (lambda: _of(lambda x: x.view(7, 7)), np.zeros((1, 4), np.float32), "torch cannot export Small"),
    ],
)
def test_what_cannot_be_traced_is_an_error_of_input(source, example, message):
    with pytest.raises(InputError, match=message):
        ml.load(source(), example)


@pytest.mark.train
def test_an_operator_without_a_form_in_onnx_is_refused():
    import torch

    with pytest.raises(UnsupportedError, match=r"cannot be written as ONNX: .*svd"):
        ml.load(_of(torch.linalg.svdvals), _example(1, 4))


@pytest.mark.train
def test_a_pt2_file_loads_and_computes_the_same(pt2):
    graph = ml.load(pt2)
    _equal_outputs(graph, _network(), _example(1, 2, 8, 8))
    assert graph.graph.name == "keywords"
    assert "head" in [node.name for node in graph.graph]


@pytest.mark.train
def test_the_command_line_takes_a_pt2_file(pt2, monkeypatch, capsys):
    from microlith.cli.main import run

    monkeypatch.setattr(sys, "argv", ["microlith", "check", str(pt2), "--device", "nrf52840", "--json"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["ops"]["Conv"] == 1


@pytest.mark.train
def test_an_example_is_refused_for_a_file(pt2):
    with pytest.raises(InputError, match="needs none"):
        ml.load(pt2, _example(1, 2, 8, 8))


@pytest.mark.train
def test_a_file_with_dynamic_shapes_is_refused(tmp_path):
    import torch

    size = torch.export.Dim("size", min=4, max=64)
    program = torch.export.export(_of(lambda x: x * 2), (_example(1, 8),), dynamic_shapes=({1: size},))
    torch.export.save(program, tmp_path / "d.pt2")
    with pytest.raises(UnsupportedError, match="dynamic shapes"):
        ml.load(tmp_path / "d.pt2")


class Payload:
    """Whoever unpickles this calls :func:`_called`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _called, ("unpickled",)


CALLS: list[str] = []


def _called(text: str) -> str:
    CALLS.append(text)
    return text


def _evaluated(members: Members) -> None:
    program = json.loads(members["models/model.json"])
    program["range_constraints"] = {"__import__('os').getcwd()": {"min_val": 0, "max_val": 9}}
    members["models/model.json"] = json.dumps(program).encode()


def _symbol(members: Members) -> None:
    program = json.loads(members["models/model.json"])
    sizes = next(iter(program["graph_module"]["graph"]["tensor_values"].values()))["sizes"]
    sizes[0] = {"as_expr": {"expr_str": "__import__('os').getcwd()", "hint": None}}
    members["models/model.json"] = json.dumps(program).encode()


def _pickled_examples(members: Members) -> None:
    members["data/sample_inputs/model.pt"] = _torch_pickle()


def _torch_pickle() -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(Payload(), stream)
    return stream.getvalue()


def _legacy_weights(members: Members) -> None:
    members["data/weights/model.pt"] = _torch_pickle()


def _pickled_weight(members: Members) -> None:
    name = "data/weights/model_weights_config.json"
    config = json.loads(members[name])
    entry = next(iter(config["config"].values()))
    entry["use_pickle"] = True
    members[name] = json.dumps(config).encode()
    members[f"data/weights/{entry['path_name']}"] = _torch_pickle()


def _opaque_constant(members: Members) -> None:
    name = "data/constants/model_constants_config.json"
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": None}
    members[name] = json.dumps({"config": {"c": entry}}).encode()
    members["data/constants/opaque_obj_0"] = pickle.dumps(Payload())


def _library(members: Members) -> None:
    members["data/aotinductor/model/model.so"] = b"\x7fELF"


def _no_program(members: Members) -> None:
    del members["models/model.json"]


def _broken_program(members: Members) -> None:
    members["models/model.json"] = b"[" * 100_000


@pytest.mark.train
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_evaluated, "dynamic shapes"),
        (_symbol, "dynamic shapes"),
        (_pickled_examples, "pickled objects"),
        (_legacy_weights, "pickled weights"),
        (_pickled_weight, "pickled weights"),
        (_opaque_constant, "not a tensor"),
        (_library, "compiled code"),
        (_no_program, "no exported program"),
        (_broken_program, "not a .pt2 archive"),
    ],
)
def test_what_would_run_code_is_refused_before_torch_reads_it(edited, monkeypatch, change, message):
    import torch

    path = edited(change)
    monkeypatch.setattr(torch.export, "load", lambda *args: pytest.fail("torch read the file"))
    CALLS.clear()
    with pytest.raises((InputError, UnsupportedError), match=message):
        ml.load(path)
    assert CALLS == []


@pytest.mark.train
def test_the_unchanged_copy_loads(edited, pt2):
    assert len(ml.load(edited(lambda members: None)).graph) == len(ml.load(pt2).graph)


@pytest.mark.train
def test_a_member_that_stands_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt2", "w") as archive:
        archive.writestr("a/models/model.json", "{}")
        archive.writestr("b/models/model.json", "{}")
    with pytest.raises(InputError, match="twice"):
        ml.load(tmp_path / "x.pt2")


@pytest.mark.train
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive at all"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "x.pt2").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pt2"):
        ml.load(tmp_path / "x.pt2")


@pytest.mark.parametrize("missing", ["torch", "onnxscript"])
def test_without_torch_the_error_says_what_to_install(monkeypatch, tmp_path, missing):
    monkeypatch.setitem(sys.modules, "torch", None if missing == "torch" else sys.modules["json"])
    monkeypatch.setitem(sys.modules, missing, None)
    (tmp_path / "x.pt2").write_bytes(b"PK")
    for source in (object(), tmp_path / "x.pt2"):
        with pytest.raises(InputError, match=f"need the package {missing}") as caught:
            ml.load(source)
        assert "microlith[train]" in str(caught.value.hint)
