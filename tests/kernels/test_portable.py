"""Portable kernels against the integer spec, bit for bit, and against float64 within bounds on the rounding error."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import cases_s8 as s8
from kernels.cases_indexing import indexing_cases
from kernels.cases_integer_sums import integer_sum_cases
from kernels.cases_neural import neural_cases
from kernels.cases_plain import plain_cases
from kernels.cases_s8 import Bounds, Layer, output_size
from kernels.harness import CANARY, Array, Case, Library, as_ring
from kernels.portable_cases import f32_cases, float_algorithm_cases, s8_cases
from microlith.device.load import host
from microlith.kernels import ALL, FAST, PORTABLE
from microlith.kernels.base import CallContext
from microlith.program.attrs import Window

CASES = (
    *(*s8_cases(), *f32_cases(), *float_algorithm_cases(), *plain_cases(), *neural_cases(), *indexing_cases(CANARY)),
    *integer_sum_cases(),
)
STREAMING = tuple(case for case in CASES if case.kernel.input_rows(case.ctx) is not None)
IN_PLACE = tuple(case for case in CASES if any(lead is not None for lead in case.kernel.overlap(case.ctx)))


def ringed(case: Case, rows: int) -> CallContext | None:
    """The same call where result and operands are rings just large enough to compute that many rows at a time."""
    need = case.kernel.input_rows(case.ctx)
    assert need is not None
    height = case.ctx.writes[0].shape[1]
    reads = []
    for item in case.ctx.reads:
        turns = [need.rows(row, min(row + rows, height), item.shape[1]) for row in range(0, height, rows)]
        reads.append(dataclasses.replace(item, ring_rows=max(1, *(end - begin for begin, end in turns))))
    write = dataclasses.replace(case.ctx.writes[0], ring_rows=rows)
    ctx = dataclasses.replace(case.ctx, reads=tuple(reads), writes=(write,))
    return ctx if case.kernel.fits(ctx, host()) else None


def one_each(cases: Iterable[Case], enough: int) -> Iterator[Case]:
    """The first cases of each kernel that were made, so that the library stays small."""
    seen: Counter[str] = Counter()
    for case in cases:
        seen[case.kernel.name] += 1
        if seen[case.kernel.name] <= enough:
            yield case


RINGS = tuple((case, ctx) for case in one_each(STREAMING, 3) if (ctx := ringed(case, 2)) is not None)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Every instance that this module calls, compiled once."""
    found = Library(tmp_path_factory.mktemp("portable"))
    for case, ctx in RINGS:
        found.add(case.kernel, ctx)
    for case in every_drawn_instance():
        found.add(case.kernel, case.ctx)
    return found.compile(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel.name}-{case.label}")
def test_kernel_equals_its_meaning(library: Library, case: Case) -> None:
    fit = case.kernel.fits(case.ctx, host())
    assert fit, fit.reason
    case.check(library.run(case.kernel, case.ctx, case.inputs))


def test_every_portable_kernel_is_compared_and_every_fast_one_has_a_twin() -> None:
    assert {case.kernel.name for case in CASES} == {kernel.name for kernel in PORTABLE}
    assert (*PORTABLE, *FAST) == ALL
    assert len({kernel.name for kernel in ALL}) == len(ALL)
    assert {(kernel.op, kernel.name.split("_")[0]) for kernel in FAST} <= {
        (kernel.op, kernel.name.split("_")[0]) for kernel in PORTABLE
    }


@pytest.mark.parametrize("case", STREAMING, ids=lambda case: f"{case.kernel.name}-{case.label}")
def test_ranges_of_rows_compose_to_the_whole(library: Library, case: Case) -> None:
    height = case.ctx.writes[0].shape[1]
    whole = library.run(case.kernel, case.ctx, case.inputs)
    for cut in range(1, height, 2):
        parts = library.run(case.kernel, case.ctx, case.inputs, [(cut, height), (0, cut)])
        assert np.array_equal(parts, whole)


@pytest.mark.parametrize(("case", "ctx"), RINGS, ids=lambda item: getattr(item, "label", ""))
def test_rings_of_rows_give_the_same_rows(library: Library, case: Case, ctx: CallContext) -> None:
    need, rows = case.kernel.input_rows(ctx), ctx.writes[0].ring_rows
    assert need is not None and rows is not None
    whole = library.run(case.kernel, case.ctx, case.inputs)
    height = ctx.writes[0].shape[1]
    for begin in range(0, height, rows):
        end = min(begin + rows, height)
        held = []
        for values, item in zip(case.inputs, ctx.reads, strict=True):
            assert item.ring_rows is not None
            last = need.rows(begin, end, item.shape[1])[1]
            held.append(as_ring(values, item.ring_rows, last))
        ring = library.run(case.kernel, ctx, held, [(begin, end)])
        for row in range(begin, end):
            assert np.array_equal(ring[0, row % rows], whole[0, row]), f"{case.label}, row {row}"


