/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 softmax over one axis, with exponentials and their sum in float. */
#ifndef ML_S8_SOFTMAX_FLOAT_H
#define ML_S8_SOFTMAX_FLOAT_H

#include "ml_common.h"

/*
 * Over the middle axis of outer x count x inner: e = table[max - x], y = round(e * (1 / (sum of e * scale of y))).
 *
 * table[d] is exp(-d * scale of x). The sum is formed in the order of the elements, every operation rounded to float.
 */
ML_INLINE void s8_softmax_float__portable(int8_t *y, const int8_t *x,
    const float *ML_RESTRICT table, int32_t outer, int32_t count, int32_t inner, float y_scale, int32_t y_zero,
    int32_t low, int32_t high)
{
    ML_NO_CONTRACTION
    for (int32_t lane = 0; lane < outer * inner; ++lane) {
        const int32_t start = inner == 1 ? lane * count : lane / inner * count * inner + lane % inner;
        int32_t greatest = INT8_MIN;
        float sum = 0.0f;
        for (int32_t k = 0; k < count; ++k) {
            greatest = ml_max(greatest, x[start + k * inner]);
        }
        for (int32_t k = 0; k < count; ++k) {
            sum += table[greatest - x[start + k * inner]];
        }
        const float inverse = 1.0f / ml_rounded(sum * y_scale);
        for (int32_t k = 0; k < count; ++k) {
            const float share = ml_rounded(table[greatest - x[start + k * inner]] * inverse);
            y[start + k * inner] = (int8_t)ml_round_clamp(share, y_zero, low, high);
        }
    }
}

#endif
