/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * Functions of floats without a C library.
 *
 * Coefficients are weighted minimax fits made for this file. Relative errors against float64 stay below: ml_exp 2e-7
 * for |x| <= 87; ml_tanh 4e-7; ml_sigmoid 4e-7 for |x| <= 87. NaN has no defined result.
 */
#ifndef ML_FLOAT_H
#define ML_FLOAT_H

#include "ml_common.h"

/* 2^exponent for exponents in [-126, 127]. */
ML_INLINE float ml_power_of_two(int32_t exponent)
{
    union {
        uint32_t bits;
        float value;
    } power;
    power.bits = (uint32_t)(exponent + 127) << 23;
    return power.value;
}

/* e^x; 0 far below, infinity far above the range of floats. */
ML_INLINE float ml_exp(float x)
{
    const float log2_e = 1.44269504f;
    const float ln2_high = 0.693359375f; /* few bits, so that its multiples are exact */
    const float ln2_low = -2.12194440e-4f;
    const float bounded = ml_clamp_f32(x, -104.0f, 89.0f);
    const int32_t exponent = ml_round_small(bounded * log2_e);
    const float whole = (float)exponent;
    const float r = bounded - whole * ln2_high - whole * ln2_low;
    float p = 0.0013813143f;
    p = p * r + 0.0083694193f;
    p = p * r + 0.0416684568f;
    p = p * r + 0.1666651479f;
    p = p * r + 0.4999999305f;
    p = p * r * r + r + 1.0f;
    /* In two steps, because 2^exponent alone may not be a float where the result is one. */
    return p * ml_power_of_two(exponent >> 1) * ml_power_of_two(exponent - (exponent >> 1));
}

ML_INLINE float ml_sigmoid(float x)
{
    return 1.0f / (1.0f + ml_exp(-x));
}

ML_INLINE float ml_tanh(float x)
{
    const float size = x < 0.0f ? -x : x;
    const float square = x * x;
    const float rest = 1.0f - 2.0f / (ml_exp(2.0f * size) + 1.0f);
    float p = -0.0056669746f;
    p = p * square + 0.0206061749f;
    p = p * square - 0.0537300068f;
    p = p * square + 0.13331331f;
    p = p * square - 0.3333327806f;
    if (size < 0.625f) { /* the other form cancels near 0 */
        return x + x * square * p;
    }
    return x < 0.0f ? -rest : rest;
}

/*
 * Defines a kernel of one function of each element, float function(float x, float first, float second):
 * y[row, i] = function(x[row, i]); y may lie at or before x.
 */
#define ML_POINTWISE(name, function) \
    ML_INLINE void name(float *y, const float *x, int32_t row_begin, int32_t row_end, int32_t x_ring, \
        int32_t y_ring, int32_t row_elements, float first, float second) \
    { \
        for (int32_t row = row_begin; row < row_end; ++row) { \
            const float *in = x + ml_ring_row(row, x_ring) * row_elements; \
            float *out = y + ml_ring_row(row, y_ring) * row_elements; \
            for (int32_t i = 0; i < row_elements; ++i) { \
                out[i] = function(in[i], first, second); \
            } \
        } \
    }

#endif
