"""Quantizers that learn their scale and their zero point, to be put in the place of those with fixed ones.

Each learns a real step, and its integers stay within the same limits. What moves values without computing (pooling by
maximum, Concat, Transpose) needs one scale on both sides, so those quantizers share a step; biases have the product of
the steps of input and weights, always; borders of the graph and results whose range the function fixes keep theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import onnx_ir as ir
import torch
from torch import Tensor, nn

from microlith.core.errors import InputError
from microlith.graph.metadata import io_qparams
from microlith.graph.qdq_rules import rule_of
from microlith.graph.values import constant
from microlith.train.fake_quant import FakeBinary, FakeQuant
from microlith.train.origin import ORIGIN, Origin

Method = Literal["lsq", "lsq+", "pact"]
LEAST_STEP = 2.0**-40


class _Stepped(torch.autograd.Function):
    """``(clamp(round(x / step + offset), low, high) - offset) * step`` with gradients to all three."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, zero: Tensor, low: int, high: int, whole: bool) -> Tensor:
        """``zero`` holds whole numbers."""
        shifted = x / step + zero
        rounded = shifted.round().clamp_(low, high)
        ctx.save_for_backward(shifted, rounded, step, zero)
        ctx.limits = low, high, whole
        return (rounded - zero) * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Straight through to ``x`` where it is not clipped.

        The step gets ``rounded - shifted`` where it is not, which PACT (``whole``) leaves out, and the limit less the
        zero point where it is; the zero point gets minus the step where it is clipped.

        Source: Esser et al., Learned Step Size Quantization, ICLR 2020, equation 3; Bhalgat et al., LSQ+, CVPR
        Workshops 2020, equations 5 and 6; Choi et al., PACT, arXiv:1805.06085, section 3.
        """
        shifted, rounded, step, zero = ctx.saved_tensors
        low, high, whole = ctx.limits
        (gradient,) = gradients
        inside = (shifted >= low) & (shifted <= high)
        to_step = to_zero = None
        if ctx.needs_input_grad[1]:
            inner = torch.zeros_like(shifted) if whole else rounded - shifted
            to_step = _summed(gradient * torch.where(inside, inner, rounded - zero), step)
        if ctx.needs_input_grad[2]:
            to_zero = _summed(torch.where(inside, torch.zeros_like(gradient), -gradient * step), zero)
        return gradient * inside, to_step, to_zero, None, None, None


def _summed(gradient: Tensor, like: Tensor) -> Tensor:
    """The sum over everything along which a tensor was spread."""
    if like.dim() == 0:
        return gradient.sum()
    axes = [axis for axis in range(gradient.dim()) if like.shape[axis] == 1 and gradient.shape[axis] != 1]
    return gradient.sum(axes, keepdim=True) if axes else gradient


class _WholeNumber(torch.autograd.Function):
    """Rounding whose gradient is that of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The nearest whole numbers."""
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Straight through."""
        return gradients[0]


