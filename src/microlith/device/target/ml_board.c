/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
#include "ml_board.h"

#include <stddef.h>

#if !defined(__arm__) && !defined(__riscv)
#error "ml_board.c is for Arm Cortex-M and RISC-V"
#endif

/* ---- Text and the end of the program ---- */

#ifdef ML_PUTC

void ML_PUTC(char c);

void ml_write(const char *text)
{
    for (; *text != '\0'; text++) {
        ML_PUTC(*text);
    }
}

void ml_exit(int32_t code)
{
    (void)code;
    for (;;) {
        __asm__ volatile("" ::: "memory");
    }
}

#else

/* Operations of Arm's "Semihosting for AArch32 and AArch64", which "RISC-V Semihosting" takes over: the number in r0
 * (a0), its parameter in r1 (a1). */
enum { SYS_WRITE0 = 0x04, SYS_EXIT = 0x18, SYS_EXIT_EXTENDED = 0x20 };
enum { ADP_STOPPED_APPLICATION_EXIT = 0x20026 };

#if defined(__arm__)

static void semihost(uint32_t operation, const void *parameter)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = parameter;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

#else /* three instructions of 4 bytes, which a debugger tells from a breakpoint, on one page */

static void semihost(uint32_t operation, const void *parameter)
{
    register uint32_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = parameter;
    __asm__ volatile(".balign 16\n\t"
                     ".option push\n\t"
                     ".option norvc\n\t"
                     "slli zero, zero, 0x1f\n\t"
                     "ebreak\n\t"
                     "srai zero, zero, 7\n\t"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
}

#endif

void ml_write(const char *text)
{
    semihost(SYS_WRITE0, text);
}

void ml_exit(int32_t code)
{
    const uint32_t reason[2] = {ADP_STOPPED_APPLICATION_EXIT, (uint32_t)code};
    semihost(SYS_EXIT_EXTENDED, reason);
    /* A debugger without the extended call: the plain one tells success from failure only. */
    semihost(SYS_EXIT, (const void *)(uintptr_t)(code == 0 ? ADP_STOPPED_APPLICATION_EXIT : 0x20023));
    for (;;) {
        __asm__ volatile("" ::: "memory");
    }
}

#endif

void ml_write_u32(uint32_t number)
{
    char digits[11];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        const uint32_t rest = number / 10u;
        digits[--at] = (char)('0' + (char)(number - rest * 10u));
        number = rest;
    } while (number != 0u);
    ml_write(&digits[at]);
}

/* ---- Cycles ---- */

#define REGISTER(address) (*(volatile uint32_t *)(address))

#if defined(__riscv)

/* Which register counts cycles is the chip's affair: compile with -DML_CYCLE_CSR=0xB00 where the core has mcycle, and
 * with 0x7E2 on the ESP32-C3, whose counter of events is set to count cycles here. */
#if !defined(ML_CYCLE_CSR)

void ml_cycles_start(void)
{
}

uint32_t ml_cycles(void)
{
    return 0u;
}

#else

#define ML_TEXT(words) #words
#define ML_NUMBER(macro) ML_TEXT(macro)

void ml_cycles_start(void)
{
#if ML_CYCLE_CSR == 0x7E2
    __asm__ volatile("csrwi 0x7E0, 1\n\tcsrwi 0x7E1, 1"); /* mpcer: cycles; mpcmr: on */
#endif
}

uint32_t ml_cycles(void)
{
    uint32_t count;
    __asm__ volatile("csrr %0, " ML_NUMBER(ML_CYCLE_CSR) : "=r"(count) : : "memory");
    return count;
}

#endif

void ml_cycles_wrapped(void)
{
}

#elif __ARM_ARCH >= 7 /* the Data Watchpoint and Trace unit counts cycles in 32 bits */

void ml_cycles_start(void)
{
    REGISTER(0xE000EDFCu) |= 1u << 24;  /* DEMCR.TRCENA: trace on */
    REGISTER(0xE0001FB0u) = 0xC5ACCE55u; /* DWT_LAR: Cortex-M7 locks the unit; others ignore this */
    REGISTER(0xE0001004u) = 0u;          /* DWT_CYCCNT */
    REGISTER(0xE0001000u) |= 1u;         /* DWT_CTRL.CYCCNTENA */
}

uint32_t ml_cycles(void)
{
    return REGISTER(0xE0001004u);
}

void ml_cycles_wrapped(void)
{
}

#else /* Armv6-M has SysTick, which counts down in 24 bits */

static volatile uint32_t wraps;

void ml_cycles_start(void)
{
    wraps = 0u;
    REGISTER(0xE000E014u) = 0xFFFFFFu; /* SYST_RVR */
    REGISTER(0xE000E018u) = 0u;        /* SYST_CVR: any write clears it */
    REGISTER(0xE000E010u) = 7u;        /* SYST_CSR: processor clock, exception at zero, enabled */
}

uint32_t ml_cycles(void)
{
    uint32_t before, count;
    do {
        before = wraps;
        count = REGISTER(0xE000E018u);
    } while (before != wraps);
    return (before << 24) + (0xFFFFFFu - count);
}

void ml_cycles_wrapped(void)
{
    wraps = wraps + 1u;
}

#endif

/* ---- What a compiler may call without being asked ---- */

/* Weak, so that a C library's own versions win where one is linked. */
__attribute__((weak)) void *memcpy(void *to, const void *from, size_t bytes)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    if ((((uintptr_t)out | (uintptr_t)in) & 3u) == 0u) {
        for (; bytes >= 4u; bytes -= 4u, out += 4, in += 4) {
            *(uint32_t *)(void *)out = *(const uint32_t *)(const void *)in;
            __asm__ volatile("" ::: "memory"); /* keep it a loop: a compiler would call memcpy from memcpy */
        }
    }
    for (; bytes != 0u; bytes--) {
        *out++ = *in++;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

__attribute__((weak)) void *memset(void *to, int value, size_t bytes)
{
    uint8_t *out = to;
    const uint32_t word = (uint32_t)(uint8_t)value * 0x01010101u;
    for (; bytes != 0u && ((uintptr_t)out & 3u) != 0u; bytes--) {
        *out++ = (uint8_t)value;
        __asm__ volatile("" ::: "memory");
    }
    for (; bytes >= 4u; bytes -= 4u, out += 4) {
        *(uint32_t *)(void *)out = word;
        __asm__ volatile("" ::: "memory");
    }
    for (; bytes != 0u; bytes--) {
        *out++ = (uint8_t)value;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

__attribute__((weak)) void *memmove(void *to, const void *from, size_t bytes)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    if ((uintptr_t)out - (uintptr_t)in >= bytes) {
        return memcpy(to, from, bytes);
    }
    for (; bytes != 0u; bytes--) {
        out[bytes - 1u] = in[bytes - 1u];
        __asm__ volatile("" ::: "memory");
    }
    return to;
}
