/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* The smallest application that uses the library: what flash and RAM figures are counted on. */
#include "@NAME@.h"

static uint8_t arena[@UPPER@_ARENA_BYTES] __attribute__((aligned(@ALIGN@)));
@STATE@static @NAME@_ctx net;

int main(void)
{
    if (@NAME@_init(&net, arena, sizeof arena@STATE_ARGUMENT@) != 0) {
        return 1;
    }
    return (int)@NAME@_run(&net);
}
