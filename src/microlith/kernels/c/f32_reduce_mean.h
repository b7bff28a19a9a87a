/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float mean over one axis. */
#ifndef ML_F32_REDUCE_MEAN_H
#define ML_F32_REDUCE_MEAN_H

#include "f32_block.h"

/* Sum of neighbours, as ML_F32_LANES sums that are added last: shorter chains of roundings. */
ML_INLINE float ml_f32_sum(const float *x, int32_t count)
{
    float sums[ML_F32_LANES] = {0.0f};
    float total = 0.0f;
    int32_t k = 0;
    for (; k + ML_F32_LANES <= count; k += ML_F32_LANES) {
        for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
            sums[lane] += x[k + lane];
        }
    }
    for (; k < count; ++k) {
        total += x[k];
    }
    for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
        total += sums[lane];
    }
    return total;
}

/* y[o, i] = clamp(mean over k of x[o, k, i]). */
ML_INLINE void f32_reduce_mean__portable(float *ML_RESTRICT y, const float *ML_RESTRICT x, int32_t outer,
    int32_t count, int32_t inner, int32_t clamped, float low, float high)
{
    const float share = 1.0f / (float)count;
    for (int32_t o = 0; o < outer; ++o, x += count * inner, y += inner) {
        for (int32_t i = 0; i < inner; ++i) {
            y[i] = inner == 1 ? ml_f32_sum(x, count) : 0.0f;
        }
        for (int32_t k = 0; inner != 1 && k < count; ++k) {
            for (int32_t i = 0; i < inner; ++i) {
                y[i] += x[k * inner + i];
            }
        }
        for (int32_t i = 0; i < inner; ++i) {
            y[i] = ml_f32_finish(y[i] * share, clamped, low, high);
        }
    }
}

#endif
