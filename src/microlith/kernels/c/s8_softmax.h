/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 softmax over one axis. */
#ifndef ML_S8_SOFTMAX_H
#define ML_S8_SOFTMAX_H

#include "ml_common.h"

enum { ML_SOFTMAX_BITS = 14 };

/*
 * Over the middle axis of outer x count x inner: e = table[max - x], y = requantize(round(e * 2^14 / sum of e)).
 *
 * table[d] is exp(-d * scale of x) in units of 2^-16, at most 65536; count below 65536 keeps every sum within 32 bits.
 */
ML_INLINE void s8_softmax__portable(int8_t *y, const int8_t *x,
    const int32_t *ML_RESTRICT table, int32_t kind, const float *ML_RESTRICT scale,
    const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift, int32_t outer, int32_t count,
    int32_t inner, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, 0);
    for (int32_t lane = 0; lane < outer * inner; ++lane) {
        const int32_t start = inner == 1 ? lane * count : lane / inner * count * inner + lane % inner;
        int32_t greatest = INT8_MIN;
        uint32_t sum = 0;
        for (int32_t k = 0; k < count; ++k) {
            greatest = ml_max(greatest, x[start + k * inner]);
        }
        for (int32_t k = 0; k < count; ++k) {
            sum += (uint32_t)table[greatest - x[start + k * inner]];
        }
        for (int32_t k = 0; k < count; ++k) {
            const uint32_t value = (uint32_t)table[greatest - x[start + k * inner]];
            const uint32_t share = ((value << ML_SOFTMAX_BITS) + sum / 2) / sum;
            y[start + k * inner] = (int8_t)ml_requantize((int32_t)share, how, 0, y_zero, low, high);
        }
    }
}

#endif
