"""What the int8 kernels do in a call, counted: calls of loops and their turns, by the structure of the C.

A :class:`Work` names the code path and counts its parts exactly, from shapes alone; :mod:`microlith.kernels.cost_table`
holds what each part costs on a core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from microlith.kernels.base import CallContext, Kernel, Literal, Runtime
from microlith.program.attrs import Conv2d, Pool2d, ReduceMean, Window


@dataclass(frozen=True)
class Work:
    """The work of one call.

    Attributes:
        path: the code path through the kernel; empty where there is one.
        counts: how often each part of it runs.
    """

    path: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class _Axis:
    """How the windows of one axis lie: the taps inside the input for each output."""

    inside: tuple[int, ...]
    taps: int

    @property
    def full(self) -> int:
        """Outputs whose window lies inside."""
        return sum(count == self.taps for count in self.inside)

    @property
    def partial(self) -> int:
        """Outputs whose window lies inside in part or not at all."""
        return len(self.inside) - self.full

    @property
    def total(self) -> int:
        """Taps inside, over all outputs."""
        return sum(self.inside)


def work(kernel: Kernel, ctx: CallContext) -> Work | None:
    """The work of a call; None for a kernel whose parts are not counted, and for rows in rings."""
    counter = _COUNTERS.get(kernel.name)
    rings = any(view.ring_rows is not None for view in (*ctx.reads, *ctx.writes))
    return None if counter is None or rings else counter(kernel, ctx)


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _axis(window: Window, ctx: CallContext, axis: int) -> _Axis:
    size, kernel, dilation = ctx.reads[0].shape[1 + axis], window.kernel[axis], window.dilation[axis]
    origins = (out * window.stride[axis] - window.pad[axis] for out in range(ctx.writes[0].shape[1 + axis]))
    return _Axis(tuple(sum(0 <= origin + tap * dilation < size for tap in range(kernel)) for origin in origins), kernel)


def _literals(kernel: Kernel, ctx: CallContext) -> dict[str, str]:
    return {item.name: item.value for item in kernel.arguments(ctx) if isinstance(item, Literal)}


def _numbers(kernel: Kernel, ctx: CallContext) -> dict[str, int]:
    """Arguments that are integers, by name."""
    kinds = (item for item in kernel.arguments(ctx) if isinstance(item, Literal | Runtime))
    return {item.name: int(item.value) for item in kinds if item.ctype == "int32_t"}


def _path(kernel: Kernel, ctx: CallContext, *flags: str) -> str:
    """The requantization and those literal arguments that are not 0."""
    values = _literals(kernel, ctx)
    kind = ("float", "fixed", "divide", "short fixed")[int(values["kind"])]
    zeros = ("weight zeros",) if "weight_zero" in ctx.consts else ()
    return ", ".join((kind, *zeros, *(flag.replace("_", " ") for flag in flags if values.get(flag, "0") != "0")))


def _turns(quads: int) -> int:
    """Turns of an inner loop that does four quads a turn."""
    return _ceil(quads, 4)


def _conv_dsp(kernel: Kernel, ctx: CallContext) -> Work:
    assert isinstance(ctx.call.attrs, Conv2d)
    window, channels = ctx.call.attrs.window, ctx.reads[0].shape[3]
    _, height, width, outputs = ctx.writes[0].shape
    rows, columns = _axis(window, ctx, 0), _axis(window, ctx, 1)
    taps = window.kernel[1] if window.dilation[1] == 1 else 1
    runs = window.kernel[1] // taps
    run, pixels = taps * channels, height * width
    quads, groups = _ceil(window.kernel[0] * window.kernel[1] * channels, 4), _ceil(pixels, 4)
    blocks, appended = groups * _ceil(outputs, 2), pixels * window.kernel[0] * runs
    fast = rows.full * columns.full if runs == 1 else 0
    # A run that is padding in part is copied tap by tap; where runs have one tap, so is one wholly beside the row.
    edges = columns.partial if runs == 1 else len(columns.inside) * runs - columns.total
    beside = len(columns.inside) * window.kernel[1] - columns.total
    inside = columns.total - columns.full * window.kernel[1] if runs == 1 else 0
    left = window.kernel[0] * runs * (run % 4)
    # Pixels that are read where they lie: one tap of whole quads that is never padding.
    direct = window.kernel == (1, 1) and channels % 4 == 0 and rows.full == height and columns.full == width
    counts = {
        "call": 1,
        "byte of a run": run,
        "row": height,
        "pixel": pixels,
        "pixel gathered": 0 if direct else pixels,
        "pixel at an edge": pixels - fast,
        "run at an edge": (pixels - fast) * window.kernel[0] * runs,
        "run outside": (height * window.kernel[0] - rows.total) * len(columns.inside) * runs,
        "run partly outside": rows.total * edges,
        "tap outside": rows.total * beside,
        "tap beside it": rows.total * inside,
        "byte outside": rows.total * beside * channels,
        "byte beside it": rows.total * inside * channels,
        "word outside": rows.total * beside * (channels // 4),
        "word beside it": rows.total * inside * (channels // 4),
        "run of quads": appended if run >= 4 and not direct else 0,
        "quad of a run": appended * (run // 4),
        "turn of a run": appended * _turns(run // 4),
        "run with a rest": appended if run % 4 else 0,
        "byte of a rest": appended * (run % 4),
        "pixel with a rest": pixels if run % 4 else 0,
        "quad of rests": pixels * _ceil(left, 4),
        "turn of rests": pixels * _turns(_ceil(left, 4)),
        "group of pixels": groups,
        "block": blocks,
        "quad of a block": blocks * quads,
        "turn of a block": blocks * _turns(quads),
    }
    return Work(_conv_dsp_path(kernel, ctx), counts)


def _conv_dsp_path(kernel: Kernel, ctx: CallContext) -> str:
    """The loop for an even number of channels is another path, the rest of them differ in their requantization."""
    path = _path(kernel, ctx, "full_range", "per_channel")
    even = ctx.writes[0].shape[3] % 2 == 0
    path = f"{path}, even" if even and path in _EVEN_PATHS else path
    return path if _literals(kernel, ctx)["joined"] == "0" else f"{path}, joined"


_EVEN_PATHS = ("float, full range, per channel", "short fixed, full range, per channel")


def _conv_winograd(kernel: Kernel, ctx: CallContext) -> Work:
    assert isinstance(ctx.call.attrs, Conv2d)
    _, height, width, outputs = ctx.writes[0].shape
    _, in_height, in_width, channels = ctx.reads[0].shape
    pad = ctx.call.attrs.window.pad
    rows, columns = _tile_axis(height, in_height, pad[0]), _tile_axis(width, in_width, pad[1])
    inside = rows.count(4) * columns.count(4)
    tiles, quads = len(rows) * len(columns), channels // 4
    pairs = _ceil(tiles, 4) * _ceil(outputs, 2)
    counts = {
        "call": 1,
        "row of tiles": len(rows),
        "tile": tiles,
        "tile at an edge": tiles - inside,
        "quad of a tile": tiles * quads,
        "quad at an edge": (tiles - inside) * quads,
        "row at an edge": (sum(rows) * len(columns) - 4 * inside) * quads,
        "pixel at an edge": (sum(rows) * sum(columns) - 16 * inside) * quads,
        "pair of outputs": pairs,
        "product": pairs * 2 * channels,
        "turn of products": pairs * _ceil(channels, 16),
    }
    return Work(_path(kernel, ctx, "full_range", "per_channel"), counts)


def _tile_axis(outputs: int, size: int, pad: int) -> tuple[int, ...]:
    """Of the four inputs of each tile of two outputs, how many lie inside."""
    return tuple(max(0, min(out - pad + 4, size) - max(out - pad, 0)) for out in range(0, outputs, 2))


def _depthwise_dsp(kernel: Kernel, ctx: CallContext) -> Work:
    assert isinstance(ctx.call.attrs, Conv2d)
    window, (_, _, in_width, channels) = ctx.call.attrs.window, ctx.reads[0].shape
    _, height, width, _ = ctx.writes[0].shape
    stride = window.stride[1]
    block_rows = _numbers(kernel, ctx)["block_rows"]
    groups, blocks = _ceil(channels, 4), _ceil(height, block_rows)
    pairs = (_ceil(width, 2) if stride == 1 else width) + 1
    kept = max(0, 3 - window.stride[0])
    inside, outside = _lines(window.stride[0], window.pad[0], 3, ctx.reads[0].shape[1], height, block_rows)
    starts, middle, single = _line_pairs(-window.pad[1], pairs, in_width)
    turns, odd = (width // 2, width % 2) if stride == 1 else (width, 0)
    counts = {
        "call": 1,
        "group": groups,
        "block": groups * blocks,
        "pair kept": groups * (blocks - 1) * pairs,
        "word kept": groups * (blocks - 1) * pairs * kept * 4,
        "line": groups * (inside + outside),
        "stretch of pairs": groups * inside * starts,
        "pair": groups * inside * middle,
        "pair at an edge": groups * inside * single,
        "pair outside": groups * outside * pairs,
        "channel of a block": 4 * groups * blocks,
        "row of a channel": 4 * groups * height,
        "row with turns": 4 * groups * height * (turns > 0),
        "turn": 4 * groups * height * turns,
        "odd output": 4 * groups * height * odd,
    }
    return Work(_path(kernel, ctx, "full_range", "per_channel") + f", stride {stride}", counts)


def _lines(stride: int, pad: int, reach: int, size: int, outputs: int, block: int) -> tuple[int, int]:
    """Lines of the input turned that lie inside the input and outside of it, for blocks of lines of outputs."""
    kept = max(0, reach - stride)
    inside = outside = 0
    for begin in range(0, outputs, block):
        top, end = begin * stride - pad, min(begin + block, outputs)
        for line in range(top + (kept if begin else 0), top + (end - 1 - begin) * stride + reach):
            inside, outside = inside + (0 <= line < size), outside + (not 0 <= line < size)
    return inside, outside


def _depthwise_lines(kernel: Kernel, ctx: CallContext) -> Work:
    at = _numbers(kernel, ctx)
    channels, upright, both = ctx.reads[0].shape[3], at["upright"], at["stride_along"] == 1
    sizes, outputs = ctx.reads[0].shape[1:3], ctx.writes[0].shape[1:3]
    size_along, size_across = sizes if upright else sizes[::-1]
    along, across = outputs if upright else outputs[::-1]
    words = at["taps_along"] // 2 + 1 if both else _ceil(at["taps_along"], 2)
    groups, blocks = _ceil(channels, 4), _ceil(across, at["block"])
    reach = (at["taps_across"] - 1) * at["dilation_across"] + 1
    kept = max(0, reach - at["stride_across"])
    inside, outside = _lines(at["stride_across"], at["pad_across"], reach, size_across, across, at["block"])
    counts: dict[str, int] = {"call": 1, "group": groups}
    for phase in range(min(at["dilation_along"], along)):
        first, offset = divmod(phase * at["stride_along"] - at["pad_along"], at["dilation_along"])
        count = _ceil(along - phase, at["dilation_along"])
        pairs = (max(2, _ceil(count, 2)) if both else _ceil(count, 4) * 4) + words - 1
        starts, middle, single = _line_pairs(first, pairs, _ceil(max(0, size_along - offset), at["dilation_along"]))
        six, four = _turns_of_outputs(count) if both else (0, _ceil(count, 4))
        rows = 4 * groups * across
        for part, number in (
            ("block", groups * blocks),
            ("block with kept words", groups * (blocks - 1) * (kept > 0)),
            ("word kept", groups * (blocks - 1) * kept * pairs * 4),
            ("line", groups * (inside + outside)),
            ("stretch of pairs", groups * inside * starts),
            ("pair", groups * inside * middle),
            ("pair at an edge", groups * inside * single),
            ("pair outside", groups * outside * pairs),
            ("channel of a block", 4 * groups * blocks),
            ("row of taps", 4 * groups * blocks * at["taps_across"]),
            ("word of taps", 4 * groups * blocks * at["taps_across"] * words),
            ("row", rows),
            ("turn of six", rows * six),
            ("row of six", rows * six * at["taps_across"]),
            ("word of six", rows * six * at["taps_across"] * words),
            ("turn of four", rows * four),
            ("row of four", rows * four * at["taps_across"]),
            ("word of four", rows * four * at["taps_across"] * words),
        ):
            counts[part] = counts.get(part, 0) + number
    # Long rows of taps are summed in C.
    chosen = (("upright", upright), ("dilated", at["dilation_along"] > 1), ("long", words > 5))
    flags = "".join(f", {flag}" for flag, on in chosen if on)
    return Work(_path(kernel, ctx, "full_range") + f"{flags}, stride {at['stride_along']}", counts)


def _turns_of_outputs(count: int) -> tuple[int, int]:
    """Turns of six and of four outputs that make a line."""
    six = four = 0
    while count > 0:
        wide = count > 8 or count in (5, 6)
        six, four, count = six + wide, four + (not wide), count - (6 if wide else 4)
    return six, four


def _line_pairs(first: int, pairs: int, width: int) -> tuple[int, int, int]:
    """Stretches of column pairs inside a row, pairs in them, and pairs that are turned one by one."""
    starts = middle = single = 0
    columns = range(first, first + 2 * pairs, 2)
    previous = False
    for column in columns:
        now = column >= 0 and column + 1 < width
        starts, middle, single = starts + (now and not previous), middle + now, single + (not now)
        previous = now
    return starts, middle, single


def _fully_connected_dsp(kernel: Kernel, ctx: CallContext) -> Work:
    outputs, depth = ctx.consts["weights"].shape
    rows, quads, blocks = ctx.reads[0].size // depth, _ceil(depth, 4), _ceil(outputs, 4)
    counts = {
        "call": 1,
        "row": rows,
        "quad of a row": rows * (depth // 4),
        "row with a rest": rows if depth % 4 else 0,
        "byte of a rest": rows * (depth % 4),
        "block": rows * blocks,
        "quad of a block": rows * blocks * quads,
        "turn of a block": rows * blocks * _turns(quads),
        "output": rows * outputs,
    }
    return Work(_path(kernel, ctx, "full_range", "per_channel"), counts)


def _conv(kernel: Kernel, ctx: CallContext) -> Work:
    assert isinstance(ctx.call.attrs, Conv2d)
    window, groups = ctx.call.attrs.window, ctx.call.attrs.groups
    _, height, width, outputs = ctx.writes[0].shape
    size = int(ctx.consts["weights"][0].size)
    depth = size // (window.kernel[0] * window.kernel[1])
    rows, columns = _axis(window, ctx, 0), _axis(window, ctx, 1)
    pairs, pixels = height * _ceil(width, 2), height * width
    counts = {
        "call": 1,
        "row": height,
        "pair of pixels": pairs,
        "group": pairs * groups,
        "odd pixel": height * (width % 2),
        "window": pixels * groups,
        "row of a window": pixels * groups * window.kernel[0],
        "pair of outputs": pairs * outputs,
        "product": pairs * outputs * size,
        "four products": pairs * outputs * (size // 4),
        "pair of four products": pairs * outputs * (size >= 4),
        "pair with a rest": pairs * outputs * (size % 4 > 0),
        "output": pixels * outputs,
    }
    # Taps that lie together are copied at once, and so is the padding before and after them.
    together = window.dilation[1] == 1 and groups == 1
    outside_rows = height * window.kernel[0] - rows.total
    for name, times, taps in (
        ("copied", rows.total, columns.inside),
        ("filled", rows.total, [window.kernel[1] - count for count in columns.inside]),
        ("filled", outside_rows, [window.kernel[1]] * width),
    ):
        at_once = [count * depth for count in taps] if together else [depth] * sum(taps)
        for part, amount in (
            (f"stretch {name}", sum(length > 0 for length in at_once)),
            (f"byte {name}", sum(at_once)),
            (f"word {name}", sum(length // 4 for length in at_once)),
            (f"stretch of words {name}", sum(length >= 4 for length in at_once)),
            (f"stretch with a rest {name}", sum(length % 4 > 0 for length in at_once)),
        ):
            counts[part] = counts.get(part, 0) + times * groups * amount
    in_place = window.kernel == (1, 1) and _literals(kernel, ctx).get("padded") == "0"
    path = _path(kernel, ctx, "per_channel", "padded")
    where = "in place" if in_place else "gathered"
    return Work(f"{path}, {where}{'' if groups == 1 else ', groups'}", counts)


def _depthwise(kernel: Kernel, ctx: CallContext) -> Work:
    assert isinstance(ctx.call.attrs, Conv2d)
    window = ctx.call.attrs.window
    _, height, width, outputs = ctx.writes[0].shape
    rows, columns = _axis(window, ctx, 0), _axis(window, ctx, 1)
    filters = outputs // ctx.reads[0].shape[3]
    fours = outputs // 4 if filters == 1 else 0
    ones = outputs - 4 * fours
    pixels, inside = height * width, rows.total * columns.total
    outside = pixels * window.kernel[0] * window.kernel[1] - inside
    counts = {"call": 1, "row": height, "pixel": pixels}
    for name, lanes in (("four channels", fours), ("one channel", ones)):
        counts |= {
            name: pixels * lanes,
            f"row of {name}": rows.total * width * lanes,
            f"row outside of {name}": (height * window.kernel[0] - rows.total) * width * lanes,
            f"tap of {name}": inside * lanes,
            f"tap outside of {name}": outside * lanes,
        }
    path = _path(kernel, ctx, "per_channel", "padded")
    return Work(f"{path}, window {window.kernel[0]}x{window.kernel[1]}, {filters} filters", counts)


def _fully_connected(kernel: Kernel, ctx: CallContext) -> Work:
    outputs, depth = ctx.consts["weights"].shape
    rows = ctx.reads[0].size // depth
    pairs = rows * _ceil(outputs, 2)
    counts = {
        "call": 1,
        "row": rows,
        "pair of outputs": pairs,
        "product": pairs * depth,
        "four products": pairs * (depth // 4),
        "output": rows * outputs,
    }
    return Work(_path(kernel, ctx, "per_channel"), counts)


def _pool(kernel: Kernel, ctx: CallContext) -> Work:
    assert isinstance(ctx.call.attrs, Pool2d)
    window = ctx.call.attrs.window
    _, height, width, channels = ctx.writes[0].shape
    rows, columns = _axis(window, ctx, 0), _axis(window, ctx, 1)
    counts = {
        "call": 1,
        "row": height,
        "pixel": height * width,
        "output": height * width * channels,
        "row of taps": rows.total * width * channels,
        "tap": rows.total * columns.total * channels,
    }
    path = "" if "max" in kernel.name else _path(kernel, ctx, "count_include_pad") + ", "
    if _literals(kernel, ctx)["padded"] == "1":
        path += "padded, "
    size = "x".join(map(str, window.kernel))
    return Work(f"{path}window {size}, stride {'x'.join(map(str, window.stride))}", counts)


def _pool_dsp(kernel: Kernel, ctx: CallContext) -> Work:
    assert isinstance(ctx.call.attrs, Pool2d)
    window = ctx.call.attrs.window
    _, height, width, channels = ctx.writes[0].shape
    rows, columns = _axis(window, ctx, 0), _axis(window, ctx, 1)
    full, pixels = rows.full * columns.full, height * width
    counts = {
        "call": 1,
        "row": height,
        "row of a window": rows.total,
        "pixel": pixels,
        "pixel at an edge": pixels - full,
    }
    # Where a window lies inside, the loops over its taps are written out.
    full_rows, full_taps = full * window.kernel[0], full * window.kernel[0] * window.kernel[1]
    for where, lanes in (("word", channels // 4), ("byte", channels % 4)):
        counts |= {
            where: full * lanes,
            f"row of a {where}": full_rows * lanes,
            f"tap of a {where}": full_taps * lanes,
            f"{where} at an edge": (pixels - full) * lanes,
            f"row of a {where} at an edge": (rows.total * width - full_rows) * lanes,
            f"tap of a {where} at an edge": (rows.total * columns.total - full_taps) * lanes,
        }
    flags = ("full_range", "padded", "count_include_pad")
    if "average" in kernel.name:
        path = _path(kernel, ctx, *flags)
    else:
        path = ", ".join(flag.replace("_", " ") for flag in flags if _literals(kernel, ctx).get(flag) == "1")
    sizes = (("window", window.kernel), ("stride", window.stride), ("dilation", window.dilation))
    return Work(", ".join([path, *(f"{name} {'x'.join(map(str, pair))}" for name, pair in sizes)]).lstrip(", "), counts)


def _reduce_mean_dsp(kernel: Kernel, ctx: CallContext) -> Work:
    attrs = ctx.call.attrs
    assert isinstance(attrs, ReduceMean)
    words, singles = attrs.outer * (attrs.inner // 4), attrs.outer * (attrs.inner % 4)
    pieces, left = divmod(attrs.count, 255)
    counts = {
        "call": 1,
        "row": attrs.outer,
        "word": words,
        "piece of a word": words * (pieces + (left > 0)),
        "four values of a word": words * (pieces * 63 + left // 4),
        "value of a word": words * (pieces * 3 + left % 4),
        "single": singles,
        "value of a single": singles * attrs.count,
    }
    return Work(_path(kernel, ctx), counts)


def _reduce_mean(kernel: Kernel, ctx: CallContext) -> Work:
    attrs = ctx.call.attrs
    assert isinstance(attrs, ReduceMean)
    lanes = attrs.outer * attrs.inner
    counts = {
        "call": 1,
        "row": attrs.outer,
        "output": lanes,
        "value": lanes * attrs.count,
        "four values": lanes * (attrs.count // 4),
        "output with a rest": lanes * (attrs.count % 4 > 0),
    }
    return Work(_path(kernel, ctx), counts)


def _elements(kernel: Kernel, ctx: CallContext) -> Work:
    return Work(_path(kernel, ctx, "full_range"), {"call": 1, "element": ctx.writes[0].size})


_COUNTERS: Mapping[str, Callable[[Kernel, CallContext], Work]] = {
    "s8_conv2d__dsp_2x4": _conv_dsp,
    "s8_conv2d__dsp_winograd_2x2": _conv_winograd,
    "s8_depthwise_conv2d__dsp_3x3": _depthwise_dsp,
    "s8_depthwise_conv2d__dsp_lines": _depthwise_lines,
    "s8_fully_connected__dsp_1x4": _fully_connected_dsp,
    "s8_conv2d__portable": _conv,
    "s8_depthwise_conv2d__portable": _depthwise,
    "s8_fully_connected__portable": _fully_connected,
    "s8_max_pool2d__dsp_1x4": _pool_dsp,
    "s8_average_pool2d__dsp_1x4": _pool_dsp,
    "s8_reduce_mean__dsp_1x4": _reduce_mean_dsp,
    "s8_max_pool2d__portable": _pool,
    "s8_average_pool2d__portable": _pool,
    "s8_reduce_mean__portable": _reduce_mean,
    "s8_add__flat": _elements,
}
