from __future__ import annotations

import ctypes

import pytest

from microlith.device.block_counter import BlockCounter
from microlith.device.build_hooks import build_hooks
from microlith.device.cycle_table import (
    BlockDecoder,
    cycles,
    instruction_offsets,
    thumb_instruction_bytes,
)
from microlith.device.native_hooks import NativeBlockCounter

ON_BLOCK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)

# Encodings of single instructions, little-endian halfwords (Arm DDI 0403).
ENCODED = [
    ("ldr r0, [r1]", "0868", 2),
    ("ldrb r0, [r1]", "0878", 2),
    ("ldrsh r0, [r1, r2]", "885e", 2),
    ("ldr.w r0, [r1], #4", "51f8040b", 2),
    ("str r0, [r1]", "0860", 1),
    ("strh r0, [r1]", "0880", 1),
    ("push {r4, r5, lr}", "30b5", 4),
    ("pop {r4, r5, pc}", "30bd", 4),
    ("push.w {r4-r8, lr}", "2de9f041", 7),
    ("ldm r0!, {r1, r2, r3}", "0ec8", 4),
    ("stm r0!, {r1, r2}", "06c0", 3),
    ("ldmdb r0, {r1, r2}", "10e90600", 3),
    ("ldrd r0, r1, [r2]", "d2e90001", 3),
    ("strd r0, r1, [r2]", "c2e90001", 3),
    ("vldr s0, [r0]", "90ed000a", 2),
    ("vstr s0, [r0]", "80ed000a", 2),
    ("vpush {d8-d11}", "2ded088b", 9),
    ("vpush {s16, s17}", "2ded028a", 3),
    ("vldmia r0!, {s0-s3}", "b0ec040a", 5),
    ("sdiv r0, r1, r2", "91fbf2f0", 7),
    ("udiv r0, r1, r2", "b1fbf2f0", 7),
    ("vdiv.f32 s0, s1, s2", "80ee810a", 14),
    ("vsqrt.f32 s0, s1", "b1eee00a", 14),
    ("vmla.f32 s0, s1, s2", "00ee810a", 3),
    ("vfma.f32 s0, s1, s2", "a0ee810a", 3),
    ("vmul.f32 s0, s1, s2", "20ee810a", 1),
    ("vcvtr.s32.f32 s0, s0", "bdee400a", 1),
    ("mul r0, r1, r0", "4843", 1),
    ("smlad r0, r1, r2, r3", "21fb0230", 1),
    ("sxtb16 r0, r1, ror #8", "2ffa91f0", 1),
    ("ssat r0, #8, r1", "01f30700", 1),
    ("b .", "fee7", 1),
    ("bl .", "fff7feff", 1),
    ("nop", "00bf", 1),
]


@pytest.fixture(scope="module")
def decoder() -> BlockDecoder:
    return BlockDecoder("cortex-m4f")


@pytest.mark.parametrize(("text", "code", "expected"), ENCODED, ids=[text for text, _, _ in ENCODED])
def test_cycles_by_instruction(decoder, text, code, expected):
    block = decoder.decode(bytes.fromhex(code))
    assert (block.instructions, block.cycles) == (1, expected)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("08680968", [2, 1]),  # ldr, ldr
        ("08600868", [1, 1]),  # str, ldr
        ("0868c0460868", [2, 1, 2]),  # ldr, mov r8, r8, ldr
        ("90ed000a0868", [2, 2]),  # vldr is no single transfer of the integer pipeline
        ("d2e900010868", [3, 2]),  # nor is ldrd
        ("06c00868", [3, 2]),  # nor stm
        ("0868086008680868", [2, 1, 1, 1]),
    ],
)
def test_a_load_right_after_a_single_transfer_takes_one_cycle(decoder, code, expected):
    block = decoder.decode(bytes.fromhex(code))
    assert [b - a for a, b in zip(block.cycles_before, block.cycles_before[1:], strict=False)] == expected


def test_conditional_instructions_count_as_executed(decoder):
    block = decoder.decode(bytes.fromhex("00280cbf012002207047"))  # cmp, ite eq, moveq, movne, bx lr
    assert (block.instructions, block.cycles) == (5, 5)


def test_lengths_of_thumb_instructions():
    assert [thumb_instruction_bytes(half) for half in (0xE7FE, 0xE800, 0xF000, 0xF800, 0xBF00)] == [2, 4, 4, 4, 2]
    assert instruction_offsets(bytes.fromhex("00bf91fbf2f000bf")) == (0, 2, 6)
    with pytest.raises(ValueError, match="ends inside an instruction"):
        instruction_offsets(bytes.fromhex("91fb"))