@pytest.mark.parametrize("case", IN_PLACE, ids=lambda case: f"{case.kernel.name}-{case.label}")
def test_output_may_overlap_as_far_as_the_descriptor_says(library: Library, case: Case) -> None:
    whole = library.run(case.kernel, case.ctx, case.inputs)
    for index, lead in enumerate(case.kernel.overlap(case.ctx)):
        if lead is None:
            continue
        step = np.lcm(lead.multiple, max(whole.itemsize, case.inputs[index].itemsize))
        for extra in (0, 2 * step):
            distance = -(-lead.least // step) * step + extra
            got = run_over(library, case, index, distance, whole)
            assert np.array_equal(got, whole, equal_nan=got.dtype.kind == "f"), f"lead {distance}"


def run_over(library: Library, case: Case, index: int, distance: int, like: Array) -> Array:
    """The result where it starts that many bytes before one of the operands."""
    operand = np.ascontiguousarray(case.inputs[index])
    y_at, x_at = max(0, -distance), max(0, distance)
    shared = np.zeros(max(y_at + like.nbytes, x_at + operand.nbytes) + 8, np.uint8)
    place, result = shared[x_at : x_at + operand.nbytes], shared[y_at : y_at + like.nbytes]
    place[:] = operand.reshape(-1).view(np.uint8)
    others = [np.ascontiguousarray(item) for item in case.inputs]
    addresses = [item.ctypes.data for item in others]
    addresses[index] = place.ctypes.data
    height = case.ctx.writes[0].shape[1] if len(like.shape) > 1 else 1
    library.invoke(case.kernel, case.ctx, addresses, result.ctypes.data, 0, height)
    return result.copy().view(like.dtype).reshape(like.shape)


def test_leads_are_the_least(library: Library) -> None:
    """One element less, and something that is still to be read is lost."""
    tight = 0
    for case in IN_PLACE:
        lead = case.kernel.overlap(case.ctx)[0]
        windowed = case.kernel.op in ("conv2d", "depthwise_conv2d", "max_pool2d") and case.kernel.name[:2] == "s8"
        if windowed and lead is not None and lead.least > -case.ctx.reads[0].bytes:
            whole = library.run(case.kernel, case.ctx, case.inputs)
            tight += not np.array_equal(run_over(library, case, 0, lead.least - 1, whole), whole)
    assert tight >= 20


DRAWN_WINDOWS = (((3, 3), (1, 1), (1, 1)), ((2, 3), (2, 1), (1, 2)))


def every_drawn_instance() -> list[Case]:
    """One call for each combination of literals that the property tests below can draw."""
    rng = np.random.default_rng(0)
    cases = []
    for kernel, stride, dilation in DRAWN_WINDOWS:
        for pad in ((0, 0, 0, 0), (1, 1, 1, 1)):
            window = Window(kernel, stride, dilation, pad)
            for mode in ("float", "fixed"):
                for groups in (1, 2):
                    cases.append(s8.conv2d(rng, (9, 9, 4), 4, window, groups, Layer(mode)))
                    cases.append(s8.depthwise_conv2d(rng, (9, 9, 4), groups, window, Layer(mode)))
                cases.append(s8.average_pool2d(rng, (9, 9, 4), window, False, mode))
            cases.append(s8.max_pool2d(rng, (9, 9, 4), window))
    return cases


@st.composite
def images(draw: st.DrawFn) -> tuple[tuple[int, int, int], Window]:
    """An image and a window of which at least one place exists and which sees at least one pixel everywhere."""
    kernel, stride, dilation = draw(st.sampled_from(DRAWN_WINDOWS))
    pads = [draw(st.integers(0, (kernel[axis % 2] - 1) * dilation[axis % 2])) for axis in range(4)]
    least = [(kernel[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    size = [draw(st.integers(least[axis], least[axis] + 8)) for axis in (0, 1)]
    window = Window(kernel, stride, dilation, (pads[0], pads[1], pads[2], pads[3]))
    assert min(output_size(window, (size[0], size[1]))) >= 1
    return (size[0], size[1], draw(st.integers(1, 9))), window


layers = st.builds(
    Layer,
    mode=st.sampled_from(("float", "fixed")),
    bounds=st.builds(Bounds, st.integers(-128, 0), st.integers(1, 127)),
    extreme=st.booleans(),
    gain=st.sampled_from((0.1, 1.0, 30.0)),
)
seeds = st.integers(0, 2**32 - 1)
drawn = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@drawn
@given(image=images(), layer=layers, groups=st.integers(1, 3), filters=st.integers(2, 11), seed=seeds)
def test_conv2d_on_any_shape(
    library: Library, image: tuple[tuple[int, int, int], Window], layer: Layer, groups: int, filters: int, seed: int
) -> None:
    (height, width, channels), window = image
    rng = np.random.default_rng(seed)
    case = s8.conv2d(rng, (height, width, channels * groups), filters * groups, window, groups, layer)
    case.check(library.run(case.kernel, case.ctx, case.inputs))


@drawn
@given(image=images(), layer=layers, filters=st.integers(1, 2), seed=seeds)
def test_depthwise_conv2d_on_any_shape(
    library: Library, image: tuple[tuple[int, int, int], Window], layer: Layer, filters: int, seed: int
) -> None:
    (height, width, channels), window = image
    rng = np.random.default_rng(seed)
    case = s8.depthwise_conv2d(rng, (height, width, channels + 1), filters, window, layer)
    case.check(library.run(case.kernel, case.ctx, case.inputs))


@drawn
@given(image=images(), mode=st.sampled_from(("float", "fixed")), seed=seeds)
def test_pools_on_any_shape(library: Library, image: tuple[tuple[int, int, int], Window], mode: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    made: tuple[Callable[[], Case], ...] = (
        lambda: s8.max_pool2d(rng, *image),
        lambda: s8.average_pool2d(rng, *image, False, mode),
    )
    for make in made:
        case = make()
        case.check(library.run(case.kernel, case.ctx, case.inputs))
