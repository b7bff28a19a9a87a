"""Writes a streaming detector of onsets as ONNX, and a recording for it; or says where its scores are above zero.

A frame is 16 samples. Two running means of a frame's energy are kept from frame to frame, a fast and a slow one; the
score is the fast one less twice the slow one. Each mean is a graph input and a graph output: what goes out of one run
comes into the next.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FRAMES, SAMPLES, ONSET, SETTLED = 80, 16, 40, 25
SHARES = {"fast": 0.5, "slow": 0.05}


def detector() -> onnx.ModelProto:
    """The graph for one frame."""
    nodes = [
        helper.make_node("Mul", ["frame", "frame"], ["squares"], name="square"),
        helper.make_node("ReduceMean", ["squares"], ["energy"], name="energy", axes=[1]),
    ]
    constants = {"two": 2.0}
    for name, share in SHARES.items():
        constants |= {f"{name}_new": share, f"{name}_old": 1 - share}
        nodes += [
            helper.make_node("Mul", ["energy", f"{name}_new"], [f"{name}_part"], name=f"{name}_learn"),
            helper.make_node("Mul", [f"{name}_in", f"{name}_old"], [f"{name}_rest"], name=f"{name}_forget"),
            helper.make_node("Add", [f"{name}_part", f"{name}_rest"], [f"{name}_out"], name=f"{name}_mean"),
        ]
    nodes += [
        helper.make_node("Mul", ["slow_out", "two"], ["floor"], name="floor"),
        helper.make_node("Sub", ["fast_out", "floor"], ["score"], name="score"),
    ]

    def tensor(name: str, size: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, size))

    graph = helper.make_graph(
        nodes,
        "onset",
        [tensor("frame", SAMPLES), *(tensor(f"{name}_in", 1) for name in SHARES)],
        [tensor("score", 1), *(tensor(f"{name}_out", 1) for name in SHARES)],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def recording() -> np.ndarray:
    """Noise that is four times as loud from frame 40 on: one frame a row."""
    frames = np.random.default_rng(0).standard_normal((FRAMES, SAMPLES)).astype(np.float32)
    frames[ONSET:] *= 4
    return frames


if __name__ == "__main__":
    if len(sys.argv) > 1:
        scores = np.load(sys.argv[1]).reshape(-1)
        above = np.flatnonzero(scores[SETTLED:] > 0) + SETTLED
        print(f"{len(scores)} scores, after frame {SETTLED} above zero from frame {above[0]} to frame {above[-1]}")
    else:
        onnx.save(detector(), "onset.onnx")
        np.save("frames.npy", recording())
        print("Wrote onset.onnx and frames.npy")
