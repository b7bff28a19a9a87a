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
extern uint32_t ml_data_start[], ml_data_end[], ml_data_load[], ml_bss_start[], ml_bss_end[], ml_stack_top[];

int main(void);
void Reset_Handler(void);
void HardFault_Handler(void);
void Default_Handler(void);

/* The processor takes the stack pointer from word 0 and starts at word 1; the other system exceptions follow. */
typedef union {
    void (*handler)(void);
    uint32_t *stack;
} vector;

__attribute__((section(".vectors"), used)) const vector ml_vectors[16] = {
    {.stack = ml_stack_top},         /* initial stack pointer */
    {.handler = Reset_Handler},      /* reset */
    {.handler = Default_Handler},    /* NMI */
    {.handler = HardFault_Handler},  /* hard fault */
    {.handler = 0},                  /* reserved */
    {.handler = 0},                  /* reserved */
    {.handler = 0},                  /* reserved */
    {.handler = 0},                  /* reserved */
    {.handler = 0},                  /* reserved */
    {.handler = 0},                  /* reserved */
    {.handler = 0},                  /* reserved */
    {.handler = Default_Handler},    /* supervisor call */
    {.handler = 0},                  /* reserved */
    {.handler = 0},                  /* reserved */
    {.handler = Default_Handler},    /* PendSV */
    {.handler = ml_cycles_wrapped},  /* SysTick: the cycle counter has only 24 bits and counts its wraps here */
};

__attribute__((noreturn)) void Reset_Handler(void)
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

__attribute__((noreturn)) void HardFault_Handler(void)
{
    ml_write("microlith: hard fault\n");
    ml_exit(70);
}

__attribute__((noreturn)) void Default_Handler(void)
{
    ml_write("microlith: an exception that nothing handles\n");
    ml_exit(71);
}
