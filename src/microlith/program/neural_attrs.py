"""Typed attributes of reductions, volumes, normalizations and recurrent layers of a Program."""

from __future__ import annotations

from dataclasses import dataclass

Triple = tuple[int, int, int]
Quadruple = tuple[int, int, int, int]


@dataclass(frozen=True)
class Reduce:
    """``reduce``: over the middle axis of (outer, count, inner).

    Attributes:
        function: ``sum``, ``max``, ``min``, ``prod``, ``l1``, ``sum_square``; of floats also ``l2``, ``log_sum``,
            ``log_sum_exp``.
        outer: lanes before the axis.
        count: elements of the axis.
        inner: lanes after the axis.
    """

    function: str
    outer: int
    count: int
    inner: int


@dataclass(frozen=True)
class Volume:
    """A window over depth, height and width; one or two spatial axes are the last ones.

    Attributes:
        kernel: taps.
        stride: steps between windows.
        dilation: steps between taps.
        before: padding before the input; of a transposed convolution what is cut off in front of the result.
        after: padding after the input.
    """

    kernel: Triple
    stride: Triple
    dilation: Triple
    before: Triple
    after: Triple = (0, 0, 0)


@dataclass(frozen=True)
class ConvNd:
    """``conv_nd``: over up to three spatial axes, with operands that may be constants or read.

    Weights are KD,KH,KW,I/groups,O, of a transposed convolution KD,KH,KW,I,O/groups. ``conv_transpose2d``, the integer
    form, has consts weights O,KH,KW,I/groups and bias O. ``conv_integer`` sums 8-bit integers in s32; its operands are
    ``x`` and, where it has one, ``x_zero``, its consts int8 weights O,taps,I/groups and, for some, ``weight_zero`` O.

    Attributes:
        volume: the window.
        groups: number of groups.
        transposed: whether it is a transposed convolution.
        operands: ``x``, ``weights`` and, where there is one, ``bias``; those that are no consts are read in this order.
    """

    volume: Volume
    groups: int
    transposed: bool
    operands: tuple[str, ...]


@dataclass(frozen=True)
class PoolNd:
    """``pool_nd``: over up to three spatial axes.

    Attributes:
        volume: the window.
        function: ``max``, ``average`` or ``lp``.
        p: of ``lp``.
        count_include_pad: whether padding counts in the divisor of an average.
        column_major: whether the indices, a second result of ``max``, count along the spatial axes in reverse order.
    """

    volume: Volume
    function: str
    p: int = 2
    count_include_pad: bool = False
    column_major: bool = False


@dataclass(frozen=True)
class Normalize:
    """``normalize``: lanes along the middle axis of (outer, count, inner) are divided by their size.

    Element k of lane l, counted over outer and inner, has scale and bias ``(l % groups) * per_group + k / span``.
    Further results are the means of the lanes, and one divided by their sizes.

    Attributes:
        size: ``deviation``, ``root_mean_square``, ``l2`` or ``l1``; only the first subtracts the mean.
        outer: lanes before the axis.
        count: elements of a lane.
        inner: lanes after the axis.
        groups: see above.
        per_group: see above.
        span: see above; divides ``count``.
        epsilon: added to the mean square.
        offset: added to the deviation.
        operands: ``x``, and ``scale`` and ``bias`` where there are such; those that are no consts are read in this
            order.
    """

    size: str
    outer: int
    count: int
    inner: int
    groups: int = 1
    per_group: int = 0
    span: int = 1
    epsilon: float = 0.0
    offset: float = 0.0
    operands: tuple[str, ...] = ("x",)


@dataclass(frozen=True)
class Lrn:
    """``lrn``: over the last axis; ``share`` is alpha / size, ``before`` and ``after`` are numbers of channels."""

    before: int
    after: int
    share: float
    beta: float
    bias: float


@dataclass(frozen=True)
class Recurrent:
    """``recurrent``: an LSTM, GRU or RNN layer; results are all states, the last ones, and of an LSTM the last cells.

    Consts ``functions`` (int32, the numbers of the activations of every direction) and ``parameters`` (float32, alpha
    and beta of each). Strides are in elements.

    Attributes:
        kind: ``lstm``, ``gru`` or ``rnn``.
        steps: length of the longest sequence.
        batch: number of sequences.
        depth: elements of an input.
        hidden: elements of a state.
        directions: 1 or 2.
        reverse: whether the first direction goes from the end to the beginning; the second always does.
        x_strides: of steps and sequences.
        y_strides: of steps, directions and sequences.
        state_strides: of directions and sequences.
        coupled: of an LSTM: whether what is forgotten is what is not taken in.
        linear_before_reset: of a GRU: whether the reset gate comes after the product.
        clip: magnitude to which the inputs of activations are cut; 0 for none.
        operands: roles that are there, of ``x``, ``w``, ``r``, ``b``, ``lengths``, ``initial_h``, ``initial_c`` and
            ``peepholes``; those that are no consts are read in this order.
    """

    kind: str
    steps: int
    batch: int
    depth: int
    hidden: int
    directions: int
    reverse: bool
    x_strides: tuple[int, int]
    y_strides: Triple
    state_strides: tuple[int, int]
    coupled: bool
    linear_before_reset: bool
    clip: float
    operands: tuple[str, ...]


@dataclass(frozen=True)
class Attention:
    """``attention``: softmax(scale * q k' + mask) v for every head; strides are of batch, head, row and column.

    Attributes:
        batch: number of sequences.
        heads: of q and y.
        kv_heads: of k and v; divides ``heads``.
        rows: of q and y.
        keys: rows of k and v.
        depth: columns of q and k.
        columns: of v and y.
        q_strides: in elements.
        k_strides: in elements.
        v_strides: in elements.
        mask_strides: in elements, 0 where it is repeated.
        y_strides: in elements; the last is 1.
        causal: whether row i sees the keys up to i only.
        scale: of the products.
        cap: bound of the scaled products, by tanh; 0 for none.
        operands: ``q``, ``k``, ``v`` and, where there is one, ``mask``; those that are no consts are read in this
            order.
    """

    batch: int
    heads: int
    kv_heads: int
    rows: int
    keys: int
    depth: int
    columns: int
    q_strides: Quadruple
    k_strides: Quadruple
    v_strides: Quadruple
    mask_strides: Quadruple
    y_strides: Quadruple
    causal: bool
    scale: float
    cap: float
    operands: tuple[str, ...]

    def extents(self, role: str) -> Quadruple:
        """Of an operand along batch, heads, rows and columns, as it is read."""
        if role == "mask":
            return self.batch, self.heads, self.rows, self.keys
        heads, rows = (self.heads, self.rows) if role == "q" else (self.kv_heads, self.keys)
        return self.batch, heads, rows, self.columns if role == "v" else self.depth

    def strides(self, role: str) -> Quadruple:
        """Of an operand."""
        found = {"q": self.q_strides, "k": self.k_strides, "v": self.v_strides, "mask": self.mask_strides}
        return found[role]
