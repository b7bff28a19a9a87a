/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * What a test program needs from a board: somewhere to write a line, a way to end, and a cycle counter.
 *
 * By default text and the exit code go to the debugger through semihosting (a breakpoint that the debugger answers: BKPT
 * 0xAB on Arm, EBREAK on RISC-V), so a debugger must be attached. To use a UART instead, write a function of your own, void my_putc(char), and compile
 * with -DML_PUTC=my_putc; the program then stays in an endless loop when it is done.
 */
#ifndef ML_BOARD_H
#define ML_BOARD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Write a text that ends with a zero byte. */
void ml_write(const char *text);

/* Write a number in decimal. */
void ml_write_u32(uint32_t number);

/* End the program; 0 is success. */
__attribute__((noreturn)) void ml_exit(int32_t code);

/* Start the cycle counter. Call it once, before ml_cycles. On RISC-V there is none until ml_board.c is told which. */
void ml_cycles_start(void);

/* Processor cycles since some moment, modulo 2^32: take the difference of two readings. */
uint32_t ml_cycles(void);

/* Armv6-M only: the SysTick exception, for the vector table. Without it, ml_cycles is modulo 2^24. */
void ml_cycles_wrapped(void);

#ifdef __cplusplus
}
#endif

#endif
