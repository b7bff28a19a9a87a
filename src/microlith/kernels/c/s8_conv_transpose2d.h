/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 transposed convolution: every output place gathers the products that fall on it. */
#ifndef ML_S8_CONV_TRANSPOSE2D_H
#define ML_S8_CONV_TRANSPOSE2D_H

#include "ml_volume.h"

/* sum of (x - x_zero) * (w - w_zero) over neighbouring channels. */
ML_INLINE int32_t ml_dot_centered(const int8_t *x, const int8_t *w, int32_t depth, int32_t x_zero, int32_t w_zero)
{
    int32_t acc = 0;
    for (int32_t k = 0; k < depth; ++k) {
        acc += (x[k] - x_zero) * (w[k] - w_zero);
    }
    return acc;
}

/*
 * y[n, h, w, o] = requantize(bias[o] + sum of (x - x_zero) * (w - w_zero) over the taps that meet an element).
 *
 * weights are [O][KH][KW][channels / groups]; weight_zero is null where all are 0.
 */
ML_INLINE void s8_conv_transpose2d__portable(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, const int32_t *ML_RESTRICT weight_zero,
    int32_t kind, const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier,
    const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t batch, int32_t in_h, int32_t in_w, int32_t channels,
    int32_t out_h, int32_t out_w, int32_t out_channels, int32_t groups, int32_t kernel_h, int32_t kernel_w,
    int32_t stride_h, int32_t stride_w, int32_t dilation_h, int32_t dilation_w, int32_t pad_h, int32_t pad_w,
    int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_axis rows = {in_h, kernel_h, stride_h, dilation_h, pad_h};
    const ml_axis columns = {in_w, kernel_w, stride_w, dilation_w, pad_w};
    const int32_t depth = channels / groups;
    const int32_t filters = out_channels / groups;
    for (int32_t n = 0; n < batch; ++n, x += in_h * in_w * channels) {
        for (int32_t at = 0; at < out_h * out_w; ++at) {
            for (int32_t o = 0; o < out_channels; ++o) {
                const int8_t *w = weights + o * kernel_h * kernel_w * depth;
                const int8_t *in = x + o / filters * depth;
                const int32_t w_zero = weight_zero ? weight_zero[o] : 0;
                int32_t acc = bias[o];
                for (int32_t kh = 0; kh < kernel_h; ++kh) {
                    const int32_t row = ml_source(&rows, at / out_w, kh, 1);
                    for (int32_t kw = 0; row >= 0 && kw < kernel_w; ++kw) {
                        const int32_t column = ml_source(&columns, at % out_w, kw, 1);
                        if (column >= 0) {
                            acc += ml_dot_centered(in + (row * in_w + column) * channels,
                                w + (kh * kernel_w + kw) * depth, depth, x_zero, w_zero);
                        }
                    }
                }
                *y++ = (int8_t)ml_requantize(acc, how, o, y_zero, low, high);
            }
        }
    }
}

#endif
