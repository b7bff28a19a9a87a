"""The Cortex-M55 in QEMU answers what the other emulated cores answer, and counts exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_batch import RUNNER_SYMBOLS
from kernels.mcu_program import _RUNNER
from microlith.core.errors import RunError, TimeLimitError
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.support import LINKER_SCRIPT, support_files
from microlith.device.toolchain import find_toolchain

BOARD = load_device("mps3-an547")
LAYERS = """
#include "ml_board.h"
static uint8_t x[8], y[8];
__attribute__((noinline)) void t_layer_0(int32_t n);
__attribute__((noinline)) void t_layer_1(void);
void t_layer_0(int32_t n)
{
    __asm__ volatile("1: subs %0, #1\\n\\tbne 1b" : "+r"(n) : : "cc");
    y[0] = (uint8_t)(x[0] + 1);
}
void t_layer_1(void)
{
    volatile uint32_t room[25];
    for (int i = 0; i < 25; ++i) {
        room[i] = 1;
    }
    y[1] = (uint8_t)room[0];
}
int32_t mlrun_run(void);
"""


def link(root: Path, text: str) -> Path:
    for name, content in {"program.c": text, **support_files(BOARD)}.items():
        (root / name).write_text(content)
    out = root / "out.elf"
    find_toolchain(BOARD).link_elf(sorted(root.glob("*.c")), [root], root / LINKER_SCRIPT, out, keep=RUNNER_SYMBOLS)
    return out


def runner(body: str) -> str:
    return (
        LAYERS
        + '#include "ml_board.h"\n#define ML_ALIGN(n) __attribute__((aligned(n)))\n'
        + _RUNNER.replace("@BODY@", body)
    )


def test_text_exit_code_and_stack_of_a_program(tmp_path: Path) -> None:
    program = link(
        tmp_path,
        '#include "ml_board.h"\nint main(void) { volatile int room[100];'
        " for (int i = 0; i < 100; ++i) { room[i] = 12; }"
        ' ml_write("twelve "); ml_write_u32((uint32_t)room[0]); return 3; }\n',
    )
    with Emulator(program, BOARD, time_limit_s=30) as emulator:
        result = emulator.boot()
    assert (result.output, result.exit_code) == ("twelve 12", 3)
    assert 400 <= result.stack_bytes <= 520


def test_layers_are_counted_exactly(tmp_path: Path) -> None:
    program = link(tmp_path, runner("    t_layer_0(x[1] * 100);\n    t_layer_1();\n    t_layer_1();\n"))
    with Emulator(program, BOARD, time_limit_s=30) as emulator:
        counts = [
            emulator.infer_counted([bytes([4, rounds, 0, 0, 0, 0, 0, 0])], ["t_layer_0", "t_layer_1"])
            for rounds in (1, 2, 2)
        ]
        assert emulator.infer([bytes([9, 1, 0, 0, 0, 0, 0, 0])]) == [bytes([10, 1, 0, 0, 0, 0, 0, 0])]
        assert emulator.sizes() == ((8,), (8,))
    assert counts[0].outputs == [bytes([5, 1, 0, 0, 0, 0, 0, 0])]
    # One hundred rounds more of a loop of two instructions.
    assert counts[1].layers[0].instructions - counts[0].layers[0].instructions == 200
    assert counts[1] == counts[2]
    assert [layer.entries for layer in counts[0].layers] == [1, 2]
    assert counts[0].layers[1] == counts[1].layers[1]
    assert counts[0].cycles is None
    assert counts[0].instructions == sum(x.instructions for x in counts[0].layers) + counts[0].remainder_instructions
    assert counts[0].stack_bytes >= 100


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("    *(volatile uint32_t *)0x50000001u = 1;\n", "raised a fault at 0x[0-9a-f]+, in mlrun_run"),
        ("    ml_exit(7);\n", "mlrun_run did not return: the program exited with code 7"),
        ('    for (;;) { __asm__ volatile(""); }\n', "did not end within 3 s"),
    ],
)
def test_what_goes_wrong_is_told(body: str, what: str, tmp_path: Path) -> None:
    program = link(tmp_path, runner(body))
    with Emulator(program, BOARD, time_limit_s=3) as emulator, pytest.raises(RunError, match=what) as caught:
        emulator.infer_counted([bytes(8)])
    assert isinstance(caught.value, TimeLimitError) == ("did not end" in what)
