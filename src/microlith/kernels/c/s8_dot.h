/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Inner products of int8 vectors, the portable way. */
#ifndef ML_S8_DOT_H
#define ML_S8_DOT_H

#include "ml_common.h"

#if ML_NARROW_MULTIPLY
/* A core with eight registers at hand needs all of them for this loop: it is not inlined, and shared. */
static ML_NOINLINE ML_UNUSED void ml_dot_pair_s8_plain(
    int32_t acc[2], const int8_t *a, const int8_t *b0, const int8_t *b1, int32_t count)
{
    int32_t acc0 = acc[0];
    int32_t acc1 = acc[1];
    for (int32_t i = 0; i < count; ++i) {
        const int32_t value = a[i];
        acc0 += value * b0[i];
        acc1 += value * b1[i];
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
#if ML_NARROW_MULTIPLY
    if (a_zero == 0 && b0_zero == 0 && b1_zero == 0) {
        ml_dot_pair_s8_plain(acc, a, b0, b1, count);
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
