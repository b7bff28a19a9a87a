"""The state of a training run in one safetensors file, replaced in one step.

Tensors are ``model.NAME``, ``ema.NAME``, ``best.NAME`` and ``optimizer.INDEX.KEY``; the rest is JSON in the file's
metadata under ``microlith``. The file is read without executing anything in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from microlith.core.errors import InputError
from microlith.core.files import write_bytes

SCHEMA_VERSION = 1
_KEY = "microlith"


@dataclass
class Position:
    """Where a run is.

    Attributes:
        run: what the run depends on: settings, seed, data and names of parameters.
        step: steps done; a step is one batch.
        loss: sum of losses of the epoch so far.
        losses: mean training loss of each epoch.
        validation: loss on the validation set after each epoch.
        best_epoch: the one whose state is kept; None without validation.
        finished: whether nothing is left to do.
    """

    run: str
    step: int = 0
    loss: float = 0.0
    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    finished: bool = False


State = Mapping[str, Mapping[str, Tensor]]


def write(path: Path, position: Position, state: State) -> None:
    """Put a checkpoint in the place of the one before; it is on the disk when this returns."""
    tensors = {
        f"{group}.{name}": tensor.detach().contiguous().clone()
        for group, items in state.items()
        for name, tensor in items.items()
    }
    text = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(position)})
    write_bytes(path, save(tensors, metadata={_KEY: text}), durable=True)


def read(path: Path, run: str) -> tuple[Position, dict[str, dict[str, Tensor]]] | None:
    """The checkpoint at a path; None where there is none.

    Raises:
        InputError: it is of another run, or no checkpoint.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as opened:
            text = (opened.metadata() or {}).get(_KEY)
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        found: dict[str, Any] = json.loads(text or "")
        version = found.pop("schema_version")
        position = Position(**found)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} is no checkpoint of a training run", hint="Name another file, or remove it."
        ) from error
    if version != SCHEMA_VERSION or position.run != run:
        raise InputError(
            f"{path} is the checkpoint of another run: its settings, seed, data or network differ",
            hint="Name another file, or remove it to start anew.",
        )
    state: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, rest = name.partition(".")
        state.setdefault(group, {})[rest] = tensor
    return position, state


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors that an optimizer keeps, by number of the parameter and name."""
    return {
        f"{index}.{key}": value
        for index, items in optimizer.state_dict()["state"].items()
        for key, value in items.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer the tensors that :func:`optimizer_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
