/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 fully connected for cores without products of pairs: four outputs at a time, so that each value of x is loaded
 * once for them.
 *
 * Weights are O,K. The bias has had x_zero times the sum of each output's weights taken off.
 */
#ifndef ML_S8_FULLY_CONNECTED_SCALAR_H
#define ML_S8_FULLY_CONNECTED_SCALAR_H

#include "ml_scalar.h"

enum { ML_FULLY_CONNECTED_SCALAR_LANES = 4 };

/* acc[j] += sum over i of x[i] * rows[j][i]. */
static ML_NOINLINE void ml_fully_connected_scalar_multiply(int32_t acc[ML_FULLY_CONNECTED_SCALAR_LANES],
    const int8_t *x, const int8_t *const rows[ML_FULLY_CONNECTED_SCALAR_LANES], int32_t count)
{
    const int8_t *w0 = rows[0];
    const int8_t *w1 = rows[1];
    const int8_t *w2 = rows[2];
    const int8_t *w3 = rows[3];
    const int8_t *const end = x + count;
    const int8_t *const fours = x + (count & ~3);
    int32_t acc0 = acc[0];
    int32_t acc1 = acc[1];
    int32_t acc2 = acc[2];
    int32_t acc3 = acc[3];
    for (; x != fours; x += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4) {
        for (int32_t i = 0; i < 4; ++i) {
            const int32_t value = x[i];
            acc0 += value * w0[i];
            acc1 += value * w1[i];
            acc2 += value * w2[i];
            acc3 += value * w3[i];
            ML_SCALAR_FENCE();
        }
    }
    for (; x != end; ++x) {
        acc0 += *x * *w0++;
        acc1 += *x * *w1++;
        acc2 += *x * *w2++;
        acc3 += *x * *w3++;
    }
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
}

/* y[r, o] = requantize(bias[o] + sum over k of x[r, k] * weights[o, k]). Where fewer than four outputs are left, the
 * last stands for those that lack. */
ML_INLINE void s8_fully_connected__scalar_1x4(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, void *scratch, int32_t kind,
    const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift,
    int32_t per_channel, int32_t rows, int32_t depth, int32_t out_channels, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_scalar_output out = {y_zero, low, high};
    (void)scratch;
    for (int32_t row = 0; row < rows; ++row, x += depth, y += out_channels) {
        for (int32_t o = 0; o < out_channels; o += ML_FULLY_CONNECTED_SCALAR_LANES) {
            int32_t acc[ML_FULLY_CONNECTED_SCALAR_LANES];
            const int8_t *from[ML_FULLY_CONNECTED_SCALAR_LANES];
            const int32_t lanes = ml_min(out_channels - o, ML_FULLY_CONNECTED_SCALAR_LANES);
            for (int32_t lane = 0; lane < ML_FULLY_CONNECTED_SCALAR_LANES; ++lane) {
                const int32_t channel = o + ml_min(lane, lanes - 1);
                from[lane] = weights + channel * depth;
                acc[lane] = bias[channel];
            }
            ml_fully_connected_scalar_multiply(acc, x, from, depth);
            for (int32_t lane = 0; lane < lanes; ++lane) {
                const ml_scalar_scale one = ml_scalar_scale_of(how, o + lane, out);
                y[o + lane] = ml_scalar_requantize(acc[lane], &one, out);
            }
        }
    }
}

#endif
