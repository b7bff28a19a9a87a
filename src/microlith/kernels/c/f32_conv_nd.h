/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float convolution and transposed convolution over up to three spatial axes, with weights in plain order. */
#ifndef ML_F32_CONV_ND_H
#define ML_F32_CONV_ND_H

#include "f32_block.h"
#include "ml_volume.h"

/* acc[0][lane] += all taps of one output place; rows is the distance of two taps in weights, in rows of w_step. */
ML_INLINE void ml_conv_nd_taps(float acc[][ML_F32_LANES], const float *x, const float *weights, const ml_axis axes[3],
    const int32_t place[3], int32_t channels, int32_t depth, int32_t rows, int32_t w_step, int32_t transposed,
    int32_t lanes)
{
    const int32_t tap_step = rows * w_step;
    for (int32_t kd = 0; kd < axes[0].kernel; ++kd) {
        const int32_t d = ml_source(&axes[0], place[0], kd, transposed);
        for (int32_t kh = 0; d >= 0 && kh < axes[1].kernel; ++kh) {
            const int32_t h = ml_source(&axes[1], place[1], kh, transposed);
            for (int32_t kw = 0; h >= 0 && kw < axes[2].kernel; ++kw) {
                const int32_t w = ml_source(&axes[2], place[2], kw, transposed);
                if (w >= 0) {
                    const int32_t tap = (kd * axes[1].kernel + kh) * axes[2].kernel + kw;
                    const float *in = x + ((d * axes[1].size + h) * axes[2].size + w) * channels;
                    ml_f32_block(acc, in, 0, weights + tap * tap_step, w_step, depth, 1, lanes);
                }
            }
        }
    }
}

/*
 * y[n, d, h, w, o] = clamp(bias[o] + sum over taps and channels of x * weights); bias may be null.
 *
 * weights are [KD][KH][KW][channels / groups][out_channels], transposed [KD][KH][KW][channels][out_channels / groups].
 */
ML_INLINE void f32_conv_nd__portable(float *ML_RESTRICT y, const float *ML_RESTRICT x,
    const float *ML_RESTRICT weights, const float *ML_RESTRICT bias, int32_t batch, int32_t in_d, int32_t in_h,
    int32_t in_w, int32_t channels, int32_t out_d, int32_t out_h, int32_t out_w, int32_t out_channels, int32_t groups,
    int32_t kernel_d, int32_t kernel_h, int32_t kernel_w, int32_t stride_d, int32_t stride_h, int32_t stride_w,
    int32_t dilation_d, int32_t dilation_h, int32_t dilation_w, int32_t pad_d, int32_t pad_h, int32_t pad_w,
    int32_t transposed, int32_t clamped, float low, float high)
{
    const ml_axis axes[3] = {{in_d, kernel_d, stride_d, dilation_d, pad_d},
        {in_h, kernel_h, stride_h, dilation_h, pad_h}, {in_w, kernel_w, stride_w, dilation_w, pad_w}};
    const int32_t depth = channels / groups;
    const int32_t filters = out_channels / groups;
    const int32_t rows = transposed ? channels : depth;
    const int32_t w_step = transposed ? filters : out_channels;
    const int32_t places = out_d * out_h * out_w;
    for (int32_t n = 0; n < batch; ++n, x += in_d * in_h * in_w * channels) {
        for (int32_t at = 0; at < places; ++at, y += out_channels) {
            const int32_t place[3] = {at / (out_h * out_w), at / out_w % out_h, at % out_w};
            for (int32_t group = 0; group < groups; ++group) {
                const float *in = x + group * depth;
                const float *w = weights + (transposed ? group * depth * w_step : group * filters);
                int32_t lanes;
                for (int32_t filter = 0; filter < filters; filter += lanes) {
                    const int32_t o = group * filters + filter;
                    const float *start = bias ? bias + o : bias;
                    float acc[1][ML_F32_LANES];
                    lanes = filters - filter >= ML_F32_LANES ? ML_F32_LANES : 1;
                    ml_f32_start(acc, start, lanes, 1);
                    if (lanes == 1) {
                        ml_conv_nd_taps(acc, in, w + filter, axes, place, channels, depth, rows, w_step, transposed, 1);
                    } else {
                        ml_conv_nd_taps(
                            acc, in, w + filter, axes, place, channels, depth, rows, w_step, transposed, ML_F32_LANES);
                    }
                    ml_f32_store(y + o, out_channels, acc, lanes, 1, clamped, low, high);
                }
            }
        }
    }
}

#endif
