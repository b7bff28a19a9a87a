"""Names of layers, short enough for a table. Full names stand in ``--json`` and in the report's files."""

from __future__ import annotations

from microlith.core.details import RunDetails

WIDTH = 40


def short(name: str, width: int = WIDTH) -> str:
    """A layer's name in ``width`` characters at most.

    A layer is named after its nodes, joined by ", ", and a converter may have joined names of its own by ";" before.
    Names that another one repeats go first, then all but the first of those joined, then the middle of what is left.
    """
    if len(name) <= width:
        return name
    nodes = list(dict.fromkeys(node.partition(";")[0] for node in name.split(", ")))
    kept = [node for node in nodes if not any(node != other and node.endswith(other) for other in nodes)]
    text = ", ".join(kept)
    if len(text) > width and len(kept) > 1:
        count = f" +{len(kept) - 1}"
        return _middle(kept[0], width - len(count)) + count
    return _middle(text, width)


def short_details(details: RunDetails, width: int = WIDTH) -> RunDetails:
    """What is known of a run, with short names of layers."""
    layers = tuple(row.model_copy(update={"name": short(row.name, width)}) for row in details.layers)
    return details.model_copy(update={"layers": layers})


def _middle(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    # The end of a path says more than its beginning.
    end = (width - 1) * 2 // 3
    return f"{text[: width - 1 - end]}…{text[-end:]}"
