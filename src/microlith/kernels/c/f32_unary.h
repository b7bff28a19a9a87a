/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float functions of one variable, and products and sums by channel. */
#ifndef ML_F32_UNARY_H
#define ML_F32_UNARY_H

#include "f32_block.h"
#include "ml_float.h"

enum {
    ML_FUNCTION_CLAMP = 0,        /* to [first, second] */
    ML_FUNCTION_LEAKY_RELU = 1,   /* first * x below 0 */
    ML_FUNCTION_SIGMOID = 2,
    ML_FUNCTION_TANH = 3,
    ML_FUNCTION_HARD_SIGMOID = 4, /* first * x + second within [0, 1] */
    ML_FUNCTION_HARD_SWISH = 5    /* x times the hard sigmoid of 1/6 and 1/2 */
};

ML_INLINE float ml_f32_function(float x, int32_t function, float first, float second)
{
    switch (function) {
    case ML_FUNCTION_CLAMP:
        return ml_clamp_f32(x, first, second);
    case ML_FUNCTION_LEAKY_RELU:
        return x < 0.0f ? first * x : x;
    case ML_FUNCTION_SIGMOID:
        return ml_sigmoid(x);
    case ML_FUNCTION_TANH:
        return ml_tanh(x);
    case ML_FUNCTION_HARD_SIGMOID:
        return ml_clamp_f32(first * x + second, 0.0f, 1.0f);
    default:
        return x * ml_clamp_f32(x * (1.0f / 6.0f) + 0.5f, 0.0f, 1.0f);
    }
}

/* y[row, i] = function(x[row, i]); y may lie at or before x. */
ML_INLINE void f32_unary__portable(float *y, const float *x, int32_t row_begin, int32_t row_end, int32_t x_ring,
    int32_t y_ring, int32_t row_elements, int32_t function, float first, float second)
{
    for (int32_t row = row_begin; row < row_end; ++row) {
        const float *in = x + ml_ring_row(row, x_ring) * row_elements;
        float *out = y + ml_ring_row(row, y_ring) * row_elements;
        for (int32_t i = 0; i < row_elements; ++i) {
            out[i] = ml_f32_function(in[i], function, first, second);
        }
    }
}

/* y[row, i] = clamp(x[row, i] * scale[c] + offset[c]), c = i % channels; y may lie at or before x. */
ML_INLINE void f32_affine__portable(float *y, const float *x, const float *ML_RESTRICT scale,
    const float *ML_RESTRICT offset, int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring,
    int32_t row_elements, int32_t channels, int32_t clamped, float low, float high)
{
    for (int32_t row = row_begin; row < row_end; ++row) {
        const float *in = x + ml_ring_row(row, x_ring) * row_elements;
        float *out = y + ml_ring_row(row, y_ring) * row_elements;
        for (int32_t i = 0; i < row_elements; i += channels) {
            for (int32_t channel = 0; channel < channels; ++channel) {
                out[i + channel] =
                    ml_f32_finish(in[i + channel] * scale[channel] + offset[channel], clamped, low, high);
            }
        }
    }
}

#endif
