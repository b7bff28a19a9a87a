/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * Start-up code for @CORE@: everything that happens between reset and main().
 *
 * It is all that a bare board needs. When your project already has start-up code (from the vendor, or an RTOS), use
 * that instead and leave this file out; the model needs nothing from here but memcpy and memset, which any C library
 * has as well.
 */
#include <stddef.h>
#include <stdint.h>

#include "ml_board.h"

/* Placed by linker.ld. */
extern uint32_t ml_data_start[], ml_data_end[], ml_data_load[], ml_bss_start[], ml_bss_end[];

int main(void);
void Reset_Handler(void);
void Trap_Handler(void);
void ml_start(void);

/* The first bytes of the program: there is no stack yet. */
__attribute__((naked, section(".vectors"), used)) void Reset_Handler(void)
{
    __asm__ volatile("la sp, ml_stack_top\n\t"
                     "la t0, Trap_Handler\n\t"
                     "csrw mtvec, t0\n\t"
                     "tail ml_start");
}

__attribute__((noreturn, used)) void ml_start(void)
{
    const uint32_t *from = ml_data_load;
    for (uint32_t *to = ml_data_start; to != ml_data_end; to++, from++) {
        *to = *from;
        __asm__ volatile("" ::: "memory"); /* keep it a loop: a compiler would call memcpy instead */
    }
    for (uint32_t *to = ml_bss_start; to != ml_bss_end; to++) {
        *to = 0;
        __asm__ volatile("" ::: "memory");
    }
    ml_exit(main());
}

/* Exceptions only: interrupts stay off. Some cores take their trap vector at multiples of 256. */
__attribute__((noreturn, used, aligned(256))) void Trap_Handler(void)
{
    ml_write("microlith: an exception that nothing handles\n");
    ml_exit(70);
}
