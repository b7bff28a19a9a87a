/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * @TITLE@.
 *
 * Runs the network once on the golden input and prints one line, which `microlith verify --board-log` takes in.
 */
#include <stdio.h>

#include <@NAME@.h>
#include <esp_cpu.h>

#include "golden.h"

@ONCE@
void app_main(void);

void app_main(void)
{
    int32_t failed = @NAME@_init(&net, arena, sizeof arena@STATE_ARGUMENT@);
    uint32_t mismatches = 0u;
    uint32_t cycles = 0u;
    if (failed == 0) {
        fill_inputs();
        cycles = (uint32_t)esp_cpu_get_cycle_count();
        failed = @NAME@_run(&net);
        cycles = (uint32_t)esp_cpu_get_cycle_count() - cycles;
        mismatches = count_mismatches();
    }
    printf("microlith-selftest name=@NAME@ hash=@HASH@ vectors=1 mismatches=%lu cycles=%lu%s\n",
           (unsigned long)mismatches, (unsigned long)cycles, failed == 0 ? "" : " error=1");
}
