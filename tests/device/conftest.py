"""A tiny program with the runner functions, built for any device, whose behaviour its input selects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from microlith.device.load import device
from microlith.device.support import LINKER_SCRIPT, support_files
from microlith.device.toolchain import find_toolchain

RUNNER_SYMBOLS = (
    "mlrun_init",
    "mlrun_arena_bytes",
    "mlrun_inputs",
    "mlrun_outputs",
    "mlrun_input",
    "mlrun_input_bytes",
    "mlrun_output",
    "mlrun_output_bytes",
    "mlrun_run",
)

# Input: a command byte and a number; output: the number, as little-endian 32 bits. The arena holds both.
RUNNER = """
#include <stdint.h>
static uint8_t *base;
volatile int32_t sink;
uint32_t mlrun_arena_bytes(void) { return 100; }
uint32_t mlrun_inputs(void) { return 1; }
uint32_t mlrun_outputs(void) { return 1; }
uint32_t mlrun_input_bytes(uint32_t i) { (void)i; return 2; }
uint32_t mlrun_output_bytes(uint32_t i) { (void)i; return 4; }
int32_t mlrun_init(void *arena, uint32_t bytes) { base = arena; return bytes == 100 ? 0 : -3; }
void *mlrun_input(uint32_t i) { (void)i; return base; }
void *mlrun_output(uint32_t i) { (void)i; return base + 4; }
int32_t demo_layer_0(int32_t n);
int32_t demo_layer_1(int32_t n);
int32_t demo_layer_2(int32_t n);
int32_t mlrun_run(void)
{
    int32_t n = base[1];
    if (base[0] == 9) { return -7; }
    if (base[0] != 0) { n = demo_layer_2(base[0]); } else { n = demo_layer_1(demo_layer_0(n)); }
    for (int i = 0; i < 4; i++) { base[4 + i] = (uint8_t)((uint32_t)n >> (8 * i)); }
    return 0;
}
"""

# The sum of 1 to n in 3 n + 3 instructions, and the sum plus one with a stack frame of a known size.
ARM_LAYERS = """
#include <stdint.h>
extern volatile int32_t sink;
extern uint8_t ml_bss_end[];
__attribute__((naked, noinline)) int32_t demo_layer_0(int32_t n)
{
    __asm__ volatile("movs r1, #0\\n1: adds r1, r1, r0\\nsubs r0, #1\\nbne 1b\\nmovs r0, r1\\nbx lr");
}
__attribute__((naked, noinline)) int32_t demo_helper(int32_t n) { __asm__ volatile("adds r0, #1\\nbx lr"); }
__attribute__((naked, noinline)) int32_t demo_layer_1(int32_t n)
{
    __asm__ volatile("push {r4, lr}\\nsub sp, #" FRAME "\\nstr r0, [sp]\\nbl demo_helper\\nadd sp, #" FRAME
                     "\\npop {r4, pc}");
}
__attribute__((noinline)) static int32_t deep(int32_t n)
{
    volatile int32_t local = n;
    return n == 0 ? 0 : deep(n - 1) * 3 - local;
}
__attribute__((naked, noinline)) int32_t misaligned(void)
{
    __asm__ volatile("mov r1, sp\\nsubs r1, #30\\nldm r1!, {r0, r2}\\nbx lr");
}
int32_t demo_layer_2(int32_t n)
{
    if (n == 1) { return *(volatile int32_t *)0x40000000; }
    if (n == 2) { *(volatile int32_t *)demo_layer_2 = 1; }
    if (n == 3) { for (;;) { sink++; } }
    if (n == 4) { ((void (*)(void))0x60000001)(); }
    if (n == 5) { return deep(100000); }
    if (n == 8) { return misaligned(); }
    if (n == 10) { return *(volatile uint16_t *)((uintptr_t)&sink + 1u); }
    if (n == 7) { *(volatile uint8_t *)ml_bss_end = 1; }
    if (n == 6) { __asm__ volatile("udf #0"); }
    return n;
}
"""

RISCV_LAYERS = """
#include <stdint.h>
extern volatile int32_t sink;
extern uint8_t ml_bss_end[];
__attribute__((naked, noinline)) int32_t demo_layer_0(int32_t n)
{
    __asm__ volatile("li a1, 0\\n1: add a1, a1, a0\\naddi a0, a0, -1\\nbnez a0, 1b\\nmv a0, a1\\nret");
}
__attribute__((naked, noinline)) int32_t demo_helper(int32_t n) { __asm__ volatile("addi a0, a0, 1\\nret"); }
__attribute__((naked, noinline)) int32_t demo_layer_1(int32_t n)
{
    __asm__ volatile("addi sp, sp, -" FRAME "\\nsw ra, 0(sp)\\njal demo_helper\\nlw ra, 0(sp)\\n"
                     "addi sp, sp, " FRAME "\\nret");
}
__attribute__((noinline)) static int32_t deep(int32_t n)
{
    volatile int32_t local = n;
    return n == 0 ? 0 : deep(n - 1) * 3 - local;
}
__attribute__((naked, noinline)) int32_t misaligned(void) { __asm__ volatile("lw a0, -30(sp)\\nret"); }
int32_t demo_layer_2(int32_t n)
{
    if (n == 1) { return *(volatile int32_t *)0x40000000; }
    if (n == 2) { *(volatile int32_t *)demo_layer_2 = 1; }
    if (n == 4) { ((void (*)(void))0x60000000)(); }
    if (n == 5) { return deep(100000); }
    if (n == 6) { __asm__ volatile("unimp"); }
    if (n == 8) { return misaligned(); }
    if (n == 10) { return *(volatile uint16_t *)((uintptr_t)&sink + 1u); }
    return n;
}
"""

MAIN = """
#include "ml_board.h"
uint8_t mlrun_arena[100] __attribute__((aligned(16)));
int32_t mlrun_init(void *arena, uint32_t bytes);
int32_t mlrun_run(void);
static volatile int32_t initialized = 42, zeroed;
volatile float half = 0.5f;
volatile int64_t wide = 1000000000000;
int main(void)
{
    if (initialized != 42 || zeroed != 0 || half * 3.0f != 1.5f || wide / 7 != 142857142857) { return 5; }
    if (mlrun_init(mlrun_arena, sizeof mlrun_arena) != 0) { return 6; }
    mlrun_arena[1] = 10;
    ml_cycles_start();
    const uint32_t before = ml_cycles();
    const int32_t status = mlrun_run();
    const uint32_t cycles = ml_cycles() - before;
    ml_write("sum=");
    ml_write_u32(mlrun_arena[4]);
    ml_write(" cycles=");
    ml_write_u32(cycles);
    ml_write("\\n");
    return status;
}
"""

HOST_LAYERS = """
#include <stdint.h>
int32_t demo_layer_0(int32_t n) { int32_t s = 0; for (int32_t i = 1; i <= n; i++) { s += i; } return s; }
int32_t demo_layer_1(int32_t n) { return n + 1; }
extern void *mlrun_input(uint32_t i);
int32_t demo_layer_2(int32_t n)
{
    volatile uint8_t *arena = mlrun_input(0);
    if (n == 1) { arena[128] = 1; }
    if (n == 2) { arena[101] = 1; }
    if (n == 3) { for (;;) { arena[0] = 1; } }
    if (n == 4) { arena[-1] = 1; }
    if (n == 5) { volatile int32_t most = INT32_MAX; return most + n; }
    return n;
}
"""

Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build_elf(tmp_path_factory: pytest.TempPathFactory) -> Build:
    def build(name: str, *, frame: int = 64, layers: str | None = None, runner: str = RUNNER, main: str = MAIN) -> Path:
        root = tmp_path_factory.mktemp(name)
        target = device(name)
        layers = layers or (RISCV_LAYERS if target.is_riscv else ARM_LAYERS)
        files = support_files(target) | {"main.c": main, "runner.c": runner, "layers.c": layers}
        for file, text in files.items():
            (root / file).write_text(text)
        find_toolchain(target).link_elf(
            sorted(root.glob("*.c")),
            [root],
            root / LINKER_SCRIPT,
            root / "program.elf",
            defines=[f'FRAME="{frame}"'],
            keep=RUNNER_SYMBOLS,
        )
        return root / "program.elf"

    return build


@pytest.fixture(scope="session")
def build_library(tmp_path_factory: pytest.TempPathFactory) -> Build:
    def build(*, layers: str = HOST_LAYERS, runner: str = RUNNER, sanitize: bool = False) -> Path:
        root = tmp_path_factory.mktemp("library")
        (root / "runner.c").write_text(runner)
        (root / "layers.c").write_text(layers)
        find_toolchain(device("host")).compile_shared(
            sorted(root.glob("*.c")), [root], root / "program.so", sanitize=sanitize
        )
        return root / "program.so"

    return build
