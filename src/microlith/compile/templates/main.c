/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * Runs the golden vectors and prints one line:
 *
 *     microlith-selftest name=... hash=... vectors=... mismatches=... cycles=...
 *
 * `cycles` is of the last vector by the core's cycle counter. Save the line that a board prints and give it to
 * `microlith verify --board-log`. ml_board.h says how to send it through a UART instead of a debugger.
 */
#include "golden.h"
#include "ml_board.h"
#include "runner.h"

uint8_t mlrun_arena[@RUN_BYTES@] __attribute__((aligned(@ALIGN@)));

@DIFFERS@int main(void)
{
    uint32_t mismatches = 0u;
    uint32_t cycles = 0u;
    int32_t failed = mlrun_init(mlrun_arena, sizeof mlrun_arena);
    ml_cycles_start();
    for (uint32_t vector = 0u; failed == 0 && vector < GOLDEN_VECTORS; vector++) {
@COMPARE@    }
    ml_write("microlith-selftest name=@NAME@ hash=@HASH@ vectors=");
    ml_write_u32(GOLDEN_VECTORS);
    ml_write(" mismatches=");
    ml_write_u32(mismatches);
    ml_write(" cycles=");
    ml_write_u32(cycles);
    ml_write(failed == 0 ? "\n" : " error=1\n");
    return failed == 0 && mismatches == 0u ? 0 : 1;
}
