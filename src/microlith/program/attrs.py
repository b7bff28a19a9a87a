"""Typed attributes of the ops of a Program, in Program order (rows, columns, channels)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A sliding window over H and W.

    Attributes:
        kernel: rows, columns.
        stride: rows, columns.
        dilation: rows, columns.
        pad: top, left, bottom, right.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class Conv2d:
    """``conv2d``: consts weights O,KH,KW,I/groups and bias O. ``depthwise_conv2d``: weights C*M,KH,KW,1, groups = C."""

    window: Window
    groups: int = 1


@dataclass(frozen=True)
class FullyConnected:
    """``fully_connected``: y[m, o] = sum_k x[m, k] w[o, k] + bias[o]; consts weights O,K and bias O; x is rows of K."""


@dataclass(frozen=True)
class MatMul:
    """``matmul``: x (batch, M, K) by w (batch, K, N); a batch of 1 broadcasts.

    A constant operand is the const of role ``a`` or ``b`` and is not among the reads; ``a_zero`` and ``b_zero`` are the
    zero points of constants of an integer call, a view that is read carries its own.

    Attributes:
        batch: number of products.
        rows: of a and y.
        depth: columns of a, rows of b.
        columns: of b and y.
        broadcast_a: whether one a serves all products.
        broadcast_b: whether one b serves all products.
        a_zero: zero point of a where it is a constant.
        b_zero: zero point of b where it is a constant.
        a_strides: elements from one matrix, row and column to the next; None where a lies in a row.
        b_strides: likewise.
        y_strides: likewise; the last is 1.
    """

    batch: int
    rows: int
    depth: int
    columns: int
    broadcast_a: bool = False
    broadcast_b: bool = False
    a_zero: int = 0
    b_zero: int = 0
    a_strides: tuple[int, int, int] | None = None
    b_strides: tuple[int, int, int] | None = None
    y_strides: tuple[int, int, int] | None = None

    @property
    def strides_of_a(self) -> tuple[int, int, int]:
        """Elements from one matrix, row and column of a to the next."""
        return self.a_strides or (0 if self.broadcast_a else self.rows * self.depth, self.depth, 1)

    @property
    def strides_of_b(self) -> tuple[int, int, int]:
        """Elements from one matrix, row and column of b to the next."""
        return self.b_strides or (0 if self.broadcast_b else self.depth * self.columns, self.columns, 1)

    @property
    def strides_of_y(self) -> tuple[int, int, int]:
        """Elements from one matrix, row and column of the result to the next."""
        return self.y_strides or (self.rows * self.columns, self.columns, 1)


@dataclass(frozen=True)
class Binary:
    """``add``, ``sub``, ``mul``: elementwise over ``shape`` with strides of 0 along broadcast axes.

    Attributes:
        shape: of the result, physical order, at most 4 axes (padded with leading ones).
        a_strides: elements; a constant operand is the const of role ``a`` or ``b`` and is not among the reads.
        b_strides: elements.
        a_zero: zero point of a where it is a constant of an integer call; a view that is read carries its own.
        b_zero: zero point of b likewise.
    """

    shape: tuple[int, int, int, int]
    a_strides: tuple[int, int, int, int]
    b_strides: tuple[int, int, int, int]
    a_zero: int = 0
    b_zero: int = 0


@dataclass(frozen=True)
class Unary:
    """``unary``: one function over all elements; calls on quantized integers are ``lut`` instead.

    Attributes:
        function: name of the function, as the kernels list them.
        parameters: alpha, beta or bounds, by the function; of integers, integers.
    """

    function: str
    parameters: tuple[float | int, ...] = ()


@dataclass(frozen=True)
class Broadcast:
    """``binary``, ``compare`` and ``where``: one result from the elements of two or three operands of any type.

    Attributes:
        function: such as ``div`` or ``equal``; empty for ``where``.
        shape: of the result, physical order.
        strides: of each operand in elements, 0 along broadcast axes; an operand that is a constant is the const of role
            ``a``, ``b`` or ``c`` and is not among the reads.
    """

    function: str
    shape: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Cast:
    """``cast``: elements from the type of one view to that of another; see ``x_cast.h``."""


@dataclass(frozen=True)
class Test:
    """``test``: floats to booleans.

    Attributes:
        function: ``nan``, ``infinity``, ``positive_infinity`` or ``negative_infinity``.
    """

    function: str


@dataclass(frozen=True)
class Lut:
    """``lut``: y = table[channel][x + 128]; const ``table`` int8 of (tables, 256), tables = 1 or the last axis."""

    tables: int


@dataclass(frozen=True)
class Affine:
    """``affine`` (float): y = x * scale[c] + offset[c] over the last axis; consts ``scale`` and ``offset``."""


@dataclass(frozen=True)
class Pool2d:
    """``max_pool2d`` and ``average_pool2d``.

    Attributes:
        window: rows, columns.
        count_include_pad: whether padding counts in the divisor.
    """

    window: Window
    count_include_pad: bool = False


@dataclass(frozen=True)
class ImageMean:
    """How a mean over rows and columns rounds that LiteRT computes by a kernel of its own.

    Attributes:
        offset: added to the scaled sum of the integers as stored, beside the zero point of the result.
        channels: results after which channels begin again.
        up: channels, the first ones, of which the second rounding takes ties towards plus infinity.
    """

    offset: int
    channels: int
    up: int


@dataclass(frozen=True)
class ReduceMean:
    """``reduce_mean``: over the middle axis of (outer, count, inner); ``image`` under ``fixed`` only."""

    outer: int
    count: int
    inner: int
    image: ImageMean | None = None


@dataclass(frozen=True)
class Softmax:
    """``softmax``: over the middle axis of (outer, count, inner)."""

    outer: int
    count: int
    inner: int


@dataclass(frozen=True)
class Copy:
    """``copy``: strided copy of up to 6 axes: Transpose, Slice, Concat, Pad (after ``fill``), layout changes.

    What is copied is read, or is the const of role ``data``.

    Attributes:
        shape: elements copied along each axis.
        read_offset: elements.
        read_strides: elements, may be negative.
        write_offset: elements.
        write_strides: elements.
    """

    shape: tuple[int, ...]
    read_offset: int
    read_strides: tuple[int, ...]
    write_offset: int
    write_strides: tuple[int, ...]


@dataclass(frozen=True)
class Fill:
    """``fill``: every element of the written view becomes ``value`` (an integer as stored, or a float)."""

    value: float | int


@dataclass(frozen=True)
class Convert:
    """``flip_sign`` (u8 to s8 and back: x ^ 0x80), ``quantize`` (f32 to s8) and ``dequantize`` (s8 to f32).

    ``dynamic_quantize`` (f32 to u8) writes the scale (f32) and the zero point (u8) of the tensor too.
    """


@dataclass(frozen=True)
class ConvertChannels:
    """``quantize_channels`` and ``dequantize_channels``: f32 to integers of 4 to 16 bits, and integers to f32.

    Consts ``scale`` (float) and ``zero`` (int32) have one element for each channel, the middle axis of (outer,
    channels, inner). The bounds of the epilogue are those of the type; integers of 4 bits are stored one a byte.
    """

    outer: int
    channels: int
    inner: int
