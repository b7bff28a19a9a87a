/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float normalizations of lanes, and of channels by their neighbours. */
#ifndef ML_F32_NORMALIZE_H
#define ML_F32_NORMALIZE_H

#include "f32_block.h"
#include "ml_root.h"

enum { ML_SIZE_DEVIATION, ML_SIZE_ROOT_MEAN_SQUARE, ML_SIZE_L2, ML_SIZE_L1 };

/* Sum over a lane of x, of (x - shift)^2 or of |x|, as sums that are added last: shorter chains of roundings. */
ML_INLINE float ml_lane_sum(const float *x, int32_t count, int32_t step, float shift, int32_t power)
{
    float sums[ML_F32_LANES] = {0.0f};
    float total = 0.0f;
    for (int32_t k = 0; k < count; k += ML_F32_LANES) {
        const int32_t lanes = ml_min(count - k, ML_F32_LANES);
        for (int32_t lane = 0; lane < lanes; ++lane) {
            const float value = x[(k + lane) * step] - shift;
            if (power == 2) {
                sums[lane] += value * value;
            } else {
                sums[lane] += power == 1 && value < 0.0f ? -value : value;
            }
        }
    }
    for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
        total += sums[lane];
    }
    return total;
}

/*
 * y[o, k, i] = (x[o, k, i] - mean) / size * scale[c] + bias[c] over lanes along k.
 *
 * The size is sqrt(epsilon + mean of (x - mean)^2) + offset, the same with a mean of 0, or the L2 or L1 norm of the
 * lane, whose mean is 0; a lane of size 0 gives 0. c = (lane % groups) * per_group + k / span. scale, bias, mean and
 * inverse may be null; the last two receive the mean and one divided by the size of each lane.
 */
ML_INLINE void f32_normalize__portable(float *ML_RESTRICT y, float *ML_RESTRICT mean, float *ML_RESTRICT inverse,
    const float *ML_RESTRICT x, const float *ML_RESTRICT scale, const float *ML_RESTRICT bias, int32_t size,
    int32_t outer, int32_t count, int32_t inner, int32_t groups, int32_t per_group, int32_t span, float epsilon,
    float offset)
{
    for (int32_t lane = 0; lane < outer * inner; ++lane) {
        const int32_t start = inner == 1 ? lane * count : lane / inner * count * inner + lane % inner;
        const int32_t first = lane % groups * per_group;
        float shift = 0.0f;
        float share;
        if (size == ML_SIZE_DEVIATION) {
            shift = ml_lane_sum(x + start, count, inner, 0.0f, 0) / (float)count;
        }
        share = ml_lane_sum(x + start, count, inner, shift, size == ML_SIZE_L1 ? 1 : 2);
        if (size == ML_SIZE_DEVIATION || size == ML_SIZE_ROOT_MEAN_SQUARE) {
            share = ml_root(share / (float)count + epsilon) + offset;
        } else if (size == ML_SIZE_L2) {
            share = ml_root(share);
        }
        share = share == 0.0f ? 0.0f : 1.0f / share;
        for (int32_t k = 0; k < count; k += span) {
            const int32_t c = first + k / span;
            for (int32_t j = 0; j < span; ++j) {
                const int32_t at = start + (k + j) * inner;
                float value = (x[at] - shift) * share;
                value = scale ? value * scale[c] : value;
                y[at] = bias ? value + bias[c] : value;
            }
        }
        if (mean) {
            mean[lane] = shift;
        }
        if (inverse) {
            inverse[lane] = share;
        }
    }
}

/* y[p, c] = x[p, c] / (bias + share * sum of the squares of x[p, c - before] to x[p, c + after])^beta; bias > 0. */
ML_INLINE void f32_lrn__portable(float *ML_RESTRICT y, const float *ML_RESTRICT x, int32_t places, int32_t channels,
    int32_t before, int32_t after, float share, float beta, float bias)
{
    for (int32_t place = 0; place < places; ++place, x += channels, y += channels) {
        for (int32_t c = 0; c < channels; ++c) {
            const int32_t end = ml_min(c + after + 1, channels);
            float sum = 0.0f;
            for (int32_t k = ml_max(c - before, 0); k < end; ++k) {
                sum += x[k] * x[k];
            }
            y[c] = x[c] * ml_exp(-beta * ml_ln(bias + share * sum));
        }
    }
}

#endif
