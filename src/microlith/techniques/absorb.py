"""High-bias absorption: what a channel always adds moves through a Relu into the next layer's bias.

Equalization can leave channels whose results lie far above zero, so that activations need a wide range for what is a
constant. Where ``y >= c`` holds, ``relu(y) = relu(y - c) + c``, and ``W2 c`` is part of the second layer's bias.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import onnx_ir as ir
from pydantic import BaseModel, ConfigDict, Field

from microlith.core.errors import InputError
from microlith.graph.layer_pairs import Float64, Pair, layer_pairs
from microlith.graph.linear_layers import scale_inputs, scale_outputs
from microlith.graph.moments import Moments
from microlith.graph.pass_base import CONSTANTS_LIFTED, FLOAT_WEIGHTS, SHAPES_KNOWN, Property
from microlith.techniques.base import BATCH_NORM_FOLDED, Context, check_requires
from microlith.techniques.statistics import observed_moments, stated_moments


class AbsorbBiases(BaseModel):
    """High-bias absorption between two layers with a Relu alone between them, the second one without padding.

    Means and standard deviations come from BatchNormalization where that stood in the model, else from data.

    Attributes:
        deviations: how far below the mean results are expected to lie; what lies further down changes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "absorb_biases"
    paper: ClassVar[str] = (
        "Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1.3"
    )
    requires: ClassVar[tuple[Property, ...]] = (SHAPES_KNOWN, CONSTANTS_LIFTED, FLOAT_WEIGHTS, BATCH_NORM_FOLDED)
    ensures: ClassVar[tuple[Property, ...]] = requires

    deviations: float = Field(default=3.0, ge=0.0)

    def apply(self, model: ir.Model, context: Context) -> ir.Model:
        """Absorb what can be.

        Raises:
            InputError: moments are not stated for every layer concerned, and there is no data.
        """
        check_requires(self, model)
        result = model.clone()
        pairs = [pair for pair in layer_pairs(result.graph) if [node.op_type for node in pair.between] == ["Relu"]]
        layers = [pair.first for pair in pairs]
        moments = stated_moments(layers)
        missing = [node for node in layers if str(node.outputs[0].name) not in moments]
        if missing:
            if context.data is None:
                raise InputError(
                    f"{self.name} needs data: no BatchNormalization told how {missing[0].name!r} is distributed",
                    hint="Give --data with about 100 samples.",
                )
            moments |= observed_moments(model, missing, context.data())
        for pair in pairs:
            _absorb(pair, self._excess(moments[str(pair.first.outputs[0].name)]))
        return result

    def _excess(self, moments: Moments) -> Float64:
        return np.maximum(moments.mean - self.deviations * moments.deviation, 0.0)


def _absorb(pair: Pair, excess: Float64) -> None:
    ones = np.ones_like(excess)
    if not excess.any() or pair.repeats != 1 or not scale_inputs(pair.second, ones, excess):
        return
    if not scale_outputs(pair.first, ones, -excess):
        scale_inputs(pair.second, ones, -excess)
