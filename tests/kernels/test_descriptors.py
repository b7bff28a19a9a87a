"""What descriptors promise: refusals with reasons, shared instances, packing, bounds, headers."""

from __future__ import annotations

import dataclasses
import re
from importlib import resources

import numpy as np
import pytest

from kernels import cases_f32 as f32
from kernels import cases_s8 as s8
from kernels.cases_neural import neural_cases
from kernels.cases_s8 import Layer
from kernels.harness import Case, context, view
from kernels.portable_cases import f32_cases, s8_cases
from microlith.device.load import device, host
from microlith.kernels import ALL, candidates, header_text, headers_needed, kernel
from microlith.kernels.base import CallContext, Kernel, Literal, RowRange
from microlith.kernels.weighted import folded_bias
from microlith.program.attrs import Conv2d, Copy, Lut, MatMul, ReduceMean, Softmax, Unary, Window
from microlith.program.types import ConstRef
from microlith.quant.requantize import FixedRequant, FloatRequant
from microlith.quant.types import QParams

CASES = (*s8_cases(), *f32_cases(), *neural_cases())
PLAIN = Window((3, 3), pad=(1, 1, 1, 1))


def with_consts(ctx: CallContext, **consts: np.ndarray | None) -> CallContext:
    """The call with constants replaced, or left out where None."""
    values = {role: item for role, item in (dict(ctx.consts) | consts).items() if item is not None}
    call = dataclasses.replace(ctx.call, consts={role: ConstRef(role) for role in values})
    return dataclasses.replace(ctx, call=call, consts=values)


def with_call(ctx: CallContext, **fields: object) -> CallContext:
    return dataclasses.replace(ctx, call=dataclasses.replace(ctx.call, **fields))


def with_read(ctx: CallContext, **fields: object) -> CallContext:
    return dataclasses.replace(ctx, reads=(dataclasses.replace(ctx.reads[0], **fields), *ctx.reads[1:]))


def conv(rng: np.random.Generator, **layer: object) -> Case:
    return s8.conv2d(rng, (6, 6, 4), 4, PLAIN, 1, Layer(**layer))  # type: ignore[arg-type]


def refused(case: Case, ctx: CallContext) -> str:
    fit = case.kernel.fits(ctx, host())
    assert not fit
    return fit.reason


def test_refusals_of_views_name_the_view(rng: np.random.Generator) -> None:
    case = conv(rng)
    assert "x is f32, the kernel takes s8" in refused(case, with_read(case.ctx, dtype="f32"))
    assert "x has gaps" in refused(case, with_read(case.ctx, strides=(500, 80, 8, 1)))
    assert "expected" in refused(case, with_call(case.ctx, attrs=Conv2d(Window((2, 2)))))
    assert "it serves conv2d, the call is lut" in refused(case, with_call(case.ctx, op="lut", attrs=Lut(1)))
    flat = with_read(case.ctx, shape=(2, 3, 6, 4), strides=(72, 24, 4, 1))
    assert "takes (1, height, width, channels)" in refused(case, flat)
    mean = s8.reduce_mean(rng, 1, 4, 3, "float")
    assert "ring of rows" in refused(mean, with_read(mean.ctx, ring_rows=2))


def test_refusals_of_constants(rng: np.random.Generator) -> None:
    case = conv(rng)
    assert "no bias" in refused(case, with_consts(case.ctx, bias=None))
    assert "needs a requantization" in refused(case, with_call(case.ctx, requant=None))
    wrong = FloatRequant(np.ones(3, np.float32))
    assert "length 3, the kernel takes 1 or 4" in refused(case, with_call(case.ctx, requant=wrong))
    huge = np.full(4, 2**31 - 1, np.int32)
    assert "does not fit in 32 bits" in refused(case, with_consts(case.ctx, bias=huge))
    left = FixedRequant(np.full(4, 2**30, np.int32), np.full(4, 25, np.int8))
    assert "shifted left by 25 bits" in refused(case, with_call(case.ctx, requant=left))
    floats = f32.conv2d(rng, (6, 6, 4), 4, PLAIN)
    assert "takes float32" in refused(floats, with_consts(floats.ctx, bias=np.zeros(4)))
    depthwise = s8.depthwise_conv2d(rng, (6, 6, 4), 1, PLAIN)
    odd = with_read(depthwise.ctx, shape=(1, 6, 6, 3), strides=(108, 18, 3, 1))
    assert "no multiple of 3" in refused(depthwise, odd)
    lut = s8.lut(rng, (1, 2, 2, 3), per_channel=True)
    assert "2 tables" in refused(lut, with_call(lut.ctx, attrs=Lut(2)))


