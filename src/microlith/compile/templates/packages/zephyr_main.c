/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * @TITLE@.
 *
 * Runs the network once on the golden input and prints one line, which `microlith verify --board-log` takes in.
 */
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include <@NAME@.h>

#include "golden.h"

@ONCE@
int main(void)
{
    int32_t failed = @NAME@_init(&net, arena, sizeof arena@STATE_ARGUMENT@);
    uint32_t mismatches = 0u;
    uint32_t elapsed = 0u; /* in cycles of the system's clock, which need not be the processor's */
    if (failed == 0) {
        fill_inputs();
        elapsed = k_cycle_get_32();
        failed = @NAME@_run(&net);
        elapsed = k_cycle_get_32() - elapsed;
        mismatches = count_mismatches();
    }
    printk("one inference took %u us\n", (unsigned int)k_cyc_to_us_floor32(elapsed));
    printk("microlith-selftest name=@NAME@ hash=@HASH@ vectors=1 mismatches=%u cycles=0%s\n", (unsigned int)mismatches,
           failed == 0 ? "" : " error=1");
    return 0;
}
