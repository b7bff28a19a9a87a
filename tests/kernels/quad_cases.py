"""Layers for the kernels that compute four pixels or outputs at a time: ``from kernels.quad_cases import CONV``."""

from __future__ import annotations

from kernel_batch import conv, depthwise, fully_connected, with_modes

CONV = (
    *with_modes(conv(5, 5, 3, 3, 3, pad=1)),
    *with_modes(conv(4, 5, 16, 8, 3, pad=1)),
    conv(4, 5, 4, 2, 1, mode="fixed"),
    conv(1, 1, 8, 5, 1, mode="fixed"),
    conv(1, 2, 1, 1, 1),
    conv(6, 7, 5, 5, 3, dilation=2, pad=1, mode="fixed"),
    conv(7, 9, 6, 4, (5, 3), stride=2, pad=(2, 1, 2, 1), mode="fixed"),
    conv(9, 7, 1, 4, (5, 2), stride=(2, 1), pad=(2, 0, 1, 1), mode="fixed", low=-100, high=77),
    conv(6, 6, 16, 8, 1, stride=2, mode="fixed"),
    conv(3, 3, 4, 2, 5, pad=4, mode="fixed"),
    conv(3, 3, 7, 3, (1, 3), dilation=(1, 2), pad=(0, 2, 0, 2)),
    conv(5, 4, 64, 6, 3, pad=1, extreme=True, least_weight=-127, mode="fixed"),
    conv(9, 5, 8, 4, 3, pad=1, rows=(2, 5), mode="fixed"),
    conv(9, 5, 8, 4, 3, pad=1, rows=(0, 1)),
    conv(9, 5, 8, 4, 3, pad=1, rows=(5, 9), x_ring=6, y_ring=4, mode="fixed"),
    conv(11, 5, 3, 3, 3, stride=2, pad=1, rows=(3, 5), x_ring=5, y_ring=3),
    conv(9, 5, 4, 3, 1, rows=(7, 9), x_ring=2, y_ring=2),
    conv(4, 5, 2, 2, 1, mode="fixed", gain=200),
)

DEPTHWISE = (
    *with_modes(depthwise(5, 5, 8, pad=1)),
    *with_modes(depthwise(6, 7, 6, stride=2, pad=(0, 0, 1, 1))),
    depthwise(3, 4, 4),
    depthwise(7, 6, 5, (5, 2), pad=2, mode="fixed"),
    depthwise(1, 2, 1, pad=1),
    depthwise(9, 7, 3, dilation=2, pad=1, mode="fixed", low=-20, high=60),
    depthwise(10, 5, 4, stride=(3, 2), pad=1, mode="fixed"),
    depthwise(6, 6, 8, pad=1, extreme=True, mode="fixed"),
    depthwise(9, 7, 8, pad=1, rows=(2, 5), mode="fixed"),
    depthwise(9, 7, 8, pad=1, rows=(4, 9), x_ring=6, y_ring=5),
    depthwise(9, 7, 5, stride=2, pad=1, rows=(1, 3), x_ring=5, y_ring=2),
    depthwise(5, 5, 8, pad=1, mode="fixed", gain=300),
)

FULLY_CONNECTED = (
    *with_modes(fully_connected(1, 64, 10)),
    *with_modes(fully_connected(3, 9, 5)),
    fully_connected(1, 1, 1, mode="fixed"),
    fully_connected(2, 7, 3),
    fully_connected(1, 256, 2, mode="fixed"),
    fully_connected(1, 130, 8, extreme=True, mode="fixed"),
    fully_connected(3, 2, 5, mode="fixed", gain=200),
)
