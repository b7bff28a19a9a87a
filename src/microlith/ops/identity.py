"""Identity."""

from __future__ import annotations

from microlith.ops.movement import movement
from microlith.ops.unary import always, no_attributes, same_shape

IDENTITY = movement(
    "Identity", no_attributes, same_shape, lambda attrs, x: x, always, lowering="lower_movement.lower_reshape"
)
