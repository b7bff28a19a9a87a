"""Writes docs/passes.md: every pass from its own text, and which pass and test stand for what is done: a program."""

from __future__ import annotations

import sys
from pathlib import Path

from microlith.graph.load import SIMPLIFY
from microlith.graph.pass_base import Pass
from microlith.graph.passes import DEFAULT_PASSES, LOWERING_PASSES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "passes.md"
LOWERING = "lowering"

_GRAPH = "tests/graph/passes/test_"
DONE: tuple[tuple[str, tuple[tuple[str, tuple[str, ...], str], ...]], ...] = (
    (
        "Elimination",
        (
            (
                "Identity and Dropout",
                ("EliminateIdentity",),
                f"{_GRAPH}eliminate_identity.py::test_nodes_that_change_nothing",
            ),
            (
                "Cast, Reshape, Transpose, Slice, Pad, Concat that do nothing",
                ("EliminateIdentity",),
                f"{_GRAPH}eliminate_identity.py::test_nodes_that_change_nothing",
            ),
            (
                "Where with a constant condition",
                ("EliminateIdentity",),
                f"{_GRAPH}eliminate_identity.py::test_where_that_takes_one_side",
            ),
            (
                "Dead code",
                ("EliminateDeadNodes",),
                f"{_GRAPH}eliminate_dead_nodes.py::test_nodes_outputs_and_constants_without_readers",
            ),
            (
                "Channels of a quantized graph that are constant, or that nothing reads",
                ("EliminateConstantChannels",),
                f"{_GRAPH}eliminate_constant_channels.py::test_a_channel_of_zeros_leaves_and_its_bias_goes_on",
            ),
            (
                "Common subexpressions",
                ("EliminateCommonSubexpressions",),
                f"{_GRAPH}eliminate_common_subexpressions.py::test_equal_nodes_are_computed_once",
            ),
            (
                "Duplicate weights, stored once",
                (LOWERING,),
                "tests/compile/test_join.py::test_equal_weights_are_stored_once",
            ),
            (
                "Constants, up to a size",
                ("FoldConstants",),
                f"{_GRAPH}fold_constants.py::test_nothing_grows_beyond_the_bound",
            ),
            (
                "If with a constant condition",
                ("InlineConstantIf",),
                f"{_GRAPH}control_flow.py::test_the_branch_that_is_taken",
            ),
            ("Small static Loops and Scans", ("UnrollLoops",), f"{_GRAPH}control_flow.py::test_a_loop_is_written_out"),
            (
                "Shape arithmetic",
                ("FoldConstants",),
                f"{_GRAPH}fold_constants.py::test_shape_and_size_of_what_is_computed",
            ),
            ("Changes of shape in a row", ("MergeReshapes",), f"{_GRAPH}merge_reshapes.py::test_two_in_a_row_are_one"),
        ),
    ),
    (
        "Fusion",
        (
            (
                "BatchNormalization on either side of Conv, ConvTranspose, Gemm, MatMul",
                ("FoldBatchNormIntoConv",),
                f"{_GRAPH}fold_batch_norm_into_conv.py::test_before_a_conv_without_padding",
            ),
            (
                "Pad into Conv and AveragePool",
                ("FoldPadIntoConv",),
                f"{_GRAPH}fold_pad_into_conv.py::test_into_an_average_pool_that_counts_it",
            ),
            ("Pad into MaxPool", ("FoldPadIntoMaxPool",), f"{_GRAPH}fold_pad_into_max_pool.py::test_minus_infinity"),
            (
                "Scale and bias beside a layer",
                ("FoldAffineIntoConv",),
                f"{_GRAPH}fold_affine_into_conv.py::test_a_constant_a_channel",
            ),
            ("MatMul and Add to Gemm", ("FuseMatMulAdd",), f"{_GRAPH}fuse_mat_mul_add.py::test_a_row_becomes_the_bias"),
            (
                "MatMul and Add on a stack of rows",
                ("FuseMatMulAdd",),
                f"{_GRAPH}fuse_mat_mul_add.py::test_a_stack_is_one_matrix_for_lowering",
            ),
            ("Conv and 1x1 Conv, Gemm and Gemm", ("MergeConvs",), f"{_GRAPH}merge_convs.py::test_in_a_row"),
            ("Convs of one input", ("MergeConvs",), f"{_GRAPH}merge_convs.py::test_side_by_side"),
            (
                "Transpose at a flattened image into weights",
                ("FoldTransposeIntoGemm",),
                f"{_GRAPH}fold_transpose_into_gemm.py::test_before_a_layer",
            ),
            (
                "Activation, requantization, concat and slice without copy",
                (LOWERING,),
                "tests/compile/test_join.py::test_fusions_say_what_is_written_in_place",
            ),
        ),
    ),
    (
        "Rewriting",
        (
            (
                "LayerNormalization",
                ("FuseNormalization",),
                f"{_GRAPH}fuse_normalization.py::test_forms_of_layer_normalization",
            ),
            ("RMSNormalization", ("FuseNormalization",), f"{_GRAPH}fuse_normalization.py::test_root_mean_square"),
            (
                "InstanceNormalization",
                ("FuseNormalization",),
                f"{_GRAPH}fuse_normalization.py::test_instance_normalization",
            ),
            (
                "GroupNormalization",
                ("FuseGroupNormalization",),
                f"{_GRAPH}fuse_group_normalization.py::test_what_is_written_out_entirely",
            ),
            ("Gelu by erf and by tanh", ("FuseGelu",), f"{_GRAPH}fuse_gelu.py::test_forms"),
            ("HardSwish", ("FuseHardSwish",), f"{_GRAPH}fuse_hard_swish.py::test_forms_that_exporters_write"),
            ("SiLU (Swish)", ("FuseSwish",), f"{_GRAPH}fuse_swish.py::test_forms"),
            ("Softmax", ("FuseSoftmax",), f"{_GRAPH}fuse_softmax.py::test_forms"),
            ("Attention", ("FuseAttention",), f"{_GRAPH}fuse_attention.py::test_forms"),
            ("DepthToSpace, SpaceToDepth", ("FuseDepthToSpace",), f"{_GRAPH}fuse_depth_to_space.py::test_forms"),
            (
                "Channel shuffle, as one strided copy",
                (LOWERING,),
                "tests/compile/test_join.py::test_a_reshape_of_bytes_in_another_order",
            ),
            (
                "ReduceMean, AveragePool to GlobalAveragePool",
                ("RewriteMeanAsPool",),
                f"{_GRAPH}rewrite_mean_as_pool.py::test_axes",
            ),
            (
                "Transposes sunk and cancelled",
                ("CancelTransposes", "RewriteTransposeAsReshape"),
                f"{_GRAPH}cancel_transposes.py::test_a_residual_network_with_channels_last_between_its_convolutions",
            ),
            (
                "Q/DQ moved through data movement and cancelled",
                ("MoveQdq",),
                f"{_GRAPH}move_qdq.py::test_a_pair_of_equal_parameters_cancels",
            ),
            (
                "Algebra and reassociation of constants",
                ("SimplifyArithmetic", "RewriteArithmetic"),
                f"{_GRAPH}simplify_arithmetic.py::test_a_normalization_of_three_is_two",
            ),
        ),
    ),
)

