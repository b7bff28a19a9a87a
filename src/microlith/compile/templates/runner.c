/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* The library behind functions of fixed names, for programs that load or emulate it without knowing its own. */
#include "runner.h"

static @NAME@_ctx net;

@NAME@_ctx *mlrun_context(void)
{
    return &net;
}

int32_t mlrun_init(void *arena, uint32_t arena_bytes)
{
    return @INIT@;
}

uint32_t mlrun_arena_bytes(void)
{
    return @RUN_BYTES@;
}

@RESET@@IO@
int32_t mlrun_run(void)
{
    return @NAME@_run(&net);
}