class _Damped(torch.autograd.Function):
    """The identity whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        """The same numbers."""
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        """Times the factor."""
        return gradients[0] * ctx.factor, None


class LearnedStep(FakeQuant):
    """A fake quantizer that learns its step and, with ``lsq+``, its zero point.

    Attributes:
        extra_bits: by how many bits its integers are finer for the time being, over the same range.

    Args:
        of: the quantizer whose place it takes.
        method: ``lsq``, ``lsq+`` or ``pact``, which learns from clipped values alone.
        is_weight: whether it quantizes weights: the elements that share a step are then those of the tensor, and of one
            sample otherwise.
        shared: a quantizer whose step and zero point it has.
    """

    extra_bits: Tensor

    def __init__(self, of: FakeQuant, method: Method, *, is_weight: bool, shared: LearnedStep | None = None) -> None:
        nn.Module.__init__(self)
        self.low, self.high = of.low, of.high
        self.axis, self.block, self.rank = of.axis, of.block, of.rank
        self.method, self.is_weight = method, is_weight
        if shared is None:
            self.step = nn.Parameter(of.scale.detach().clone())
            learns = method == "lsq+" and not is_weight
            self.offset = nn.Parameter(of.zero_point.detach().clone(), requires_grad=learns)
        else:
            self.step, self.offset = shared.step, shared.offset
        self.register_buffer("extra_bits", torch.zeros((), dtype=torch.int64))

    @property
    def scale(self) -> Tensor:
        """The step, which stays positive."""
        return self.step.clamp(min=LEAST_STEP)

    @property
    def zero_point(self) -> Tensor:
        """The zero point, a whole number within the limits."""
        found: Tensor = _WholeNumber.apply(self.offset)
        return found.clamp(self.low, self.high)

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        elements = x.numel() / max(1, self.step.numel())
        if not self.is_weight:
            elements /= max(1, x.shape[0])
        # Steps have few elements, and gradients that are sums over many: see section 2.2 of LSQ.
        factor = 1.0 / math.sqrt(elements * max(1, self.high))
        finer = 1 << int(self.extra_bits)
        step, zero = (
            self.spread(_Damped.apply(part, factor), 1 if self.axis is None else x.shape[self.axis])
            for part in (self.scale / finer, self.zero_point * finer)
        )
        limits = self.low * finer, self.high * finer + finer - 1
        found: Tensor = _Stepped.apply(x, step, zero, *limits, self.method == "pact")
        return found

    def oscillation(self, weights: Tensor) -> Tensor:
        """How far weights are from what they are rounded to, squared and summed; 0 for clipped ones.

        Source: Nagel et al., Overcoming Oscillations in Quantization-Aware Training, ICML 2022, equation 5.
        """
        scale, zero = (item.detach() for item in self.parameters_for(weights))
        shifted = weights / scale + zero
        rounded = shifted.detach().round().clamp(self.low, self.high)
        inside = (shifted >= self.low) & (shifted <= self.high)
        return ((((shifted - rounded) * scale) ** 2) * inside).sum()


class BiasQuant(FakeQuant):
    """The quantizer of a bias: its scale is always that of the input times that of the weights.

    Args:
        of: the quantizer whose place it takes.
        data: quantizer of the layer's input.
        weights: quantizer of its weights.
    """

    def __init__(self, of: FakeQuant, data: FakeQuant, weights: FakeQuant) -> None:
        nn.Module.__init__(self)
        self.low, self.high = of.low, of.high
        self.axis, self.block, self.rank = of.axis, of.block, of.rank
        self._shape = of.scale.shape
        # Not as submodules: they have places of their own.
        self._factors = (data, weights)
        self.register_buffer("zero_point", of.zero_point.detach().clone())

    @property
    def scale(self) -> Tensor:
        """The product, in float32."""
        data, weights = (item.scale.detach() for item in self._factors)
        return (data * weights).reshape(self._shape)


@dataclass(frozen=True)
class Learned:
    """What :func:`learn_steps` put in place, by path of the module.

    Attributes:
        weights: quantizers of weights, with the path of the parameter that each rounds.
        activations: quantizers of activations.
    """

    weights: Mapping[str, tuple[LearnedStep, str]]
    activations: Mapping[str, LearnedStep]

    def parameters(self) -> list[nn.Parameter]:
        """Steps and zero points, each once."""
        modules = [*(item for item, _ in self.weights.values()), *self.activations.values()]
        found = {id(part): part for item in modules for part in (item.step, item.offset) if part.requires_grad}
        return list(found.values())


def learn_steps(module: nn.Module, *, weights: Method | None = "lsq", activations: Method | None = "lsq") -> Learned:
    """Let the quantizers of a module made from a quantized model learn their steps, in place.

    Args:
        module: from :func:`microlith.train.to_module.to_module`.
        weights: how those of weights learn; None leaves them.
        activations: how those of activations learn; None leaves them.

    Raises:
        InputError: this is no such module.
    """
    origin = module.meta.get(ORIGIN) if hasattr(module, "meta") else None
    if not isinstance(origin, Origin):
        raise InputError(f"got {type(module).__name__}, expected a module made by ml.to_torch")
    model = origin.model()
    paths = {name: item.path for item in origin.scaled for name in item.nodes}
    stored = {item.quantizer: item.path for item in origin.stored if item.quantizer is not None}
    layers = _layers(model, paths)
    made_weights = _learn_weights(module, weights, stored, [layer.weights for layer in layers])
    made = _learn_activations(module, activations, model, paths) if activations is not None else {}
    for layer in layers:
        if layer.bias is not None:
            bias, data, own = (_quantizer(module, path) for path in (layer.bias, layer.data, layer.weights))
            module.set_submodule(layer.bias, BiasQuant(bias, data, own))
    return Learned(made_weights, made)


def _quantizer(module: nn.Module, path: str) -> FakeQuant:
    return cast(FakeQuant, module.get_submodule(path))


@dataclass(frozen=True)
class _Layer:
    """Paths of the quantizers around one layer."""

    data: str
    weights: str
    bias: str | None


def _layers(model: ir.Model, paths: Mapping[str, str]) -> list[_Layer]:
    found = []
    for node in model.graph:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        sources = [None if value is None else value.producer() for value in node.inputs]
        names = [None if source is None else paths.get(str(source.name)) for source in sources]
        weights = sources[1] if len(sources) > 1 else None
        if weights is None or constant(weights.inputs[0]) is None or names[0] is None or names[1] is None:
            continue
        found.append(_Layer(names[0], names[1], names[2] if len(names) > 2 else None))
    return found


def _learn_weights(
    module: nn.Module, method: Method | None, stored: Mapping[str, str], paths: Iterable[str]
) -> dict[str, tuple[LearnedStep, str]]:
    found = {}
    for path in dict.fromkeys(paths):
        old = _quantizer(module, path)
        if method is None or path not in stored or isinstance(old, FakeBinary) or old.block:
            continue
        made = LearnedStep(old, method, is_weight=True)
        module.set_submodule(path, made)
        found[path] = made, stored[path]
    return found


def _learn_activations(
    module: nn.Module, method: Method, model: ir.Model, paths: Mapping[str, str]
) -> dict[str, LearnedStep]:
    groups, fixed = _groups(module, model, paths)
    made: dict[str, LearnedStep] = {}
    for group in groups:
        quantizers = {path: _quantizer(module, path) for path in group}
        if fixed & group or any(type(item) is not FakeQuant for item in quantizers.values()):
            continue
        first: LearnedStep | None = None
        for path, old in quantizers.items():
            made[path] = LearnedStep(old, method, is_weight=False, shared=first)
            first = first or made[path]
            module.set_submodule(path, made[path])
    return made


def _groups(module: nn.Module, model: ir.Model, paths: Mapping[str, str]) -> tuple[list[set[str]], set[str]]:
    """Quantizers of activations that have one scale now, around what moves values, and those that keep theirs."""
    of: dict[str, set[str]] = {}
    fixed: set[str] = set()
    for node in model.graph:
        if node.op_type == "QuantizeLinear" and str(node.name) in paths:
            of.setdefault(paths[str(node.name)], {paths[str(node.name)]})
    for node in model.graph:
        rule = rule_of(node)
        ends = [path for value in node.outputs if (path := _reader(value, paths)) is not None]
        if rule is None or not ends:
            continue
        starts = [path for value in node.inputs if (path := _source(value, paths)) is not None]
        if rule.scale is not None:
            fixed.update(ends)
        elif rule.role in ("movement", "concat"):
            for start in starts:
                for end in ends:
                    if _same(_quantizer(module, start), _quantizer(module, end)):
                        _join(of, (start, end))
        fixed.update(path for path in starts if path not in of)
    for value in (*model.graph.inputs, *model.graph.outputs):
        if io_qparams(model, str(value.name)) is not None:
            fixed.update(path for path in (_source(value, paths), _reader(value, paths)) if path is not None)
    unique = {id(group): group for group in of.values()}
    return list(unique.values()), fixed


def _same(a: FakeQuant, b: FakeQuant) -> bool:
    return (
        (a.low, a.high) == (b.low, b.high) and torch.equal(a.scale, b.scale) and torch.equal(a.zero_point, b.zero_point)
    )


def _join(of: dict[str, set[str]], names: tuple[str, str]) -> None:
    merged: set[str] = set().union(*(of.get(name, {name}) for name in names))
    for name in merged:
        of[name] = merged


def _reader(value: ir.Value | None, paths: Mapping[str, str]) -> str | None:
    """The quantizer that takes up a float."""
    if value is None:
        return None
    found = [paths.get(str(use.node.name)) for use in value.uses() if use.node.op_type == "QuantizeLinear"]
    return found[0] if found else None


def _source(value: ir.Value | None, paths: Mapping[str, str]) -> str | None:
    """The quantizer that a float comes out of; constants have none."""
    producer = None if value is None else value.producer()
    if producer is None or producer.op_type not in ("DequantizeLinear", "QuantizeLinear"):
        return None
    source = producer.inputs[0]
    if producer.op_type == "DequantizeLinear" and source is not None and constant(source) is not None:
        return None
    return paths.get(str(producer.name))
