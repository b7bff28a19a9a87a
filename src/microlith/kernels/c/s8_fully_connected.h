/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 fully connected layer. */
#ifndef ML_S8_FULLY_CONNECTED_H
#define ML_S8_FULLY_CONNECTED_H

#include "s8_dot.h"

/*
 * y[r, o] = requantize(bias[o] + sum over k of x[r, k] * (weights[o, k] - weight_zero[o])).
 *
 * bias holds the layer's bias less x_zero * (sum of w - weight_zero). weight_zero may be null.
 */
ML_INLINE void s8_fully_connected__portable(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, const int32_t *ML_RESTRICT weight_zero,
    int32_t kind, const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier,
    const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t rows, int32_t depth, int32_t out_channels,
    int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    for (int32_t row = 0; row < rows; ++row, x += depth) {
        for (int32_t o = 0; o < out_channels; o += 2) {
            const int32_t next = ml_min(o + 1, out_channels - 1); /* o itself where it is the last */
            int32_t acc[2] = {bias[o], bias[next]};
            ml_dot_pair_s8(acc, x, 0, weights + o * depth, weight_zero ? weight_zero[o] : 0, weights + next * depth,
                weight_zero ? weight_zero[next] : 0, depth);
            *y++ = (int8_t)ml_requantize(acc[0], how, o, y_zero, low, high);
            if (next > o) {
                *y++ = (int8_t)ml_requantize(acc[1], how, next, y_zero, low, high);
            }
        }
    }
}

#endif
