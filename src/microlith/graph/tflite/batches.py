"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, and the convolutions over spaced elements that stand between the two."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from microlith.core.errors import ModelError
from microlith.graph.tflite.importer import Importer
from microlith.graph.tflite.model import Graph, Operator

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_MAX_DILATION = 1 << 16


def _blocks(imp: Importer, borders: str) -> tuple[tuple[int, ...], list[list[int]]]:
    """Sizes of the blocks, and what is added or cut before and after each axis that they divide."""
    block = imp.integers(1)
    edges = np.asarray(imp.integers(2), np.int64).reshape(-1)
    rank = len(imp.shape(imp.input(0)))
    if not block or len(block) > rank - 1 or min(block) < 1 or edges.size != 2 * len(block) or (edges < 0).any():
        raise ModelError(
            f"blocks of {list(block)} and {borders} of {edges.tolist()} for {rank} dimensions", node=imp.where
        )
    return block, edges.reshape(-1, 2).tolist()


def _shaped(imp: Importer, value: str, shape: Sequence[int], what: str) -> str:
    return imp.node("Reshape", [value, imp.ints(shape, what)])


def _space_to_batch(imp: Importer) -> None:
    """Each element of a block goes to a batch of its own, the first axis of the block outermost."""
    imp.same_parameters()
    index = imp.input(0)
    block, pads = _blocks(imp, "paddings")
    shape, count = list(imp.shape(index)), len(block)
    value = imp.stored(index)
    if any(map(any, pads)):
        axes = imp.ints(range(1, count + 1), "axes")
        qparams = imp.tensor(index).qparams
        zero = np.asarray(0 if qparams is None else int(qparams.zero_point), imp.tensor(index).dtype)
        widths = imp.ints([pair[side] for side in (0, 1) for pair in pads], "pads")
        value = imp.node("Pad", [value, widths, imp.constant(zero, f"{imp.layer}/zero"), axes])
        for axis, pair in enumerate(pads, 1):
            shape[axis] += sum(pair)
    if any(size % step for size, step in zip(shape[1:], block, strict=False)):
        raise ModelError(f"blocks of {list(block)} do not divide {shape}", node=imp.where)
    inner = [part for size, step in zip(shape[1:], block, strict=False) for part in (size // step, step)]
    split = [shape[0], *inner, *shape[count + 1 :]]
    value = _shaped(imp, value, split, "split")
    perm = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count + 1, 2), *range(2 * count + 1, len(split))]
    value = imp.node("Transpose", [value], perm=perm)
    sizes = [shape[0] * math.prod(block), *inner[::2], *shape[count + 1 :]]
    imp.keep(_shaped(imp, value, sizes, "shape"), "own", imp.output())


def _batch_to_space(imp: Importer) -> None:
    """The inverse, and what is at the borders is cut off."""
    imp.same_parameters()
    index = imp.input(0)
    block, crops = _blocks(imp, "crops")
    shape, count = list(imp.shape(index)), len(block)
    if shape[0] % math.prod(block):
        raise ModelError(f"blocks of {list(block)} do not divide a batch of {shape[0]}", node=imp.where)
    batch = shape[0] // math.prod(block)
    value = _shaped(imp, imp.stored(index), [*block, batch, *shape[1:]], "split")
    pairs = [axis for place in range(count) for axis in (count + 1 + place, place)]
    perm = [count, *pairs, *range(2 * count + 1, count + len(shape))]
    value = imp.node("Transpose", [value], perm=perm)
    sizes = [batch, *(size * step for size, step in zip(shape[1:], block, strict=False)), *shape[count + 1 :]]
    value = _shaped(imp, value, sizes, "joined")
    if any(map(any, crops)):
        ends = [size - after for size, (_, after) in zip(sizes[1:], crops, strict=False)]
        if any(end <= before for end, (before, _) in zip(ends, crops, strict=True)):
            raise ModelError(f"crops of {crops} leave nothing of {sizes}", node=imp.where)
        bounds = [imp.ints(items, what) for items, what in (([pair[0] for pair in crops], "starts"), (ends, "ends"))]
        value = imp.node("Slice", [value, *bounds, imp.ints(range(1, count + 1), "axes")])
    imp.keep(value, "own", imp.output())


