"""Float convolutions that round more are for speed alone, and tell what they lose."""

from __future__ import annotations

import re

import numpy as np
import pytest

from compiled import prepared
from microlith.compile.choose import Goal
from microlith.compile.lower import lower
from microlith.compile.plan import plan
from microlith.device.load import device
from microlith.kernels import kernel
from microlith.kernels.float_winograd import F32Winograd
from microlith.program.types import calls
from models import one_node


def planned(rng: np.random.Generator, opt: str, size: int = 8, channels: int = 16, taps: int = 3) -> tuple[str, str]:
    """Kernel of a convolution and the reason for it."""
    weights = rng.standard_normal((16, channels, taps, taps)).astype(np.float32)
    inputs, outputs = {"x": (1, channels, size, size)}, {"y": (1, 16, size, size)}
    model = one_node("Conv", inputs, outputs, {"w": weights}, pads=[taps // 2] * 4)
    found = plan(lower(prepared(model), "net"), device("host"), Goal(opt))  # type: ignore[arg-type]
    names = [call.kernel for call in calls(found.program.entries[0].body)]
    (place,) = (index for index, name in enumerate(names) if "conv2d" in name)
    return names[place], found.why[place]


def test_only_speed_takes_a_kernel_that_rounds_more(rng: np.random.Generator) -> None:
    name, why = planned(rng, "speed")
    assert name == "f32_conv2d__winograd_4x4"
    told = re.search(r"greatest error (\S+) of the greatest output against (\S+) of the direct sum", why)
    assert told is not None
    assert 1e-8 < float(told[2]) < 1e-6 < float(told[1]) < 1e-4
    for opt in ("balanced", "size"):
        name, why = planned(rng, opt)
        assert name in ("f32_conv2d__portable", "f32_conv2d__gemm")
        assert "greatest error" not in why


def test_windows_are_laid_out_where_ends_of_rows_are_many(rng: np.random.Generator) -> None:
    assert planned(rng, "balanced", 7, 64)[0] == "f32_conv2d__gemm"
    assert planned(rng, "balanced", 64, 3)[0] == "f32_conv2d__portable"


def test_speed_takes_spectra_for_large_windows(rng: np.random.Generator) -> None:
    name, why = planned(rng, "speed", 32, 8, 11)
    assert name == "f32_conv2d__fft"
    told = re.search(r"greatest error (\S+) of the greatest output, on a tile of 32x32", why)
    assert told is not None
    assert 1e-8 < float(told[1]) < 1e-5
    assert planned(rng, "balanced", 32, 8, 11)[0] != "f32_conv2d__fft"
    assert planned(rng, "speed", 14, 16, 5)[0] != "f32_conv2d__fft"


@pytest.mark.parametrize(("step", "factor"), [("2x2", 16 / 9), ("4x4", 4)])
def test_transforms_give_the_convolution_in_exact_arithmetic(
    step: str, factor: float, rng: np.random.Generator
) -> None:
    found = kernel(f"f32_conv2d__winograd_{step}")
    assert isinstance(found, F32Winograd)
    transforms, size = found.transforms, found.transforms.size
    x, w = rng.standard_normal((size, size)), rng.standard_normal((3, 3))
    values = transforms.inputs @ x @ transforms.inputs.T
    products = values * (transforms.weights @ w @ transforms.weights.T)
    got = transforms.outputs @ products @ transforms.outputs.T
    wanted = sum(w[i, j] * x[i : i + size - 2, j : j + size - 2] for i in range(3) for j in range(3))
    np.testing.assert_allclose(got, wanted, atol=1e-12)
    assert size**2 / 9 == pytest.approx(factor)
