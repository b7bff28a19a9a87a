/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 fully connected for Armv6-M: 4 outputs at a time, so that each value of x is loaded once for them.
 *
 * Weights are O,K. The bias has had x_zero times the sum of each output's weights taken off.
 */
#ifndef ML_S8_FULLY_CONNECTED_THUMB1_H
#define ML_S8_FULLY_CONNECTED_THUMB1_H

#include "ml_thumb1.h"

enum { ML_FULLY_CONNECTED_THUMB1_LANES = 4 };

#define ML_FULLY_CONNECTED_THUMB1_STEP                                                                                \
    "ldrsb r6, [r0, r5]\n"                                                                                            \
    "ldrsb r7, [r1, r5]\n"                                                                                            \
    "muls r7, r6, r7\n"                                                                                               \
    "add r8, r7\n"                                                                                                    \
    "ldrsb r7, [r2, r5]\n"                                                                                            \
    "muls r7, r6, r7\n"                                                                                               \
    "add r9, r7\n"                                                                                                    \
    "ldrsb r7, [r3, r5]\n"                                                                                            \
    "muls r7, r6, r7\n"                                                                                               \
    "add r10, r7\n"                                                                                                   \
    "ldrsb r7, [r4, r5]\n"                                                                                            \
    "muls r7, r6, r7\n"                                                                                               \
    "add r11, r7\n"                                                                                                   \
    "adds r5, r5, #1\n"

/* acc[j] += sum over i of x[i] * rows[j][i] for an even count of at least 2. r7 is saved, for a compiler may keep its
 * frame there. */
static ML_NOINLINE void ml_fully_connected_thumb1_multiply(int32_t acc[ML_FULLY_CONNECTED_THUMB1_LANES],
    const int8_t *x, const int8_t *const rows[ML_FULLY_CONNECTED_THUMB1_LANES], int32_t count)
{
    register const int8_t *a __asm__("r0") = x + count;
    register const int8_t *w0 __asm__("r1") = rows[0] + count;
    register const int8_t *w1 __asm__("r2") = rows[1] + count;
    register const int8_t *w2 __asm__("r3") = rows[2] + count;
    register const int8_t *w3 __asm__("r4") = rows[3] + count;
    register int32_t i __asm__("r5") = -count;
    register int32_t *to __asm__("r6") = acc;
    __asm__ volatile(".syntax unified\n"
                     "push {r6, r7}\n"
                     "ldr r7, [r6]\n"
                     "mov r8, r7\n"
                     "ldr r7, [r6, #4]\n"
                     "mov r9, r7\n"
                     "ldr r7, [r6, #8]\n"
                     "mov r10, r7\n"
                     "ldr r7, [r6, #12]\n"
                     "mov r11, r7\n"
                     "1:\n" ML_FULLY_CONNECTED_THUMB1_STEP ML_FULLY_CONNECTED_THUMB1_STEP
                     "bne 1b\n"
                     "pop {r6, r7}\n"
                     "mov r1, r8\n"
                     "mov r2, r9\n"
                     "mov r3, r10\n"
                     "mov r4, r11\n"
                     "stmia r6!, {r1, r2, r3, r4}"
                     : "+r"(a), "+r"(w0), "+r"(w1), "+r"(w2), "+r"(w3), "+r"(i), "+r"(to)
                     :
                     : "r8", "r9", "r10", "r11", "cc", "memory");
}

/* y[r, o] = requantize(bias[o] + sum over k of x[r, k] * weights[o, k]). Where fewer than four outputs are left, the
 * last stands for those that lack. */
ML_INLINE void s8_fully_connected__thumb1_1x4(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, void *scratch, int32_t kind,
    const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift,
    int32_t per_channel, int32_t full_range, int32_t rows, int32_t depth, int32_t out_channels, int32_t y_zero,
    int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_thumb1_output out = {full_range, y_zero, low, high};
    const int32_t odd = depth & 1;
    (void)scratch;
    for (int32_t row = 0; row < rows; ++row, x += depth, y += out_channels) {
        for (int32_t o = 0; o < out_channels; o += ML_FULLY_CONNECTED_THUMB1_LANES) {
            int32_t acc[ML_FULLY_CONNECTED_THUMB1_LANES];
            const int8_t *from[ML_FULLY_CONNECTED_THUMB1_LANES];
            const int32_t lanes = ml_min(out_channels - o, ML_FULLY_CONNECTED_THUMB1_LANES);
            for (int32_t lane = 0; lane < ML_FULLY_CONNECTED_THUMB1_LANES; ++lane) {
                const int32_t channel = o + ml_min(lane, lanes - 1);
                from[lane] = weights + channel * depth + odd;
                acc[lane] = bias[channel] + (odd ? x[0] * from[lane][-1] : 0);
            }
            if (depth > 1) {
                ml_fully_connected_thumb1_multiply(acc, x + odd, from, depth - odd);
            }
            for (int32_t lane = 0; lane < lanes; ++lane) {
                const ml_thumb1_scale one = ml_thumb1_scale_of(how, o + lane, out);
                y[o + lane] = ml_thumb1_requantize(acc[lane], &one, out);
            }
        }
    }
}

#endif
