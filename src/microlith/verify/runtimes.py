"""Other runtimes on the same graph: what each is given as a file, and what it computes.

Each is an import of its own, made when it is opened, so that none needs to be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ToolchainError, UnsupportedError
from microlith.graph.export import OLDEST_OPSET, export_model
from microlith.graph.opset import OPSET
from microlith.graph.save import model_bytes
from microlith.graph.tflite.write import tflite_of_model
from microlith.verify.outside import session

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]
INSTALL = 'Install it with: pip install "microlith[runtimes]"'


@dataclass(frozen=True)
class Runtime:
    """A model that a runtime has loaded.

    Attributes:
        version: of the runtime.
        size_bytes: of the file that it was given.
        size_of: what that file is.
        run: outputs of one inference, in the order of the graph.
        remarks: what it was given or computes otherwise than the graph.
    """

    version: str
    size_bytes: int
    size_of: str
    run: Callable[[Feeds], list[Array]]
    remarks: tuple[str, ...] = ()


def _module(name: str, title: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ToolchainError(f"{title} is not installed", hint=INSTALL) from error


def open_onnxruntime(model: ir.Model) -> Runtime:
    """ONNX Runtime on one thread, with int8 kernels that do not saturate in between.

    Raises:
        ToolchainError: it is not installed.
        UnsupportedError: it cannot run the model.
    """
    version = str(_module("onnxruntime", "ONNX Runtime").__version__)
    compiled, remark = session(model)
    names = [item.name for item in compiled.get_outputs()]

    def run(feeds: Feeds) -> list[Array]:
        return list(compiled.run(names, dict(feeds)))

    remarks = (f"It runs the model{remark}.",) if remark else ()
    return Runtime(version, len(model_bytes(export_model(model))), ".onnx", run, remarks)


def open_litert(model: ir.Model, *, delegates: bool = False) -> Runtime:
    """LiteRT on one thread.

    Args:
        model: to be written as a ``.tflite`` file.
        delegates: whether XNNPACK computes, as it does by default, or the built-in kernels, whose integers are defined.

    Raises:
        ToolchainError: it is not installed.
        UnsupportedError: the model cannot be written as ``.tflite``, or LiteRT does not take the file.
    """
    module = _module("ai_edge_litert.interpreter", "LiteRT")
    file = tflite_of_model(model)
    kinds = module.OpResolverType
    try:
        interpreter = module.Interpreter(
            model_content=file.content,
            experimental_op_resolver_type=kinds.BUILTIN if delegates else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            num_threads=1,
        )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise UnsupportedError(f"LiteRT cannot run the file: {error}") from error
    inputs = {item["name"]: item["index"] for item in interpreter.get_input_details()}
    outputs = [item["index"] for item in interpreter.get_output_details()]

    def run(feeds: Feeds) -> list[Array]:
        for name, array in feeds.items():
            interpreter.set_tensor(inputs[name], array)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    version = str(_module("ai_edge_litert", "LiteRT").__version__)
    return Runtime(version, len(file.content), ".tflite", run, file.remarks)


def open_openvino(model: ir.Model, *, int8: bool = True) -> Runtime:
    """OpenVINO on the processor, on one thread, its floats in float32.

    Args:
        model: to be run.
        int8: whether its int8 kernels compute, as they do by default, or quantization is simulated in float. On x86
            without VNNI the former can be far off where the latter is within a quantum a layer.

    Raises:
        ToolchainError: it is not installed.
        UnsupportedError: it cannot run the model in any opset that holds it.
    """
    module = _module("openvino", "OpenVINO")
    core = module.Core()
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    if not int8:
        config["LP_TRANSFORMS_MODE"] = False
    reason = ""
    for opset in range(OPSET, OLDEST_OPSET - 1, -1):
        content = model_bytes(export_model(model, opset))
        try:
            compiled = core.compile_model(core.read_model(content), "CPU", config)
        except RuntimeError as error:
            reason = reason or str(error)
            continue
        remarks = () if opset == OPSET else (f"It reads the model at opset {opset}.",)
        version = str(module.__version__).split("-")[0]
        return Runtime(version, len(content), ".onnx", _requests(model, compiled), remarks)
    raise UnsupportedError(f"OpenVINO cannot run the model: {reason}")


def _requests(model: ir.Model, compiled: Any) -> Callable[[Feeds], list[Array]]:
    request = compiled.create_infer_request()
    inputs = [str(value.name) for value in model.graph.inputs]

    def run(feeds: Feeds) -> list[Array]:
        request.infer([feeds[name] for name in inputs])
        return [np.array(request.get_output_tensor(index).data) for index in range(len(model.graph.outputs))]

    return run


def open_litert_default(model: ir.Model) -> Runtime:
    """LiteRT as it is by default: see :func:`open_litert`."""
    return open_litert(model, delegates=True)


def open_openvino_float(model: ir.Model) -> Runtime:
    """OpenVINO without its int8 kernels: see :func:`open_openvino`."""
    return open_openvino(model, int8=False)


RUNTIMES: tuple[tuple[str, Callable[[ir.Model], Runtime]], ...] = (
    ("ONNX Runtime", open_onnxruntime),
    ("LiteRT", open_litert),
    ("LiteRT, XNNPACK", open_litert_default),
    ("OpenVINO", open_openvino),
    ("OpenVINO, float kernels", open_openvino_float),
)
"""Every runtime beside our own code: its name, and how a model is opened in it."""
