"""What training minimizes: the distance to labels, to a teacher, or to both."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from microlith.core.errors import InputError
from microlith.train.fake_quant import FakeQuant
from microlith.train.layers import Layer

TeacherLoss = Literal["kl", "mse"]
_SHARES = frozenset({"Softmax", "LogSoftmax"})


def logits_of(module: nn.Module) -> nn.Module:
    """The module without the Softmax that its outputs end in, sharing everything with it; itself where none does.

    A loss wants what goes into a Softmax: gradients through shares that were rounded to 8 bits vanish.
    """
    if not isinstance(module, torch.fx.GraphModule):
        return module
    graph = torch.fx.Graph()
    results = graph.graph_copy(module.graph, {})
    single = not isinstance(results, tuple)
    found = [_before_softmax(module, item) for item in ((results,) if single else results)]
    graph.output(found[0] if single else tuple(found))
    cut = torch.fx.GraphModule(module, graph)
    cut.graph.eliminate_dead_code()
    cut.recompile()
    cut.train(module.training)
    return cut


def _before_softmax(module: torch.fx.GraphModule, item: Any) -> Any:
    layer = _layer(module, item)
    if isinstance(layer, FakeQuant):
        inner = item.args[0]
        found = _before_softmax(module, inner)
        return item if found is inner else found
    return item.args[0] if isinstance(layer, Layer) and layer.op in _SHARES else item


def _layer(module: torch.fx.GraphModule, item: Any) -> nn.Module | None:
    is_call = isinstance(item, torch.fx.Node) and item.op == "call_module"
    return module.get_submodule(item.target) if is_call else None


def label_loss(output: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross entropy with classes along axis 1 for integer labels; mean squared error for others.

    Raises:
        InputError: labels do not fit the output.
    """
    if labels.is_floating_point():
        if labels.numel() != output.numel():
            raise InputError(f"labels have shape {tuple(labels.shape)} and the output {tuple(output.shape)}")
        return F.mse_loss(output, labels.reshape(output.shape).to(output.dtype))
    wanted = (output.shape[0], *output.shape[2:])
    if output.dim() < 2 or labels.numel() != labels.new_empty(wanted).numel():
        raise InputError(f"classes of shape {tuple(labels.shape)} do not fit an output of {tuple(output.shape)}")
    return F.cross_entropy(output, labels.reshape(wanted).long(), label_smoothing=smoothing)


def teacher_loss(output: Tensor, wanted: Tensor, kind: TeacherLoss, temperature: float) -> Tensor:
    """How far an output is from a teacher's.

    ``kl`` is the divergence of shares along axis 1, both softened by the temperature, times its square; ``mse`` is the
    mean squared error of the outputs as they are.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network, arXiv:1503.02531, section 2, for ``kl``.
    """
    if kind == "mse":
        return F.mse_loss(output, wanted)
    ours, theirs = (F.log_softmax(item / temperature, dim=1) for item in (output, wanted))
    places = output.numel() // output.shape[1]
    return F.kl_div(ours, theirs, reduction="sum", log_target=True) * (temperature**2 / places)
