/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float logarithms of a softmax, and the greatest element as 1, over one axis. */
#ifndef ML_F32_SOFTMAX_FAMILY_H
#define ML_F32_SOFTMAX_FAMILY_H

#include "ml_root.h"

/* Over the middle axis of outer x count x inner: y = x - max - ln(sum of exp(x - max)). y may be x. */
ML_INLINE void f32_log_softmax__portable(float *y, const float *x, int32_t outer, int32_t count, int32_t inner)
{
    for (int32_t lane = 0; lane < outer * inner; ++lane) {
        const int32_t start = inner == 1 ? lane * count : lane / inner * count * inner + lane % inner;
        float greatest = x[start];
        float sum = 0.0f;
        float logarithm;
        for (int32_t k = 1; k < count; ++k) {
            const float value = x[start + k * inner];
            greatest = value > greatest ? value : greatest;
        }
        for (int32_t k = 0; k < count; ++k) {
            sum += ml_exp(x[start + k * inner] - greatest);
        }
        logarithm = ml_ln(sum);
        for (int32_t k = 0; k < count; ++k) {
            y[start + k * inner] = x[start + k * inner] - greatest - logarithm;
        }
    }
}

/* Over the middle axis of outer x count x inner: 1 for the first of the greatest elements, else 0. y may be x. */
ML_INLINE void f32_hardmax__portable(float *y, const float *x, int32_t outer, int32_t count, int32_t inner)
{
    for (int32_t lane = 0; lane < outer * inner; ++lane) {
        const int32_t start = inner == 1 ? lane * count : lane / inner * count * inner + lane % inner;
        int32_t best = 0;
        for (int32_t k = 1; k < count; ++k) {
            best = x[start + k * inner] > x[start + best * inner] ? k : best;
        }
        for (int32_t k = 0; k < count; ++k) {
            y[start + k * inner] = k == best ? 1.0f : 0.0f;
        }
    }
}

#endif
