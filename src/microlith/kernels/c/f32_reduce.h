/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float reductions over one axis. */
#ifndef ML_F32_REDUCE_H
#define ML_F32_REDUCE_H

#include "f32_block.h"
#include "ml_root.h"
#include "ml_reduce.h"

/* What is added up of each element. */
ML_INLINE float ml_reduce_part(int32_t function, float value)
{
    if (function == ML_REDUCE_L1) {
        return value < 0.0f ? -value : value;
    }
    return function == ML_REDUCE_L2 || function == ML_REDUCE_SUM_SQUARE ? value * value : value;
}

/* Two elements become one. */
ML_INLINE float ml_reduce_join(int32_t function, float a, float b)
{
    if (function == ML_REDUCE_MAX) {
        return a > b ? a : b;
    }
    if (function == ML_REDUCE_MIN) {
        return a < b ? a : b;
    }
    return function == ML_REDUCE_PROD ? a * b : a + b;
}

ML_INLINE float ml_reduce_last(int32_t function, float value)
{
    if (function == ML_REDUCE_L2) {
        return ml_root(value);
    }
    return function == ML_REDUCE_LOG_SUM ? ml_ln(value) : value;
}

/* Elements that are neighbours, in ML_F32_LANES lanes that are joined last. */
ML_INLINE float ml_reduce_neighbours(int32_t function, const float *x, int32_t count)
{
    float lanes[ML_F32_LANES];
    float result = ml_reduce_part(function, x[0]);
    int32_t k = 1;
    if (count >= 2 * ML_F32_LANES) {
        for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
            lanes[lane] = ml_reduce_part(function, x[lane]);
        }
        for (k = ML_F32_LANES; k + ML_F32_LANES <= count; k += ML_F32_LANES) {
            for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
                lanes[lane] = ml_reduce_join(function, lanes[lane], ml_reduce_part(function, x[k + lane]));
            }
        }
        result = lanes[0];
        for (int32_t lane = 1; lane < ML_F32_LANES; ++lane) {
            result = ml_reduce_join(function, result, lanes[lane]);
        }
    }
    for (; k < count; ++k) {
        result = ml_reduce_join(function, result, ml_reduce_part(function, x[k]));
    }
    return result;
}

/* ln(sum of e^x), the greatest element taken out first. */
ML_INLINE float ml_log_sum_exp(const float *x, int32_t count, int32_t step)
{
    float greatest = x[0];
    float sum = 0.0f;
    for (int32_t k = 1; k < count; ++k) {
        greatest = x[k * step] > greatest ? x[k * step] : greatest;
    }
    if (!(greatest - greatest == 0.0f)) { /* infinite: differences would be NaN */
        return greatest;
    }
    for (int32_t k = 0; k < count; ++k) {
        sum += ml_exp(x[k * step] - greatest);
    }
    return ml_ln(sum) + greatest;
}

/* y[o, i] = clamp(function over k of x[o, k, i]). */
ML_INLINE void f32_reduce__portable(float *ML_RESTRICT y, const float *ML_RESTRICT x, int32_t function, int32_t outer,
    int32_t count, int32_t inner, int32_t clamped, float low, float high)
{
    for (int32_t o = 0; o < outer; ++o, x += count * inner, y += inner) {
        if (function == ML_REDUCE_LOG_SUM_EXP) {
            for (int32_t i = 0; i < inner; ++i) {
                y[i] = ml_log_sum_exp(x + i, count, inner);
            }
        } else if (inner == 1) {
            y[0] = ml_reduce_neighbours(function, x, count);
        } else {
            for (int32_t i = 0; i < inner; ++i) {
                y[i] = ml_reduce_part(function, x[i]);
            }
            for (int32_t k = 1; k < count; ++k) {
                const float *row = x + k * inner;
                for (int32_t i = 0; i < inner; ++i) {
                    y[i] = ml_reduce_join(function, y[i], ml_reduce_part(function, row[i]));
                }
            }
        }
        for (int32_t i = 0; i < inner; ++i) {
            y[i] = ml_f32_finish(ml_reduce_last(function, y[i]), clamped, low, high);
        }
    }
}

#endif
