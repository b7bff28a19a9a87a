/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float pooling over up to three spatial axes. */
#ifndef ML_F32_POOL_ND_H
#define ML_F32_POOL_ND_H

#include "f32_block.h"
#include "ml_root.h"
#include "ml_volume.h"

enum { ML_POOL_MAX, ML_POOL_AVERAGE, ML_POOL_LP };

/* |value|^p; p is 1, 2 or any other positive number. */
ML_INLINE float ml_pool_power(float value, int32_t p)
{
    const float size = value < 0.0f ? -value : value;
    if (p == 1) {
        return size;
    }
    if (p == 2) {
        return size * size;
    }
    return size > 0.0f ? ml_exp((float)p * ml_ln(size)) : 0.0f;
}

ML_INLINE float ml_pool_root(float sum, int32_t p)
{
    if (p == 1) {
        return sum;
    }
    if (p == 2) {
        return ml_root(sum);
    }
    return sum > 0.0f ? ml_exp(ml_ln(sum) / (float)p) : 0.0f;
}

/* Taps at an output place that lie in the input, or, with `reach`, in the input and its padding. */
ML_INLINE int32_t ml_pool_taps(const ml_axis *axis, int32_t place, int32_t reach, int32_t after)
{
    const int32_t low = reach ? -axis->pad : 0;
    const int32_t high = axis->size + (reach ? after : 0);
    int32_t count = 0;
    for (int32_t tap = 0; tap < axis->kernel; ++tap) {
        const int32_t at = place * axis->stride - axis->pad + tap * axis->dilation;
        count += at >= low && at < high;
    }
    return count;
}

/*
 * y[n, place, c] = the greatest element, the mean, or the p-norm of the taps inside the input.
 *
 * The mean counts padding where count_include_pad is not 0. Where indices is not null, it receives the place of the
 * greatest element in a tensor of batch x channels x depth x height x width, with height and width (and depth)
 * exchanged where column_major is not 0.
 */
ML_INLINE void f32_pool_nd__portable(float *ML_RESTRICT y, int64_t *ML_RESTRICT indices, const float *ML_RESTRICT x,
    int32_t function, int32_t p, int32_t batch, int32_t in_d, int32_t in_h, int32_t in_w, int32_t channels,
    int32_t out_d, int32_t out_h, int32_t out_w, int32_t kernel_d, int32_t kernel_h, int32_t kernel_w,
    int32_t stride_d, int32_t stride_h, int32_t stride_w, int32_t dilation_d, int32_t dilation_h, int32_t dilation_w,
    int32_t pad_d, int32_t pad_h, int32_t pad_w, int32_t after_d, int32_t after_h, int32_t after_w,
    int32_t count_include_pad, int32_t column_major, int32_t clamped, float low, float high)
{
    const ml_axis axes[3] = {{in_d, kernel_d, stride_d, dilation_d, pad_d},
        {in_h, kernel_h, stride_h, dilation_h, pad_h}, {in_w, kernel_w, stride_w, dilation_w, pad_w}};
    const int32_t volume = in_d * in_h * in_w;
    for (int32_t n = 0; n < batch; ++n, x += volume * channels) {
        for (int32_t at = 0; at < out_d * out_h * out_w; ++at, y += channels) {
            const int32_t place[3] = {at / (out_h * out_w), at / out_w % out_h, at % out_w};
            int32_t first = 1;
            int32_t counted = 1;
            for (int32_t c = 0; c < channels; ++c) {
                y[c] = 0.0f;
                if (indices) {
                    indices[c] = 0;
                }
            }
            for (int32_t tap = 0; tap < kernel_d * kernel_h * kernel_w; ++tap) {
                const int32_t d = ml_source(&axes[0], place[0], tap / (kernel_h * kernel_w), 0);
                const int32_t h = ml_source(&axes[1], place[1], tap / kernel_w % kernel_h, 0);
                const int32_t w = ml_source(&axes[2], place[2], tap % kernel_w, 0);
                const float *in = x + ((d * in_h + h) * in_w + w) * channels;
                const int32_t within = column_major ? (w * in_h + h) * in_d + d : (d * in_h + h) * in_w + w;
                if (d < 0 || h < 0 || w < 0) {
                    continue;
                }
                for (int32_t c = 0; c < channels; ++c) {
                    if (function == ML_POOL_MAX) {
                        const int32_t better = first || in[c] > y[c];
                        y[c] = better ? in[c] : y[c];
                        if (indices && better) {
                            indices[c] = (int64_t)(n * channels + c) * volume + within;
                        }
                    } else {
                        y[c] += function == ML_POOL_LP ? ml_pool_power(in[c], p) : in[c];
                    }
                }
                first = 0;
            }
            if (function == ML_POOL_AVERAGE) {
                counted = ml_pool_taps(&axes[0], place[0], count_include_pad, after_d) *
                    ml_pool_taps(&axes[1], place[1], count_include_pad, after_h) *
                    ml_pool_taps(&axes[2], place[2], count_include_pad, after_w);
            }
            for (int32_t c = 0; c < channels; ++c) {
                float value = function == ML_POOL_LP ? ml_pool_root(y[c], p) : y[c];
                value = function == ML_POOL_AVERAGE ? value / (float)ml_max(counted, 1) : value;
                y[c] = ml_f32_finish(value, clamped, low, high);
            }
            if (indices) {
                indices += channels;
            }
        }
    }
}

#endif
