"""Graph passes, one a file, and the tuple of those that are applied to every model, in order."""

from __future__ import annotations

from microlith.graph.pass_base import Pass
from microlith.graph.passes.cancel_transposes import CancelTransposes
from microlith.graph.passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from microlith.graph.passes.eliminate_constant_channels import EliminateConstantChannels
from microlith.graph.passes.eliminate_dead_nodes import EliminateDeadNodes
from microlith.graph.passes.eliminate_identity import EliminateIdentity
from microlith.graph.passes.fold_affine_into_conv import FoldAffineIntoConv
from microlith.graph.passes.fold_batch_norm_into_conv import FoldBatchNormIntoConv
from microlith.graph.passes.fold_constants import FoldConstants
from microlith.graph.passes.fold_pad_into_conv import FoldPadIntoConv
from microlith.graph.passes.fold_pad_into_max_pool import FoldPadIntoMaxPool
from microlith.graph.passes.fold_transpose_into_gemm import FoldTransposeIntoGemm
from microlith.graph.passes.fuse_attention import FuseAttention
from microlith.graph.passes.fuse_depth_to_space import FuseDepthToSpace
from microlith.graph.passes.fuse_gelu import FuseGelu
from microlith.graph.passes.fuse_group_normalization import FuseGroupNormalization
from microlith.graph.passes.fuse_hard_swish import FuseHardSwish
from microlith.graph.passes.fuse_mat_mul_add import FuseMatMulAdd
from microlith.graph.passes.fuse_normalization import FuseNormalization
from microlith.graph.passes.fuse_softmax import FuseSoftmax
from microlith.graph.passes.fuse_swish import FuseSwish
from microlith.graph.passes.infer_shapes import InferShapes
from microlith.graph.passes.merge_convs import MergeConvs
from microlith.graph.passes.merge_reshapes import MergeReshapes
from microlith.graph.passes.move_qdq import MoveQdq
from microlith.graph.passes.rewrite_arithmetic import RewriteArithmetic
from microlith.graph.passes.rewrite_einsum import RewriteEinsum
from microlith.graph.passes.rewrite_gemm import RewriteGemm
from microlith.graph.passes.rewrite_mean_as_pool import RewriteMeanAsPool
from microlith.graph.passes.rewrite_q_linear import RewriteQLinear
from microlith.graph.passes.rewrite_split_as_slices import RewriteSplitAsSlices
from microlith.graph.passes.rewrite_transpose_as_reshape import RewriteTransposeAsReshape
from microlith.graph.passes.simplify_arithmetic import SimplifyArithmetic

DEFAULT_PASSES: tuple[Pass, ...] = (
    InferShapes(),
    FoldConstants(),
    EliminateDeadNodes(),
    EliminateIdentity(),
    EliminateCommonSubexpressions(),
    RewriteSplitAsSlices(),
    FoldPadIntoConv(),
    FoldPadIntoMaxPool(),
    FuseHardSwish(),
    FuseSwish(),
    FuseGelu(),
    FuseSoftmax(),
    FuseNormalization(),
    FuseGroupNormalization(),
    FuseDepthToSpace(),
    RewriteArithmetic(),
    SimplifyArithmetic(),
    RewriteQLinear(),
    RewriteEinsum(),
    RewriteGemm(),
    FuseMatMulAdd(),
    FoldTransposeIntoGemm(),
    FoldBatchNormIntoConv(),
    FoldAffineIntoConv(),
    MergeConvs(),
    CancelTransposes(),
    MoveQdq(),
    EliminateConstantChannels(),
    RewriteMeanAsPool(),
    RewriteTransposeAsReshape(),
    MergeReshapes(),
)
"""Applied to every model after loading; see :func:`microlith.graph.pipeline.run_passes`."""

LOWERING_PASSES: tuple[Pass, ...] = (
    FuseAttention(),
    FuseMatMulAdd(stacks=True),
    EliminateConstantChannels(),
)
"""Applied to a copy of the graph that is compiled, after quantization: what has no integer form, or no batch."""
