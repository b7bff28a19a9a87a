/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 fully connected: 4 outputs at a time, on SMLAD.
 *
 * A row of x is widened to 16 bits once (`wide`). weights: 4 outputs interleaved by quads, padded with zeros to whole
 * quads and to a multiple of 4 outputs; the bias has had x_zero times the sum of each output's weights taken off.
 */
#ifndef ML_S8_FULLY_CONNECTED_DSP_H
#define ML_S8_FULLY_CONNECTED_DSP_H

#include "ml_dsp.h"

enum { ML_FULLY_CONNECTED_DSP_LANES = 4 };

/* Widen `depth` bytes; the bytes that fill the last quad are zero. */
ML_INLINE void ml_fully_connected_dsp_widen(uint32_t *wide, const int8_t *x, int32_t depth)
{
    for (; depth >= 4; depth -= 4) {
        const uint32_t word = ml_dsp_load(x);
        wide[0] = ml_dsp_widen_even(word);
        wide[1] = ml_dsp_widen_odd(word);
        x += 4;
        wide += 2;
    }
    if (depth > 0) {
        uint32_t word = 0;
        for (int32_t i = 0; i < depth; ++i) {
            word |= (uint32_t)(uint8_t)x[i] << (8 * i);
        }
        wide[0] = ml_dsp_widen_even(word);
        wide[1] = ml_dsp_widen_odd(word);
    }
}

/* One quad of one output. */
ML_INLINE int32_t ml_fully_connected_dsp_quad(const int8_t *weights, uint32_t even, uint32_t odd, int32_t acc)
{
    const uint32_t word = ml_dsp_load(weights);
    acc = ml_dsp_dot(even, ml_dsp_widen_even(word), acc);
    return ml_dsp_dot(odd, ml_dsp_widen_odd(word), acc);
}

/* scratch: 8 bytes for each quad of depth. */
ML_INLINE void s8_fully_connected__dsp_1x4(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind,
    const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift,
    int32_t per_channel, int32_t full_range, int32_t rows, int32_t depth, int32_t out_channels, int32_t y_zero,
    int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_dsp_output out = {full_range, y_zero, low, high};
    const int32_t quads = (depth + 3) >> 2;
    uint32_t *wide = (uint32_t *)scratch;
    for (int32_t row = 0; row < rows; ++row, x += depth, y += out_channels) {
        const int8_t *w = weights;
        ml_fully_connected_dsp_widen(wide, x, depth);
        for (int32_t o = 0; o < out_channels; o += ML_FULLY_CONNECTED_DSP_LANES) {
            const uint32_t *at = wide;
            int32_t acc[ML_FULLY_CONNECTED_DSP_LANES] = {0, 0, 0, 0};
            for (int32_t quad = quads; quad > 0; --quad, at += 2, w += 16) {
                for (int32_t lane = 0; lane < ML_FULLY_CONNECTED_DSP_LANES; ++lane) {
                    acc[lane] = ml_fully_connected_dsp_quad(w + 4 * lane, at[0], at[1], acc[lane]);
                }
            }
            for (int32_t lane = 0; lane < ML_FULLY_CONNECTED_DSP_LANES && o + lane < out_channels; ++lane) {
                y[o + lane] =
                    ml_dsp_requantize(acc[lane] + bias[o + lane], ml_dsp_scale_of(how, o + lane), out);
            }
        }
    }
}

#endif
