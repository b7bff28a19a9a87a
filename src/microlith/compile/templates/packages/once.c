/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
static uint8_t arena[@UPPER@_ARENA_BYTES] __attribute__((aligned(@ALIGN@)));
@STATE@static @NAME@_ctx net;

@DIFFERS@static void fill_inputs(void)
{
@FILLS@}

/* How many output values are not the golden ones. */
static uint32_t count_mismatches(void)
{
    uint32_t mismatches = 0u;
@CHECKS@    return mismatches;
}
