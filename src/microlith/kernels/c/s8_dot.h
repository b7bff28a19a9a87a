/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Inner products of int8 vectors, the portable way. */
#ifndef ML_S8_DOT_H
#define ML_S8_DOT_H

#include "ml_common.h"

/* acc + sum of x[i] * (w[i] - w_zero). */
ML_INLINE int32_t ml_dot_s8(
    int32_t acc, const int8_t *ML_RESTRICT x, const int8_t *ML_RESTRICT w, int32_t count, int32_t w_zero)
{
    for (int32_t i = 0; i < count; ++i) {
        acc += x[i] * (w[i] - w_zero);
    }
    return acc;
}

/* sum of w[i] - w_zero. */
ML_INLINE int32_t ml_sum_s8(const int8_t *w, int32_t count, int32_t w_zero)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < count; ++i) {
        sum += w[i] - w_zero;
    }
    return sum;
}

#endif
