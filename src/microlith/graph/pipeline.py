"""Runs passes to a fixed point and records what each did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import onnx_ir as ir

from microlith.core.details import PassRow
from microlith.core.errors import UnsupportedError, VerificationError
from microlith.graph.pass_base import Pass
from microlith.graph.size import GraphSize, graph_size
from microlith.graph.verifier import verify as verify_model

_MAX_ROUNDS = 50


def run_passes(
    model: ir.Model,
    passes: Sequence[Pass],
    verify: bool = False,
    *,
    measure: bool = False,
    rounds: int | None = None,
) -> tuple[PassRow, ...]:
    """Apply the passes in order, in place, round after round until none changes anything.

    Args:
        model: changed in place.
        passes: in order.
        verify: check the model, and what each pass ensures, after every application.
        measure: let the rows tell MACs, weights and activations before and after.
        rounds: stop after this many, whether or not something would still change.

    Returns:
        One row a pass for the first round, and one for every later application that changed something.

    Raises:
        UnsupportedError: the model does not meet what a pass requires.
        VerificationError: a pass broke the model, does not keep its word, or the rounds do not end: a bug.
    """
    rows: list[PassRow] = []
    size = graph_size(model) if measure else None
    for number in range(_MAX_ROUNDS):
        if number == rounds:
            return tuple(rows)
        applied: list[PassRow] = []
        for item in passes:
            row = _apply(model, item, verify)
            if size is not None:
                before, size = size, graph_size(model) if row.changes else size
                row = row.model_copy(update=_measured(before, size))
            applied.append(row)
        rows += [row for row in applied if number == 0 or row.changes]
        if not any(row.changes for row in applied):
            return tuple(rows)
    changing = ", ".join(dict.fromkeys(row.name for row in rows[-len(passes) :] if row.changes))
    raise VerificationError(f"the passes still change the graph after {_MAX_ROUNDS} rounds: {changing}")


def _apply(model: ir.Model, item: Pass, verify: bool) -> PassRow:
    for condition in item.requires:
        if (reason := condition.violation(model)) is not None:
            raise UnsupportedError(f"{item.name} requires that {condition.name}, but {reason}")
    before = Counter(node.op_type for node in model.graph)
    result = item.apply(model)
    if verify:
        _check(model, item)
    after = Counter(node.op_type for node in model.graph)
    return PassRow(
        name=item.name,
        changes=result.changes,
        nodes_before=before.total(),
        nodes_after=after.total(),
        note=result.note or _difference(before, after),
    )


def _measured(before: GraphSize, after: GraphSize) -> dict[str, int | None]:
    fields = ("macs", "weight_bytes", "peak_activation_bytes")
    return {
        f"{name}_{when}": getattr(size, name)
        for name in fields
        for when, size in (("before", before), ("after", after))
    }


def _difference(before: Counter[str], after: Counter[str]) -> str:
    """Operators by how many more or fewer there are, such as ``-1 BatchNormalization``."""
    changes = {op: after[op] - before[op] for op in sorted(before | after)}
    return ", ".join(f"{count:+d} {op}" for op, count in changes.items() if count)


def _check(model: ir.Model, item: Pass) -> None:
    try:
        verify_model(model)
    except VerificationError as error:
        raise VerificationError(f"{item.name} left a broken graph: {error.what}", node=error.node) from error
    for condition in item.ensures:
        if (reason := condition.violation(model)) is not None:
            raise VerificationError(f"{item.name} ensures that {condition.name}, but {reason}")