HANDLERS: Mapping[str, Callable[[Importer], None]] = {
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "SPACE_TO_BATCH_ND": _space_to_batch,
}


def with_dilations(graph: Graph) -> Graph:
    """The graph with one dilated convolution for each that the converter wrote out over batches.

    A convolution over every d-th element is one over the d batches of which each holds every d-th element, put back in
    order. A padding of the convolution itself, which each batch has, is one of d times as many elements around the
    image; what is cut off at the end is as much less padding. Nothing is changed where that would be less than none,
    where what lies between is read elsewhere, or where quantization parameters change on the way.
    """
    makers = {index: place for place, operator in enumerate(graph.operators) for index in operator.outputs}
    reads = Counter(index for operator in graph.operators for index in operator.inputs)
    reads.update(graph.outputs)
    replaced: dict[int, Operator] = {}
    dropped: set[int] = set()
    for place, last in enumerate(graph.operators):
        if last.name != "BATCH_TO_SPACE_ND":
            continue
        middle = _maker(graph, makers, reads, last)
        first = None if middle is None else _maker(graph, makers, reads, graph.operators[middle])
        if middle is None or first is None:
            continue
        joined = _joined(graph, graph.operators[first], graph.operators[middle], last)
        if joined is not None:
            replaced[place] = joined
            dropped |= {first, middle}
    kept = [replaced.get(place, item) for place, item in enumerate(graph.operators) if place not in dropped]
    return replace(graph, operators=tuple(kept))


def _maker(graph: Graph, makers: Mapping[int, int], reads: Counter[int], operator: Operator) -> int | None:
    """The place of the operator that makes the first input of this one, which nothing else reads."""
    index = operator.inputs[0] if operator.inputs else -1
    return makers.get(index) if reads[index] == 1 else None


def _joined(graph: Graph, first: Operator, conv: Operator, last: Operator) -> Operator | None:
    """The three operators as one convolution; None where they are none."""
    if first.name != "SPACE_TO_BATCH_ND" or conv.name not in _CONVOLUTIONS:
        return None
    steps, options = ("stride_h", "stride_w", "dilation_h", "dilation_w"), conv.options
    sizes = [_constants(graph, operator, position) for operator in (first, last) for position in (1, 2)]
    if any(options[key] != 1 for key in steps) or options["padding"] not in (0, 1) or None in sizes:
        return None
    block, pads, again, crops = (item for item in sizes if item is not None)
    shapes = [graph.tensors[index].shape for index in (first.inputs[0], conv.inputs[1], last.outputs[0])]
    if block != again or len(block) != 2 or len(pads) != 4 or len(crops) != 4 or {len(s) for s in shapes} != {4}:
        return None
    if not _unchanged(graph, first) or not _unchanged(graph, last) or not 1 <= min(block) <= max(block) < _MAX_DILATION:
        return None
    padded = [size + sum(pads[2 * axis : 2 * axis + 2]) for axis, size in enumerate(shapes[0][1:3])]
    if any(size % step for size, step in zip(padded, block, strict=True)):
        return None
    own = [(taps - 1 if options["padding"] == 0 else 0) for taps in shapes[1][1:3]]
    inner = [(total // 2, total - total // 2) for total in own]
    found = [
        pads[2 * axis + side] + inner[axis][side] * block[axis] - crops[2 * axis + side]
        for side in (0, 1)
        for axis in (0, 1)
    ]
    if min(found) < 0:
        return None
    changed = {"dilation_h": block[0], "dilation_w": block[1], "pads": tuple(found)}
    return Operator(conv.name, (first.inputs[0], *conv.inputs[1:]), last.outputs, {**options, **changed})


def _constants(graph: Graph, operator: Operator, position: int) -> tuple[int, ...] | None:
    index = operator.inputs[position] if position < len(operator.inputs) else -1
    values = graph.tensors[index].values if index >= 0 else None
    if values is None or not np.issubdtype(values.dtype, np.integer) or (values < 0).any():
        return None
    return tuple(int(item) for item in values.reshape(-1))


def _unchanged(graph: Graph, operator: Operator) -> bool:
    """Whether the result means its integers as the input does."""
    before, after = (graph.tensors[index].qparams for index in (operator.inputs[0], operator.outputs[0]))
    return before is after or (before is not None and after is not None and before.same(after))