def test_other_cores_have_instructions_and_no_cycles():
    for core in ("cortex-m0plus", "cortex-m3", "cortex-m7", "cortex-m33"):
        decoder = BlockDecoder(core)
        assert not decoder.has_cycles
        assert decoder.decode(bytes.fromhex("00bf00bf")).instructions == 2


def test_what_is_no_instruction_is_refused(decoder):
    with pytest.raises(ValueError, match="cannot decode"):
        decoder.decode(bytes.fromhex("ffffffff"))


def test_unlisted_instructions_take_one_cycle():
    assert cycles("smlald") == cycles("tbb") == cycles("anything") == 1
    assert cycles("ldr", after_single=True) == cycles("str", after_single=True) == 1


@pytest.fixture(scope="module")
def hooks() -> ctypes.CDLL:
    path = build_hooks()
    assert path is not None
    return ctypes.CDLL(str(path))


class Walk:
    """A counter driven by hand over a program of nops: blocks of two instructions, layer at 0x100."""

    def __init__(self, hooks: ctypes.CDLL | None, core: str = "cortex-m4f") -> None:
        self.link, self.stack_pointer = 0, 0x1000
        layers = {0x100: "net_layer_0"}
        rest = (
            lambda: (self.link, self.stack_pointer),
            lambda _address, size: b"\x00\xbf" * (size // 2),
            BlockDecoder(core),
        )
        self.counter = BlockCounter(layers, *rest) if hooks is None else NativeBlockCounter(layers, *rest, hooks)

    def go(self, *addresses: int, size: int = 4) -> None:
        for address in addresses:
            if isinstance(self.counter, NativeBlockCounter):
                function, data = self.counter.hook
                ON_BLOCK(function)(None, address, size, data)
            else:
                self.counter.on_block(None, address, size, None)
        self.counter.settle()


@pytest.fixture(params=["python", "c"])
def walk(request, hooks) -> Walk:
    return Walk(hooks if request.param == "c" else None)


def test_layers_get_what_runs_between_entry_and_return(walk):
    walk.go(0x10)
    walk.link = 0x15
    walk.go(0x100, 0x200, 0x104, 0x14, 0x18)
    counter, layer = walk.counter, walk.counter.tallies["net_layer_0"]
    assert counter.instructions(layer) == 6
    assert layer.taken == 3  # to 0x200, back to 0x104, and the return
    assert counter.cycles(layer) == 6 + 2 * 3
    assert counter.instructions(counter.outside) == 6
    assert counter.cycles(counter.outside) == 6 + 2  # the call; 0x18 follows 0x14
    assert layer.entries == 1


def test_passing_the_return_address_deeper_in_the_stack_is_no_return(walk):
    walk.link = 0x15
    walk.go(0x100)
    walk.stack_pointer = 0xF00
    walk.go(0x14)
    assert walk.counter.layer == "net_layer_0"
    walk.stack_pointer = 0x1000
    walk.go(0x14)
    assert walk.counter.layer is None
    assert walk.counter.instructions(walk.counter.tallies["net_layer_0"]) == 4


def test_a_loop_back_to_the_entry_is_no_second_call_and_a_second_call_is(walk):
    walk.link = 0x15
    walk.go(0x100, 0x100, 0x100)
    assert walk.counter.tallies["net_layer_0"].entries == 1
    walk.go(0x14)
    walk.link = 0x19
    walk.go(0x100, 0x18)
    assert walk.counter.tallies["net_layer_0"].entries == 2


def test_overlapping_blocks_are_distinct(walk):
    walk.go(0x10, size=8)
    walk.go(0x14)
    assert walk.counter.instructions(walk.counter.outside) == 4 + 2


def test_cycles_until_an_instruction_of_the_running_block(walk):
    walk.go(0x10, 0x14, 0x40)
    assert walk.counter.cycles_until(0x40) == 4 + 2
    assert walk.counter.cycles_until(0x42) == 4 + 2 + 1
    assert Walk(None, "cortex-m7").counter.cycles_until(0x40) == 0


def test_more_blocks_than_there_is_room_for_at_first(walk):
    addresses = range(0x1000, 0x1000 + 8 * 10_000, 8)
    walk.go(*addresses)
    walk.go(0x1000)
    assert walk.counter.outside.blocks == {(at, 4): 1 + (at == 0x1000) for at in addresses}
    assert walk.counter.outside.taken == len(addresses)
    walk.counter.reset()
    walk.counter.break_off()
    walk.go(0x2000)
    assert (walk.counter.outside.blocks, walk.counter.outside.taken) == ({(0x2000, 4): 1}, 0)
