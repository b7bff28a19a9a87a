from __future__ import annotations

import pytest

from microlith.device.alignment import AlignedAccess, aligned_access
from microlith.device.cycle_table import BlockDecoder

BASE, BOTH = ("r1",), ("r1", "r2")


@pytest.mark.parametrize(
    ("text", "code", "armv6", "armv7"),
    [
        ("ldr r0, [r1]", "0868", (BASE, 4), None),
        ("ldrh r0, [r1]", "0888", (BASE, 2), None),
        ("ldrsh r0, [r1, r2]", "885e", (BOTH, 2), None),
        ("ldrb r0, [r1]", "0878", None, None),
        ("str r0, [sp, #4]", "0190", None, None),
        ("ldr r2, [pc, #4]", "014a", None, None),
        ("stm r1!, {r2, r3}", "0cc1", (BASE, 4), (BASE, 4)),
        ("push {r4, r5, lr}", "30b5", None, None),
        ("adds r0, r1, r2", "8818", None, None),
    ],
)
def test_every_access_counts_on_armv6_and_single_ones_do_not_elsewhere(text, code, armv6, armv7):
    for core, expected in (("cortex-m0plus", armv6), ("cortex-m4f", armv7), ("cortex-m33", armv7)):
        found = aligned_access(core, BlockDecoder(core).instruction(bytes.fromhex(code)))
        assert found == (None if expected is None else AlignedAccess(*expected)), text


@pytest.mark.parametrize(
    ("text", "code", "base"),
    [
        ("ldrd r0, r1, [r2]", "d2e90001", "r2"),
        ("ldrd r0, r1, [r2], #8", "f2e80201", "r2"),
        ("strd r0, r1, [sb, #8]", "c9e90201", "sb"),
        ("ldmdb r0, {r1, r2}", "10e90600", "r0"),
        ("vldr s0, [r0]", "90ed000a", "r0"),
        ("vstr s0, [ip, #4]", "8ced010a", "ip"),
        ("vldmia r0!, {s0-s3}", "b0ec040a", "r0"),
        ("ldrex r0, [r2]", "52e8000f", "r2"),
    ],
)
def test_doubles_multiples_and_those_of_the_fpu_must_be_aligned(text, code, base):
    instruction = BlockDecoder("cortex-m4f").instruction(bytes.fromhex(code))
    assert aligned_access("cortex-m4f", instruction) == AlignedAccess((base,), 4), text


def test_stack_transfers_of_the_fpu_are_aligned_by_themselves():
    for code in ("2ded088b", "9ded010a"):  # vpush {d8-d11}; vldr s0, [sp, #4]
        assert aligned_access("cortex-m4f", BlockDecoder("cortex-m4f").instruction(bytes.fromhex(code))) is None