def test_refusals_of_attributes(rng: np.random.Generator) -> None:
    case = s8.conv2d(rng, (6, 6, 4), 4, PLAIN)
    assert "do not divide into 3 groups" in refused(case, with_call(case.ctx, attrs=Conv2d(PLAIN, 3)))
    softmax = s8.softmax(rng, 1, 4, 1, "float")
    assert "65,535" in refused(softmax, with_call(softmax.ctx, attrs=Softmax(1, 65536, 1)))
    mean = s8.reduce_mean(rng, 1, 4, 3, "float")
    assert "expected 15 to 3" in refused(mean, with_call(mean.ctx, attrs=ReduceMean(1, 5, 3)))
    pool = s8.average_pool2d(rng, (6, 6, 4), PLAIN, False, "float")
    assert "needs equal parameters" in refused(pool, with_call(pool.ctx, requant=None))
    fixed = s8.softmax(rng, 1, 4, 1, "fixed")
    assert "are float32, the kernel takes int32" in kernel("s8_softmax__portable").fits(fixed.ctx, host()).reason
    assert "no requantization" in refused(fixed, with_call(fixed.ctx, requant=softmax.ctx.call.requant))
    assert "a table of 256" in refused(fixed, with_consts(fixed.ctx, table=np.zeros(3, np.float32)))
    matmul = s8.matmul(rng, MatMul(1, 2, 3, 4), "float")
    assert "expected" in refused(matmul, with_call(matmul.ctx, attrs=MatMul(1, 2, 3, 5)))
    unary = f32.unary(rng, "tanh", (2, 3))
    assert "is not one of clamp" in refused(unary, with_call(unary.ctx, attrs=Unary("cosh")))
    assert "with 1 parameters" in refused(unary, with_call(unary.ctx, attrs=Unary("clamp", (0.0,))))
    flat = s8.binary(rng, "s8_add__flat", (1, 2, 2, 3), (1, 2, 2, 3), "float")
    broadcast = s8.binary(rng, "s8_add__portable", (1, 2, 2, 3), (1, 1, 1, 3), "float")
    assert "broadcasts" in refused(flat, broadcast.ctx)
    pool = s8.max_pool2d(rng, (4, 4, 2), Window((2, 2), (2, 2)))
    other = dataclasses.replace(pool.ctx.writes[0], qparams=QParams.per_tensor(0.5, 0, "int8"))
    assert "different quantization" in refused(pool, dataclasses.replace(pool.ctx, writes=(other,)))
    axes = Copy((2,) * 7, 0, (1, 2, 4, 8, 16, 32, 64), 0, (64, 32, 16, 8, 4, 2, 1))
    views = view("x", (2,) * 7), view("y", (2,) * 7)
    assert (
        "7 axes that do not merge"
        in kernel("x8_copy__portable").fits(context("copy", axes, [views[0]], views[1]), host()).reason
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel.name}-{case.label}")
def test_some_kernel_fits_every_call_on_every_kind_of_device(case: Case) -> None:
    for name in ("host", "nrf52840", "rp2040"):
        found = candidates(case.ctx, device(name))
        assert case.kernel in [kernel for kernel, fit in found if fit]
        assert all(fit.reason for _, fit in found if not fit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel.name}-{case.label}")
def test_descriptors_are_complete(case: Case) -> None:
    found, ctx = case.kernel, case.ctx
    assert found.schedules(ctx)
    assert len(found.overlap(ctx)) == len(ctx.reads)
    assert set(found.pack(ctx)) == set(ctx.consts)
    assert found.scratch_bytes(ctx) >= 0
    assert 0 <= found.stack_bytes(ctx) <= 1024
    cost = found.cost(ctx, host())
    assert cost.cycles >= cost.instructions > 0
    ranged = any(isinstance(argument, RowRange) for argument in found.arguments(ctx))
    assert ranged == (found.input_rows(ctx) is not None)


def test_every_kernel_has_a_name_that_says_types_op_and_variant() -> None:
    for item in ALL:
        assert re.fullmatch(r"([su](8|16|32|64)|f32|bool|x(8|16|32|64)?)_[a-z0-9_]+__[a-z0-9_]+", item.name)
        assert re.search(rf"\b{item.name}\b", header_text(item.header)), f"{item.header} does not define {item.name}"
        assert kernel(item.name) is item
    with pytest.raises(KeyError):
        kernel("s8_nothing__portable")


def test_calls_that_differ_only_in_sizes_share_an_instance(rng: np.random.Generator) -> None:
    first = s8.conv2d(rng, (6, 7, 4), 4, PLAIN)
    second = s8.conv2d(rng, (9, 5, 8), 6, Window((3, 3), pad=(0, 1, 1, 0)))
    assert first.kernel.instance_key(first.ctx) == second.kernel.instance_key(second.ctx)
    for other in (
        s8.conv2d(rng, (6, 7, 4), 4, Window((3, 3))),
        s8.conv2d(rng, (6, 7, 4), 4, Window((3, 3), (2, 2), pad=(1, 1, 1, 1))),
        s8.conv2d(rng, (6, 7, 4), 4, PLAIN, 2),
        s8.conv2d(rng, (6, 7, 4), 4, PLAIN, 1, Layer("fixed")),
        s8.conv2d(rng, (6, 7, 4), 4, PLAIN, 1, Layer(per_channel=False)),
    ):
        assert other.kernel.instance_key(other.ctx) != first.kernel.instance_key(first.ctx)


