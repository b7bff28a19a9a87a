/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * @TITLE@.
 *
 * Runs the network once on the golden input and prints one line, which `microlith verify --board-log` takes in.
 */
#include <stdio.h>

#include <@NAME@.h>

#include "golden.h"

@ONCE@
int main(void)
{
    int32_t failed = @NAME@_init(&net, arena, sizeof arena@STATE_ARGUMENT@);
    uint32_t mismatches = 0u;
    if (failed == 0) {
        fill_inputs();
        failed = @NAME@_run(&net);
        mismatches = count_mismatches();
    }
    printf("microlith-selftest name=@NAME@ hash=@HASH@ vectors=1 mismatches=%lu cycles=0%s\n", (unsigned long)mismatches,
           failed == 0 ? "" : " error=1");
    return failed == 0 && mismatches == 0u ? 0 : 1;
}
