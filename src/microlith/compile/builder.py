"""What lowering builds with: buffers, views, consts and calls of one entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from microlith.compile.layout import Layout, graph_shape, identity, physical_shape, same_bytes
from microlith.program.attrs import Copy
from microlith.program.types import (
    ITEM_BYTES,
    Buffer,
    Const,
    ConstRef,
    DType,
    Epilogue,
    Lifetime,
    OpCall,
    View,
    contiguous,
)
from microlith.quant.requantize import FixedRequant, FloatRequant, Requant
from microlith.quant.types import QParams

SPACE = "arena"
ALIGN = 16
_NO_LIFETIME = Lifetime(0, 0)


class Builder:
    """Collects what the calls of one entry need; lifetimes are set once the order is known."""

    def __init__(self) -> None:
        self.buffers: dict[str, Buffer] = {}
        self.views: dict[str, View] = {}
        self.consts: dict[str, Const] = {}
        self.calls: list[OpCall] = []
        self._by_hash: dict[str, str] = {}
        self._converted: dict[tuple[str, Layout], View] = {}

    def tensor(
        self,
        shape: Sequence[int],
        dtype: DType,
        qparams: QParams | None,
        source: str,
        layout: Layout | None = None,
        space: str = SPACE,
    ) -> View:
        """A new buffer and a view of all of it; ``shape`` is in graph order."""
        layout = identity(len(shape)) if layout is None else layout
        physical = physical_shape(shape, layout)
        size = int(np.prod(physical, dtype=np.int64)) * ITEM_BYTES[dtype]
        buffer = Buffer(f"b{len(self.buffers)}", max(size, 1), ALIGN, space, _NO_LIFETIME)
        self.buffers[buffer.id] = buffer
        return self._view(View("", buffer.id, 0, physical, contiguous(physical), layout, dtype, qparams, None, source))

    def alias(
        self,
        view: View,
        shape: Sequence[int],
        layout: Layout,
        source: str,
        qparams: QParams | None,
        skipped: int = 0,
    ) -> View:
        """Another view of the same bytes, or of those after the ``skipped`` first; ``shape`` is in graph order."""
        physical = physical_shape(shape, layout)
        offset = view.offset + skipped
        return self._view(
            View("", view.buffer, offset, physical, contiguous(physical), layout, view.dtype, qparams, None, source)
        )

    def _view(self, view: View) -> View:
        named = View(
            f"v{len(self.views)}", view.buffer, view.offset, view.shape, view.strides, view.layout, view.dtype,
            view.qparams, view.ring_rows, view.source,
        )  # fmt: skip
        self.views[named.id] = named
        return named

    def const(self, hint: str, values: NDArray[np.generic]) -> ConstRef:
        """A reference to these values; equal values are kept once."""
        made = Const.of(f"{hint}_{len(self.consts)}", values)
        known = self._by_hash.get(made.sha256)
        if known is None:
            self.consts[made.id] = made
            self._by_hash[made.sha256] = known = made.id
        return ConstRef(known)

    def call(
        self,
        op: str,
        attrs: object,
        reads: Sequence[View],
        write: View,
        nodes: Sequence[str],
        *,
        consts: Mapping[str, ConstRef] | None = None,
        epilogue: Epilogue = Epilogue(),  # noqa: B008 - frozen
        requant: Requant | None = None,
        others: Sequence[View] = (),
    ) -> None:
        """Add a call that writes ``write`` and ``others``; the arrays of ``requant`` become consts."""
        roles = dict(consts or {})
        if isinstance(requant, FloatRequant):
            roles["scale"] = self.const("scale", requant.scale.reshape(-1))
        elif isinstance(requant, FixedRequant):
            roles["multiplier"] = self.const("multiplier", requant.multiplier.reshape(-1))
            roles["shift"] = self.const("shift", requant.shift.reshape(-1))
        self.calls.append(
            OpCall(
                op,
                attrs,
                tuple(view.id for view in reads),
                (write.id, *(view.id for view in others)),
                roles,
                epilogue,
                requant,
                source_nodes=tuple(nodes),
            )
        )

    def copy(self, view: View, target: View, nodes: Sequence[str]) -> None:
        """Copy a tensor into another of the same graph shape, whatever their layouts."""
        strides = dict(zip(view.layout, view.strides, strict=True))
        read_strides = tuple(strides[axis] for axis in target.layout)
        self.call("copy", Copy(target.shape, 0, read_strides, 0, target.strides), [view], target, nodes)

    def in_layout(self, view: View, layout: Layout, nodes: Sequence[str]) -> View:
        """The tensor in that layout: the view itself, an alias where no byte moves, or a copy (made once)."""
        if view.layout == layout:
            return view
        shape = graph_shape(view.shape, view.layout)
        if (view.id, layout) not in self._converted:
            if same_bytes(shape, view.layout, layout):
                made = self.alias(view, shape, layout, view.source, view.qparams)
            else:
                made = self.tensor(shape, view.dtype, view.qparams, view.source, layout)
                self.copy(view, made, nodes)
            self._converted[view.id, layout] = made
        return self._converted[view.id, layout]
