"""Names of layers, short enough for a table. Full names stand in ``--json`` and in the report's files."""

from __future__ import annotations

import re

from microlith.core.details import RunDetails

WIDTH = 40
NARROW = 24
MESSAGE = 60
_ONE = r"[^\s,;'\"()]+;[^\s,:'\"()]{20,}"
_JOINED = re.compile(rf"{_ONE}(?:, {_ONE})*")


def short(name: str, width: int = WIDTH) -> str:
    """A layer's name in ``width`` characters at most.

    A layer is named after its nodes, joined by ", ", and a converter may have joined names of its own by ";" before.
    Names that another one repeats go first, then all but the first of those joined, then the beginning of its path.
    """
    if len(name) <= width:
        return name
    nodes = list(dict.fromkeys(node.partition(";")[0] for node in name.split(", ")))
    kept = [node for node in nodes if not any(node != other and node.endswith(other) for other in nodes)]
    text = ", ".join(kept)
    if len(text) <= width or len(kept) == 1:
        return _cut(text, width)
    count = f" +{len(kept) - 1}"
    return _cut(kept[0], width - len(count)) + count


def shorten_in(message: str) -> str:
    """A message in which names that a converter joined by ";" are short."""
    return _JOINED.sub(lambda match: short(match[0], MESSAGE), message)


def short_details(details: RunDetails, width: int = WIDTH) -> RunDetails:
    """What is known of a run, with short names of layers."""
    layers = tuple(row.model_copy(update={"name": short(row.name, width)}) for row in details.layers)
    plan = details.memory_plan
    if plan is not None:
        # A region has many nodes: the first names it.
        plan = plan.model_copy(update={"peak_layer": short(plan.peak_layer, width)})
    return details.model_copy(update={"layers": layers, "memory_plan": plan})


def _cut(text: str, width: int) -> str:
    """The last parts of a path, or what is left when the middle is taken out."""
    parts = text.split("/")
    while len("/".join(parts)) > width and len(parts) > 2:
        del parts[0]
    text = "/".join(parts)
    if len(text) > width and len(parts) == 2:
        # The last part is often the operator, which many layers share.
        text = f"{parts[0]}/…" if len(parts[0]) + 2 <= width else parts[0]
    if len(text) <= width:
        return text
    end = (width - 1) * 2 // 3
    return f"{text[: width - 1 - end]}…{text[-end:]}"
