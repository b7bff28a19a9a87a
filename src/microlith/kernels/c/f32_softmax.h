/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float softmax over one axis. */
#ifndef ML_F32_SOFTMAX_H
#define ML_F32_SOFTMAX_H

#include "ml_float.h"

/* Over the middle axis of outer x count x inner: y = exp(x - max) / sum of them. y may be x. */
ML_INLINE void f32_softmax__portable(float *y, const float *x, int32_t outer, int32_t count, int32_t inner)
{
    for (int32_t lane = 0; lane < outer * inner; ++lane) {
        const int32_t start = inner == 1 ? lane * count : lane / inner * count * inner + lane % inner;
        float greatest = x[start];
        float sum = 0.0f;
        float share;
        for (int32_t k = 1; k < count; ++k) {
            const float value = x[start + k * inner];
            greatest = value > greatest ? value : greatest;
        }
        for (int32_t k = 0; k < count; ++k) {
            const float value = ml_exp(x[start + k * inner] - greatest);
            y[start + k * inner] = value;
            sum += value;
        }
        share = 1.0f / sum;
        for (int32_t k = 0; k < count; ++k) {
            y[start + k * inner] *= share;
        }
    }
}

#endif
