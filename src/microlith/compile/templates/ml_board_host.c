/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* ml_board.h over the C library, so that the self-test also runs on a desk: there is no cycle counter, and it reads 0. */
#include "ml_board.h"

#include <stdio.h>
#include <stdlib.h>

void ml_write(const char *text)
{
    (void)fputs(text, stdout);
}

void ml_write_u32(uint32_t number)
{
    (void)printf("%lu", (unsigned long)number);
}

void ml_exit(int32_t code)
{
    exit((int)code);
}

void ml_cycles_start(void)
{
}

uint32_t ml_cycles(void)
{
    return 0u;
}