def test_rows_of_an_image_and_a_whole_tensor_share_an_instance(rng: np.random.Generator) -> None:
    image, tensor = (s8.lut(rng, shape, per_channel=False) for shape in ((1, 3, 4, 5), (7, 9)))
    assert image.kernel.instance_key(image.ctx) == tensor.kernel.instance_key(tensor.ctx)


def parameters_of(item: Kernel) -> list[str]:
    """Parameter names of the C function, macros expanded by hand."""
    text = re.sub(r"\\\n", " ", header_text(item.header))
    found = re.search(rf"void {item.name}\(([^)]*)\)", text)
    if found is None:
        macro = re.search(rf"(ML_\w+)\({item.name}, [\w ,]+\)", text)
        assert macro is not None
        found = re.search(rf"define {macro[1]}\(name, [\w ,]+\).*?void name\(([^)]*)\)", text)
    assert found is not None
    return [part.split()[-1].lstrip("*") for part in found[1].split(",")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel.name}-{case.label}")
def test_arguments_have_the_names_and_the_order_of_the_parameters(case: Case) -> None:
    names: list[str] = []
    for argument in case.kernel.arguments(case.ctx):
        names += ["row_begin", "row_end"] if isinstance(argument, RowRange) else [argument.name]
    assert names == parameters_of(case.kernel)


def test_a_window_that_never_leaves_the_input_needs_no_zero_point(rng: np.random.Generator) -> None:
    inside, leaving = s8.conv2d(rng, (6, 6, 2), 3, Window((3, 3))), s8.conv2d(rng, (6, 6, 2), 3, PLAIN)

    def literals(case: Case) -> dict[str, str]:
        return {item.name: item.value for item in case.kernel.arguments(case.ctx) if isinstance(item, Literal)}

    assert literals(inside)["padded"] == "0"
    assert literals(inside)["x_zero"] == "0"
    assert literals(leaving)["padded"] == "1"
    assert "x_zero" not in literals(leaving)


def test_accumulator_bound_is_reached_by_the_worst_input(rng: np.random.Generator) -> None:
    case = s8.fully_connected(rng, 1, 50, 6, Layer(weight_zeros=True))
    bound = case.kernel.accum_bound(case.ctx)
    weights = case.ctx.consts["weights"].astype(np.int64) - case.ctx.consts["weight_zero"].reshape(-1, 1)
    folded = folded_bias(case.ctx)
    reached = 0
    for row, start in zip(weights, folded, strict=True):
        for x in (np.where(row > 0, 127, -128), np.where(row > 0, -128, 127)):
            reached = max(reached, abs(int(start + row @ x)))
    assert bound is not None
    assert 0.99 * bound <= reached <= bound


def test_bias_packing_is_named_after_what_was_folded(rng: np.random.Generator) -> None:
    case = conv(rng)
    other = with_read(case.ctx, qparams=QParams.per_tensor(0.1, 17, "int8"))
    moved = with_read(case.ctx, qparams=QParams.per_tensor(0.1, -3, "int8"))
    first, second = (case.kernel.pack(ctx)["bias"] for ctx in (other, moved))
    assert first.packing != second.packing
    assert not np.array_equal(first.values, second.values)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel.name}-{case.label}")
def test_a_slice_of_packed_values_is_the_packed_slice(case: Case) -> None:
    packed = case.kernel.pack(case.ctx)
    for role, item in packed.items():
        assert item.values.ndim == 1
        assert item.align % item.values.itemsize == 0
        shape = case.ctx.consts[role].shape
        if role != "weights" or 0 not in item.sliceable_axes or shape[0] < 2:
            continue
        half = shape[0] // 2
        part = dict(case.ctx.consts)
        part = {key: value[:half] if value.shape[:1] == shape[:1] else value for key, value in part.items()}
        sliced = case.kernel.pack(dataclasses.replace(case.ctx, consts=part))[role].values
        assert np.array_equal(item.values[: sliced.size], sliced)


def test_headers_come_after_what_they_include() -> None:
    assert headers_needed(kernel("s8_conv2d__portable")) == ("ml_common.h", "ml_window.h", "s8_dot.h", "s8_conv2d.h")
    for item in ALL:
        names = headers_needed(item)
        for index, name in enumerate(names):
            assert set(re.findall(r'#include "([^"]+)"', header_text(name))) <= set(names[:index])


def test_headers_are_free_standing_licensed_and_all_of_them_used() -> None:
    folder = resources.files("microlith.kernels") / "c"
    names = {item.name for item in folder.iterdir()}
    assert names == {name for item in ALL for name in headers_needed(item)}
    for name in sorted(names):
        text = header_text(name)
        assert text.startswith("/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */\n"), name
        system = set(re.findall(r"#include <([^>]+)>", text))
        assert system <= {"stdint.h", "stddef.h", "immintrin.h", "arm_acle.h", "arm_mve.h"}, name
        assert not re.search(r"\b(malloc|free|printf|memcpy|memset|assert)\s*\(", text), name
        assert max(map(len, text.splitlines())) <= 120, name
