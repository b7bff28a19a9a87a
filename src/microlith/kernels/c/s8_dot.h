/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Inner products of int8 vectors, the portable way. */
#ifndef ML_S8_DOT_H
#define ML_S8_DOT_H

#include "ml_common.h"

#if defined(__arm__) && defined(__thumb__) && !defined(__thumb2__)
#define ML_S8_DOT_THUMB1 1
#else
#define ML_S8_DOT_THUMB1 0
#endif

#if ML_S8_DOT_THUMB1
/* A register of which only ADD and MOV are asked: high ones too, which clang gives only by that name. */
#if defined(__clang__)
#define ML_THUMB1_ANY "+h"
#else
#define ML_THUMB1_ANY "+r"
#endif

/* acc[j] += sum over i of a[i] * bj[i]. Compilers unroll this loop until its eight registers spill; it is shared by all
 * instances. */
static ML_NOINLINE ML_UNUSED void ml_dot_pair_s8_thumb1(
    int32_t acc[2], const int8_t *a, const int8_t *b0, const int8_t *b1, int32_t count)
{
    int32_t acc0 = acc[0];
    int32_t acc1 = acc[1];
    int32_t i = -count;
    int32_t value;
    int32_t product;
    a += count;
    b0 += count;
    b1 += count;
    if (count > 0) {
        __asm__(".syntax unified\n"
                "1:\n\t"
                "ldrsb %[value], [%[a], %[i]]\n\t"
                "ldrsb %[product], [%[b0], %[i]]\n\t"
                "muls %[product], %[value], %[product]\n\t"
                "add %[acc0], %[product]\n\t"
                "ldrsb %[product], [%[b1], %[i]]\n\t"
                "muls %[product], %[value], %[product]\n\t"
                "add %[acc1], %[product]\n\t"
                "adds %[i], #1\n\t"
                "bne 1b"
                : [acc0] ML_THUMB1_ANY(acc0), [acc1] ML_THUMB1_ANY(acc1), [i] "+l"(i), [value] "=&l"(value),
                [product] "=&l"(product)
                : [a] "l"(a), [b0] "l"(b0), [b1] "l"(b1)
                : "cc", "memory");
    }
    acc[0] = acc0;
    acc[1] = acc1;
}
#endif

/* acc[j] += sum over i of (a[i] - a_zero) * (bj[i] - bj_zero) for j = 0, 1: every a is loaded once for two products. */
ML_INLINE void ml_dot_pair_s8(int32_t acc[2], const int8_t *ML_RESTRICT a, int32_t a_zero,
    const int8_t *ML_RESTRICT b0, int32_t b0_zero, const int8_t *ML_RESTRICT b1, int32_t b1_zero, int32_t count)
{
    int32_t acc0;
    int32_t acc1;
#if ML_S8_DOT_THUMB1
    if (a_zero == 0 && b0_zero == 0 && b1_zero == 0) {
        ml_dot_pair_s8_thumb1(acc, a, b0, b1, count);
        return;
    }
#endif
    acc0 = acc[0];
    acc1 = acc[1];
    for (int32_t i = 0; i < count; ++i) {
        const int32_t value = a[i] - a_zero;
        acc0 += value * (b0[i] - b0_zero);
        acc1 += value * (b1[i] - b1_zero);
    }
    acc[0] = acc0;
    acc[1] = acc1;
}

#endif
