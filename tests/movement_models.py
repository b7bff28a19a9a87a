"""Models of ops that move, select and resample: ``import movement_models``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray
TYPES = {
    "float": TensorProto.FLOAT,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
}
IMAGE = (1, 4, 6, 8)
OPSET = 20


@dataclass(frozen=True)
class Case:
    """One node.

    Attributes:
        op: its type.
        data: shapes of the inputs that carry elements, by name.
        order: names of all inputs; ``""`` for an absent one.
        indices: of the inputs that say where to: shape and end of the range [-end, end) they are drawn from.
        constants: by name.
        outputs: names.
        attributes: of the node.
        quantized: whether calibration makes integers of it.
    """

    op: str
    data: Mapping[str, Sequence[int]]
    order: Sequence[str]
    indices: Mapping[str, tuple[Sequence[int], int]] = field(default_factory=dict)
    constants: Mapping[str, Array] = field(default_factory=dict)
    outputs: Sequence[str] = ("y",)
    attributes: Mapping[str, object] = field(default_factory=dict)
    quantized: bool = True

    def model(self, dtype: str = "float", index: str = "int64") -> onnx.ModelProto:
        """The node with elements and indices of these types; float constants that carry elements become the same."""
        shapes = {name: (TYPES[dtype], shape) for name, shape in self.data.items()}
        shapes |= {name: (TYPES[index], shape) for name, (shape, _) in self.indices.items()}
        kept = {name: self._constant(name, array, dtype) for name, array in self.constants.items()}
        graph = helper.make_graph(
            [helper.make_node(self.op, list(self.order), list(self.outputs), name="node", **self.attributes)],
            "graph",
            [helper.make_tensor_value_info(name, *given) for name, given in shapes.items()],
            [onnx.ValueInfoProto(name=name) for name in self.outputs],
            [numpy_helper.from_array(array, name) for name, array in kept.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        made.ir_version = 9
        return onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)

    def _constant(self, name: str, array: Array, dtype: str) -> Array:
        carries = name.startswith("c_") and dtype != "float"
        return (np.asarray(array) * 10).astype(dtype) if carries else np.asarray(array)

    def feeds(self, rng: np.random.Generator, dtype: str = "float", index: str = "int64") -> dict[str, Array]:
        """Elements and indices, a tenth of which lie outside what they count."""
        found: dict[str, Array] = {}
        for name, shape in self.data.items():
            real = rng.uniform(-2, 2, shape)
            found[name] = real.astype(np.float32) if dtype == "float" else (real * 40).astype(dtype)
        for name, (shape, end) in self.indices.items():
            found[name] = rng.integers(-end, end, shape).astype(index)
        return found


def _ints(*items: int) -> Array:
    return np.array(items, np.int64)


def _reals(*items: float) -> Array:
    return np.array(items, np.float32)


def _one(op: str, constants: Mapping[str, Array] | None = None, quantized: bool = True, **attributes: object) -> Case:
    """A node on an image, then its constants; ``_1``, ``_2`` ... are absent inputs."""
    constants = constants or {}
    order = ["x", *("" if name.startswith("_") else name for name in constants)]
    kept = {name: array for name, array in constants.items() if not name.startswith("_")}
    return Case(op, {"x": IMAGE}, order, {}, kept, attributes=attributes, quantized=quantized)


def _moving() -> dict[str, Case]:
    return {
        **{
            f"pad_{mode}": _one("Pad", {"p": _ints(0, 0, 2, 3, 0, 1, -1, 2)}, mode=mode)
            for mode in ("constant", "reflect", "edge", "wrap")
        },
        "pad_far": _one("Pad", {"p": _ints(0, 5, 0, 0, 0, 9, 0, 20)}, mode="reflect"),
        "tile": _one("Tile", {"r": _ints(1, 2, 3, 2)}),
        "tile_many": Case("Tile", {"x": (1, 2, 3, 2, 2)}, ["x", "r"], {}, {"r": _ints(1, 2, 2, 2, 3)}),
        "expand": Case("Expand", {"x": (1, 4, 1, 8)}, ["x", "s"], {}, {"s": _ints(3, 1, 1, 5, 8)}),
        "depth_to_space": _one("DepthToSpace", blocksize=2),
        "depth_to_space_crd": _one("DepthToSpace", blocksize=2, mode="CRD"),
        "space_to_depth": _one("SpaceToDepth", blocksize=2),
        "triu": _one("Trilu", {"k": _ints(1)[0]}),
        "tril": _one("Trilu", upper=0),
        "crop_pad": _one("CenterCropPad", {"s": _ints(9, 3)}, axes=[2, 3]),
        "concat_constant": Case(
            "Concat", {"x": IMAGE}, ["c_c", "x"], {}, {"c_c": np.linspace(-3, 3, 96).reshape(1, 2, 6, 8).astype("f4")},
            attributes={"axis": 1},
        ),
        "split": Case(
            "Split", {"x": IMAGE}, ["x"], outputs=("a", "b", "c"), attributes={"axis": 3, "num_outputs": 3}
        ),
        "split_rows": Case("Split", {"x": (1, 8, 4)}, ["x", "s"], {}, {"s": _ints(4, 4)}, ("a", "b"), {"axis": 1}),
        "slice_rows": Case(
            "Slice", {"x": (1, 8, 4)}, ["x", "s", "e", "a"], {}, {"s": _ints(4), "e": _ints(7), "a": _ints(1)}
        ),
        "reverse_batch": Case(
            "ReverseSequence", {"x": (4, 3, 5)}, ["x", "n"], {"n": ((4,), 5)},
            attributes={"batch_axis": 0, "time_axis": 1},
        ),
        "reverse_time": Case("ReverseSequence", {"x": (3, 4, 5)}, ["x", "n"], {"n": ((4,), 5)}),
    }  # fmt: skip


def _indexed() -> dict[str, Case]:
    data = (3, 4, 6)
    return {
        "gather": Case("Gather", {"x": (5, 4, 6)}, ["x", "i"], {"i": ((2, 3), 5)}, attributes={"axis": 1}),
        "gather_known": _one("Gather", {"i": _ints(1, -1, 0)}, axis=1),
        "gather_one": _one("Gather", {"i": _ints(2)[0]}, axis=2),
        "gather_table": Case(
            "Gather", {}, ["c_t", "i"], {"i": ((1, 7), 10)},
            {"c_t": np.linspace(-3, 3, 45).reshape(9, 5).astype("f4")}, quantized=False,
        ),
        "gather_elements": Case(
            "GatherElements", {"x": data}, ["x", "i"], {"i": ((2, 5, 6), 5)}, attributes={"axis": 1}
        ),
        "gather_nd": Case("GatherND", {"x": data}, ["x", "i"], {"i": ((6, 3), 5)}),
        "gather_nd_batch": Case(
            "GatherND", {"x": (2, 3, 4, 5)}, ["x", "i"], {"i": ((2, 6, 2), 4)}, attributes={"batch_dims": 1}
        ),
        "scatter_constant": Case(
            "ScatterND", {"u": (5, 6)}, ["c_x", "i", "u"], {}, {"c_x": np.ones(data, "f4"), "i": np.array(
                [[0, 1], [2, -1], [1, 0], [0, 3], [2, 2]], np.int64
            )},
        ),
        "scatter_elements": Case(
            "ScatterElements", {"x": data, "u": (2, 3, 6)}, ["x", "i", "u"], {"i": ((2, 3, 6), 5)},
            attributes={"axis": 1},
        ),
        "scatter_nd": Case("ScatterND", {"x": data, "u": (5, 6)}, ["x", "i", "u"], {"i": ((5, 2), 5)}),
        "max_unpool": Case(
            "MaxUnpool", {"x": (1, 2, 3, 3)}, ["x", "i"], {"i": ((1, 2, 3, 3), 80)},
            attributes={"kernel_shape": [2, 2], "strides": [2, 2]},
        ),
        "max_unpool_larger": Case(
            "MaxUnpool", {"x": (1, 2, 2, 2)}, ["x", "i", "s"], {"i": ((1, 2, 2, 2), 32)}, {"s": _ints(1, 2, 5, 6)},
            attributes={"kernel_shape": [2, 2], "strides": [2, 2]},
        ),
    }  # fmt: skip


def _reducing() -> Iterator[tuple[str, Case]]:
    data = (3, 4, 6)
    for how in ("add", "mul", "min", "max"):
        attributes = {"reduction": how}
        yield (
            f"scatter_elements_{how}",
            Case(
                "ScatterElements", {"x": data, "u": (2, 3, 6)}, ["x", "i", "u"], {"i": ((2, 3, 6), 5)},
                attributes=attributes | {"axis": 1}, quantized=False,
            ),
        )  # fmt: skip
        yield (
            f"scatter_nd_{how}",
            Case(
                "ScatterND", {"x": data, "u": (5, 6)}, ["x", "i", "u"], {"i": ((5, 2), 5)}, attributes=attributes,
                quantized=False,
            ),
        )  # fmt: skip


def _columns() -> Case:
    """Overlapping, dilated blocks: 5 by 3 of them in a padded image of 6 by 7."""
    attributes = {"dilations": [1, 2], "pads": [1, 0, 0, 1]}
    constants = {"s": _ints(5, 6), "b": _ints(2, 3)}
    return Case("Col2Im", {"x": (1, 12, 15)}, ["x", "s", "b"], {}, constants, attributes=attributes, quantized=False)


def _selecting() -> dict[str, Case]:
    both = ("y", "z")
    found = {
        "top_k": Case("TopK", {"x": IMAGE}, ["x", "k"], {}, {"k": _ints(3)}, both, {"axis": 2}),
        "top_k_least": Case("TopK", {"x": IMAGE}, ["x", "k"], {}, {"k": _ints(2)}, both, {"axis": 1, "largest": 0}),
        "arg_max": _one("ArgMax", axis=1, keepdims=0),
        "arg_max_last": _one("ArgMax", axis=3, select_last_index=1),
        "arg_min": _one("ArgMin", axis=-2),
        "arg_min_last": _one("ArgMin", axis=1, select_last_index=1),
        "one_hot": Case(
            "OneHot", {"v": (2,)}, ["i", "d", "v"], {"i": ((2, 3), 7)}, {"d": _ints(5)[0]},
            attributes={"axis": 1}, quantized=False,
        ),
    }  # fmt: skip
    found["col2im"] = _columns()
    for exclusive in (0, 1):
        for reverse in (0, 1):
            attributes = {"exclusive": exclusive, "reverse": reverse}
            found[f"cum_sum_{exclusive}{reverse}"] = Case(
                "CumSum", {"x": IMAGE}, ["x", "a"], {}, {"a": _ints(1 + reverse)[0]}, attributes=attributes,
                quantized=False,
            )  # fmt: skip
    return found


def resampling_cases() -> dict[str, Case]:
    """Resize and GridSample: nearest moves elements of any type, the others are float."""
    scales = {"_1": _ints(), "s": _reals(1, 1, 1.7, 0.6)}
    sizes = {"_1": _ints(), "_2": _ints(), "s": _ints(1, 4, 4, 5)}
    found = {}
    for coordinates in ("half_pixel", "pytorch_half_pixel", "asymmetric", "half_pixel_symmetric"):
        for mode in ("nearest", "linear", "cubic"):
            found[f"resize_{mode}_{coordinates}"] = _one(
                "Resize", scales, mode == "nearest", mode=mode, coordinate_transformation_mode=coordinates
            )
    for mode in ("nearest", "linear", "cubic"):
        found[f"resize_{mode}_corners"] = _one(
            "Resize", sizes, mode == "nearest", mode=mode, coordinate_transformation_mode="align_corners"
        )
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        half = {"_1": _ints(), "s": _reals(1, 1, 2, 0.5)}
        found[f"resize_{rounding}"] = _one("Resize", half, nearest_mode=rounding)
    found |= {
        "resize_axes": Case(
            "Resize", {"x": IMAGE}, ["x", "", "", "s"], {}, {"s": _ints(9, 5)}, quantized=False,
            attributes={"mode": "linear", "axes": [2, 3]},
        ),
        "resize_ratio": Case(
            "Resize", {"x": IMAGE}, ["x", "", "", "s"], {}, {"s": _ints(9, 5)}, quantized=False,
            attributes={"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"},
        ),
        "resize_antialias": _one("Resize", sizes, False, mode="linear", antialias=1),
        "resize_antialias_cubic": _one("Resize", sizes, False, mode="cubic", antialias=1),
        "resize_outside": _one("Resize", sizes, False, mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5),
        "resize_crop": _one(
            "Resize", {"r": _reals(0, 0, 0.4, -0.2, 1, 1, 0.6, 1.2), "_2": _ints(), "s": _ints(1, 4, 4, 5)}, False,
            mode="linear", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.0,
        ),
    }  # fmt: skip
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for align in (0, 1):
                attributes = {"mode": mode, "padding_mode": padding, "align_corners": align}
                found[f"grid_{mode}_{padding}_{align}"] = Case(
                    "GridSample", {"x": IMAGE, "g": (1, 5, 7, 2)}, ["x", "g"], attributes=attributes, quantized=False
                )
    return found


def movement_cases() -> dict[str, Case]:
    """Ops that take elements of any type."""
    return {**_moving(), **_indexed(), **dict(_reducing()), **_selecting()}


def op_types() -> set[str]:
    """Every op of the cases, and what a Split is compiled as."""
    cases = (*movement_cases().values(), *resampling_cases().values())
    return {"Slice" if case.op == "Split" else case.op for case in cases}
