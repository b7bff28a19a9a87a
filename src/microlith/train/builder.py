"""What both forms of a generated module share: borders, names, constants, samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from microlith.core.errors import UnsupportedError
from microlith.graph.values import static_shape
from microlith.ops.base import Array, Shape
from microlith.ops.nodes import where
from microlith.quant.types import as_held
from microlith.train.forms.base import Function, Site
from microlith.train.layers import Layer, each_sample, only_sample
from microlith.train.names import Paths, holder, identifier

_NO_ARITHMETIC = frozenset({ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64})


class GraphBuilder:
    """Generates a module node by node.

    Attributes:
        model: what it is generated from.
        root: holds submodules, parameters and buffers.
        graph: the generated graph.
        held: what of it holds each value.
        shapes: of values in the model.
        varying: values that differ from sample to sample.
        places: paths of initializers.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.root = nn.Module()
        self.graph = torch.fx.Graph()
        self.held: dict[ir.Value, Any] = {}
        self.shapes: dict[ir.Value, Shape] = {}
        self.varying: set[ir.Value] = set()
        self.places: dict[ir.Value, str] = {}
        self._paths = Paths()
        for value in model.graph.initializers.values():
            self.places[value] = self._paths.leaf(str(value.name))

    def placeholder(self, value: ir.Value) -> Any:
        """A new argument of the module, with an axis of samples in front."""
        name = str(value.name)
        refuse_type(value, f"input {name!r}")
        found = self.graph.placeholder(identifier(name))
        found.meta["onnx_name"] = name
        if value.shape is None or not value.shape.is_static():
            raise UnsupportedError(f"the shape of input {name!r} is not known", hint="Give the dynamic dimensions.")
        self.shapes[value] = static_shape(value)
        self.varying.add(value)
        if self.shapes[value][:1] != (1,):
            found = self.graph.call_function(torch.unsqueeze, (found, 0))
        return found

    def finish(self, output: Callable[[ir.Value], Any]) -> Any:
        """The module, in evaluation mode, with the results that ``output`` gives for the graph's."""
        found = []
        for value in self.model.graph.outputs:
            result = output(value)
            if value in self.varying and self.shapes[value][:1] != (1,):
                result = self.graph.call_function(only_sample, (result,))
            found.append(result)
        self.graph.output(found[0] if len(found) == 1 else tuple(found))
        module = torch.fx.GraphModule(self.root, self.graph, identifier(self.model.graph.name or "model"))
        self.graph.lint()
        return module.eval()

    def know(self, value: ir.Value, shape: Shape, inputs: Sequence[ir.Value | None], node: ir.Node) -> None:
        """State a result of a node: its shape, and that it varies where an input does."""
        if value.name:
            refuse_type(value, f"the result of {where(node)}")
        self.shapes[value] = tuple(shape)
        if any(item in self.varying for item in inputs if item is not None):
            self.varying.add(value)

    def site(
        self,
        node: ir.Node,
        values: Sequence[ir.Value | None],
        results: Sequence[Shape],
        batches: Callable[[Sequence[Shape | None]], bool],
    ) -> Site:
        """Where the function of a node is called: shapes, and whether it takes stacked samples.

        Args:
            node: the node.
            values: its operands.
            results: shapes of its results.
            batches: whether the function takes stacked samples, given the shapes of operands that vary.
        """
        shapes = [() if value is None else self.shapes[value] for value in values]
        varying = [value in self.varying for value in values]
        seen = [shape if varies else None for shape, varies in zip(shapes, varying, strict=True)]
        stacked = (
            any(varying)
            and all(shape is None or shape[:1] == (1,) for shape in seen)
            and all(shape[:1] == (1,) for shape in results)
            and batches(seen)
        )
        return Site(node, shapes, results, stacked)

    def compute(
        self,
        site: Site,
        values: Sequence[ir.Value | None],
        outputs: Sequence[ir.Value | None],
        function: Function,
        several: bool,
    ) -> None:
        """A layer that calls a function, and the results that something reads.

        Args:
            site: of the node.
            values: operands.
            outputs: results in the graph; None for one that nothing reads.
            function: of the operands.
            several: whether it gives a tuple.
        """
        varying = [value in self.varying for value in values]
        if any(varying) and not site.stacked:
            led = [shape[:1] == (1,) for shape in site.shapes]
            leads = [shape[:1] == (1,) for shape in site.results]
            function, several = each_sample(function if several else _as_tuple(function), varying, led, leads), True
        node = site.node
        text = ", ".join(f"{item.name}={item.value}" for item in node.attributes.values())
        operands = [None if value is None else self.held[value] for value in values]
        found = self.add(str(node.name), Layer(node.op_type, function, text), operands, node)
        for index, value in enumerate(outputs):
            if value is None or index >= len(site.results):
                continue
            item = self.graph.call_function(_item, (found, index)) if several else found
            item.meta.update(found.meta, onnx_name=value.name)
            self.held[value] = item

    def constant(self, value: ir.Value, learned: bool = False) -> Any:
        """An initializer as a buffer, or, of floats, as a parameter."""
        if value.const_value is None:
            raise UnsupportedError(f"{value.name!r} is read before it is computed")
        refuse_type(value, f"constant {value.name!r}")
        values = array(value)
        tensor = torch.from_numpy(np.array(values))
        self.shapes[value] = values.shape
        return self.put(value, nn.Parameter(tensor) if learned and tensor.is_floating_point() else tensor)

    def put(self, value: ir.Value, tensor: Any) -> Any:
        """A tensor in the place of an initializer."""
        module, last = holder(self.root, self.places[value])
        if isinstance(tensor, nn.Parameter):
            module.register_parameter(last, tensor)
        else:
            module.register_buffer(last, tensor)
        found = self.graph.get_attr(self.places[value])
        found.meta["onnx_name"] = str(value.name)
        self.held[value] = found
        return found

    def add(self, name: str, module: nn.Module, operands: Sequence[Any], node: ir.Node | None) -> Any:
        """A submodule with this name, or one like it, and a call of it."""
        path = self._paths.module(name or (node.outputs[0].name if node is not None else "") or "node")
        parent, last = holder(self.root, path)
        held = parent._modules.get(last)
        if held is not None:  # A module that was made for the weights below it.
            for key, item in held._modules.items():
                module.add_module(key, item)
            for key, item in held._parameters.items():
                module.register_parameter(key, item)
            for key, item in held._buffers.items():
                module.register_buffer(key, item)
        parent.add_module(last, module)
        found = self.graph.call_module(path, tuple(operands))
        if node is not None:
            found.meta.update(onnx_name=node.outputs[0].name, onnx_node=node.name, onnx_op=node.op_type)
        return found


def read(value: ir.Value) -> ir.Value | None:
    """A result that something reads; None for another."""
    return value if value.name and (value.uses() or value.is_graph_output()) else None


def array(value: ir.Value) -> Array:
    """The values of a constant, as they are held."""
    assert value.const_value is not None, "a constant"
    return as_held(np.asarray(value.const_value.numpy()))


def refuse_type(value: ir.Value, what: str) -> None:
    """Refuse a tensor of a type that torch has no arithmetic for."""
    if value.dtype in _NO_ARITHMETIC:
        raise UnsupportedError(f"{what} is {value.dtype}, and torch computes nothing with it")


def _item(found: Sequence[Any], index: int) -> Any:
    return found[index]


def _as_tuple(function: Function) -> Function:
    return lambda *operands: (function(*operands),)