_CHECK = "microlith check MODEL --device DEVICE"
USED = (
    (
        f"{_CHECK} --passes",
        "Of every pass in its turn: changes, and nodes, MACs, bytes of weights and of peak activations before and "
        "after it; then what lowering joined.",
    ),
    (f"{_CHECK} --passes --json", "The same for programs."),
    (
        f"{_CHECK} --stop-after PASS -o FILE",
        "The graph as it is after the pass of that name in the lists below, as a file for a viewer such as Netron.",
    ),
    (f"{_CHECK} --stop-after PASS -o FILE --opset N", "The same written for an older opset, 13 to 27."),
    ("microlith report ARTIFACT", "What the passes did, in the report of what was compiled."),
)
"""Commands that show what passes do, and what they show."""

_PAGE = """# Graph passes

Generated from the code by `make docs`. Every pass states its algebra in its file, and keeps results exact or within the
given part of the greatest output.

## What they did to a model

| command | what it gives |
|---|---|
{used}

## What is done, by which pass, and the test that shows it

{done}

## When a model is loaded

{load}

## On every model, in this order, until nothing changes

{default}

## On the copy that is compiled, after quantization

{lowering}
"""


def page() -> str:
    """The whole page."""
    sections = ((name, _table(passes)) for name, passes in tuples().items())
    used = "\n".join(f"| `{command}` | {what} |" for command, what in USED)
    return _PAGE.format(used=used, done="\n\n".join(_group(*group) for group in DONE), **dict(sections))


def tuples() -> dict[str, tuple[Pass, ...]]:
    """The tuples of passes, by the names of their sections."""
    return {"load": SIMPLIFY, "default": DEFAULT_PASSES, "lowering": LOWERING_PASSES}


def _group(title: str, items: tuple[tuple[str, tuple[str, ...], str], ...]) -> str:
    rows = []
    for what, by, test in items:
        path, _, name = test.partition("::")
        rows.append(f"| {what} | {', '.join(by)} | [{name}](../{path}) |")
    return "\n".join([f"### {title}", "", "| what | by | test |", "|---|---|---|", *rows])


def _table(passes: tuple[Pass, ...]) -> str:
    rows = []
    for item in passes:
        file = sys.modules[type(item).__module__].__file__
        assert file is not None
        text = " ".join((type(item).__doc__ or "").strip().partition("\n\n")[0].split()).replace("|", "/")
        effect = f"{item.preserves.relative:g}: {item.preserves.why}" if item.preserves.relative else "exact"
        rows.append(f"| [{item.name}](../{Path(file).relative_to(ROOT)}) | {text} | {effect} |")
    return "\n".join(["| pass | what it does | keeps |", "|---|---|---|", *rows])


if __name__ == "__main__":
    PAGE.write_text(page())
