/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* More float functions of one variable: what f32_unary.h does not have. NaN gives NaN. */
#ifndef ML_F32_MATH_H
#define ML_F32_MATH_H

#include "ml_math.h"

enum {
    ML_MATH_ABS = 0,
    ML_MATH_NEGATE = 1,
    ML_MATH_SIGN = 2,
    ML_MATH_CEIL = 3,
    ML_MATH_FLOOR = 4,
    ML_MATH_ROUND = 5,
    ML_MATH_SQRT = 6,
    ML_MATH_RECIPROCAL = 7,
    ML_MATH_EXP = 8,
    ML_MATH_LOG = 9,
    ML_MATH_ERF = 10,
    ML_MATH_SIN = 11,
    ML_MATH_COS = 12,
    ML_MATH_TAN = 13,
    ML_MATH_ASIN = 14,
    ML_MATH_ACOS = 15,
    ML_MATH_ATAN = 16,
    ML_MATH_SINH = 17,
    ML_MATH_COSH = 18,
    ML_MATH_ASINH = 19,
    ML_MATH_ACOSH = 20,
    ML_MATH_ATANH = 21,
    ML_MATH_SOFTPLUS = 22,
    ML_MATH_SOFTSIGN = 23,
    ML_MATH_ELU = 24,              /* second * (x, first * (e^x - 1) below 0); Selu with second, too */
    ML_MATH_CELU = 25,             /* first * (e^(x / first) - 1) below 0 */
    ML_MATH_GELU = 26,
    ML_MATH_GELU_TANH = 27,
    ML_MATH_MISH = 28,
    ML_MATH_SWISH = 29,            /* x * sigmoid(first * x) */
    ML_MATH_THRESHOLDED_RELU = 30, /* 0 up to first */
    ML_MATH_SHRINK = 31            /* towards 0 by second, 0 within first of 0 */
};

/* tanh(softplus(x)), by e = e^x: tanh(ln(1 + e)) = e (e + 2) / (e (e + 2) + 2). */
ML_INLINE float ml_tanh_softplus(float x)
{
    const float e = ml_exp(x < 20.0f ? x : 20.0f);
    const float n = e * (e + 2.0f);
    return x < 20.0f ? n / (n + 2.0f) : 1.0f;
}

ML_INLINE float ml_softplus(float x)
{
    return (x > 0.0f ? x : 0.0f) + ml_log1p(ml_exp(-ml_magnitude(x)));
}

/* -infinity times 0 is 0 in a gate that closes. */
ML_INLINE float ml_gated(float x, float gate)
{
    return gate == 0.0f ? 0.0f : x * gate;
}

ML_INLINE float ml_f32_math_activation(float x, int32_t function, float first, float second)
{
    switch (function) {
    case ML_MATH_SOFTPLUS:
        return ml_softplus(x);
    case ML_MATH_SOFTSIGN:
        return ml_magnitude(x) <= ML_LARGEST ? x / (1.0f + ml_magnitude(x)) : x < 0.0f ? -1.0f : 1.0f;
    case ML_MATH_ELU:
        return second * (x < 0.0f ? first * ml_expm1(x) : x);
    case ML_MATH_CELU:
        return x < 0.0f ? first * ml_expm1(x / first) : x;
    case ML_MATH_GELU:
        return ml_gated(x, 0.5f * (1.0f + ml_erf(x * 0.707106781f)));
    case ML_MATH_GELU_TANH:
        return ml_gated(x, 0.5f * (1.0f + ml_tanh(x * (0.797884561f + 0.0356774081f * x * x))));
    case ML_MATH_MISH:
        return ml_gated(x, ml_tanh_softplus(x));
    case ML_MATH_SWISH:
        return ml_gated(x, ml_sigmoid(first * x));
    case ML_MATH_THRESHOLDED_RELU:
        return x > first ? x : 0.0f;
    default:
        return x > first ? x - second : x < -first ? x + second : 0.0f;
    }
}

ML_INLINE float ml_f32_math(float x, int32_t function, float first, float second)
{
    if (x != x) {
        return x;
    }
    switch (function) {
    case ML_MATH_ABS:
        return ml_magnitude(x);
    case ML_MATH_NEGATE:
        return -x;
    case ML_MATH_SIGN:
        return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f;
    case ML_MATH_CEIL:
        return ml_ceil_f32(x);
    case ML_MATH_FLOOR:
        return ml_floor_f32(x);
    case ML_MATH_ROUND:
        return ml_round_even(x);
    case ML_MATH_SQRT:
        return ml_root(x);
    case ML_MATH_RECIPROCAL:
        return 1.0f / x;
    case ML_MATH_EXP:
        return ml_exp(x);
    case ML_MATH_LOG:
        return ml_ln(x);
    case ML_MATH_ERF:
        return ml_erf(x);
    case ML_MATH_SIN:
        return ml_sin_turned(x, 0);
    case ML_MATH_COS:
        return ml_sin_turned(x, 1);
    case ML_MATH_TAN:
        return ml_tan(x);
    case ML_MATH_ASIN:
        return ml_asin(x);
    case ML_MATH_ACOS:
        return ml_acos(x);
    case ML_MATH_ATAN:
        return ml_atan(x);
    case ML_MATH_SINH:
        return ml_sinh(x);
    case ML_MATH_COSH:
        return ml_cosh(x);
    case ML_MATH_ASINH:
        return ml_asinh(x);
    case ML_MATH_ACOSH:
        return ml_acosh(x);
    case ML_MATH_ATANH:
        return ml_atanh(x);
    default:
        return ml_f32_math_activation(x, function, first, second);
    }
}

/* y[row, i] = function(x[row, i]); y may lie at or before x. */
ML_INLINE void f32_math__portable(float *y, const float *x, int32_t row_begin, int32_t row_end, int32_t x_ring,
    int32_t y_ring, int32_t row_elements, int32_t function, float first, float second)
{
    for (int32_t row = row_begin; row < row_end; ++row) {
        const float *in = x + ml_ring_row(row, x_ring) * row_elements;
        float *out = y + ml_ring_row(row, y_ring) * row_elements;
        for (int32_t i = 0; i < row_elements; ++i) {
            out[i] = ml_f32_math(in[i], function, first, second);
        }
    }
}

#endif
