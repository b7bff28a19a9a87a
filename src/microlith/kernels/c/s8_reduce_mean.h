/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 mean over one axis. */
#ifndef ML_S8_REDUCE_MEAN_H
#define ML_S8_REDUCE_MEAN_H

#include "ml_common.h"

/* y[o, i] = requantize(sum over k of x[o, k, i] - x_zero); the requantization divides by count. Of every `channels`
 * results ML_FIXED rounds ties of the first `up` towards plus infinity, and of the others away from zero. */
ML_INLINE void s8_reduce_mean__portable(int8_t *y, const int8_t *x, int32_t kind,
    const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift,
    int32_t outer, int32_t count, int32_t inner, int32_t channels, int32_t up, int32_t x_zero, int32_t y_zero,
    int32_t low, int32_t high)
{
    int32_t channel = 0;
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, 0);
    for (int32_t o = 0; o < outer; ++o, x += count * inner) {
        for (int32_t i = 0; i < inner; ++i) {
            int32_t acc = -x_zero * count;
            for (int32_t k = 0; k < count; ++k) {
                acc += x[k * inner + i];
            }
            *y++ = (int8_t)(channel < up ? ml_requantize(acc, how, 0, y_zero, low, high)
                                         : ml_requantize_away(acc, how, y_zero, low, high));
            channel = channel + 1 == channels ? 0 : channel + 1;
        }
    }
}

#endif
