/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Integer convolution whose sums stay int32, and the quantization by the range of a tensor that comes before it. */
#ifndef ML_X8_CONV_INTEGER_H
#define ML_X8_CONV_INTEGER_H

#include "ml_volume.h"

/* Sum over `depth` of (x - x_zero) * (weights - weight_zero). x ^ flip is x as it is, or signed x plus 128. */
ML_INLINE int32_t ml_integer_dot(
    const uint8_t *x, const int8_t *weights, int32_t depth, uint32_t flip, int32_t x_zero, int32_t weight_zero)
{
    int32_t sum = 0;
    for (int32_t c = 0; c < depth; ++c) {
        sum += ((int32_t)(x[c] ^ flip) - x_zero) * (weights[c] - weight_zero);
    }
    return sum;
}

/*
 * y[n, d, h, w, o] = sum over taps and channels of (x - x_zero) * (weights - weight_zero[o]); what lies in the padding
 * adds nothing. x and the one x_zero are uint8 with a flip of 0, or int8 with a flip of 128; null stands for zero
 * points of 0. weights are [out_channels][KD][KH][KW][channels / groups].
 */
ML_INLINE void x8_conv_integer__portable(int32_t *ML_RESTRICT y, const uint8_t *ML_RESTRICT x,
    const uint8_t *ML_RESTRICT x_zero, const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT weight_zero,
    int32_t flip, int32_t batch, int32_t in_d, int32_t in_h, int32_t in_w, int32_t channels, int32_t out_d,
    int32_t out_h, int32_t out_w, int32_t out_channels, int32_t groups, int32_t kernel_d, int32_t kernel_h,
    int32_t kernel_w, int32_t stride_d, int32_t stride_h, int32_t stride_w, int32_t dilation_d, int32_t dilation_h,
    int32_t dilation_w, int32_t pad_d, int32_t pad_h, int32_t pad_w)
{
    const ml_axis axes[3] = {{in_d, kernel_d, stride_d, dilation_d, pad_d},
        {in_h, kernel_h, stride_h, dilation_h, pad_h}, {in_w, kernel_w, stride_w, dilation_w, pad_w}};
    const uint32_t bits = (uint32_t)flip;
    const int32_t zero = x_zero ? (int32_t)(*x_zero ^ bits) : flip;
    const int32_t depth = channels / groups;
    const int32_t filters = out_channels / groups;
    const int32_t places = out_d * out_h * out_w;
    for (int32_t n = 0; n < batch; ++n, x += in_d * in_h * in_w * channels) {
        for (int32_t at = 0; at < places; ++at) {
            const int32_t place[3] = {at / (out_h * out_w), at / out_w % out_h, at % out_w};
            for (int32_t o = 0; o < out_channels; ++o) {
                const int32_t w_zero = weight_zero ? weight_zero[o] : 0;
                const int8_t *w = weights + o * kernel_d * kernel_h * kernel_w * depth;
                int32_t sum = 0;
                for (int32_t kd = 0; kd < kernel_d; ++kd) {
                    const int32_t d = ml_source(&axes[0], place[0], kd, 0);
                    for (int32_t kh = 0; kh < kernel_h; ++kh) {
                        const int32_t h = ml_source(&axes[1], place[1], kh, 0);
                        for (int32_t kw = 0; kw < kernel_w; ++kw, w += depth) {
                            const int32_t column = ml_source(&axes[2], place[2], kw, 0);
                            if (d >= 0 && h >= 0 && column >= 0) {
                                const uint8_t *in = x + ((d * in_h + h) * in_w + column) * channels;
                                sum += ml_integer_dot(in + o / filters * depth, w, depth, bits, zero, w_zero);
                            }
                        }
                    }
                }
                *y++ = sum;
            }
        }
    }
}

/* scale = (greatest - least) / 255 of the elements and 0, or 1 where that is 0; zero = round(-least / scale);
 * y = clamp(round(x / scale) + zero, 0, 255). */
ML_INLINE void f32_dynamic_quantize_u8__portable(
    uint8_t *ML_RESTRICT y, float *ML_RESTRICT scale, uint8_t *ML_RESTRICT zero, const float *ML_RESTRICT x,
    int32_t count)
{
    float least = 0.0f;
    float greatest = 0.0f;
    for (int32_t i = 0; i < count; ++i) {
        least = x[i] < least ? x[i] : least;
        greatest = x[i] > greatest ? x[i] : greatest;
    }
    const float span = (greatest - least) / 255.0f;
    const float step = span > 0.0f ? span : 1.0f;
    const int32_t origin = ml_round_clamp(-least / step, 0, 0, 255);
    for (int32_t i = 0; i < count; ++i) {
        y[i] = (uint8_t)ml_round_clamp(x[i] / step, origin, 0, 255);
    }
    *scale = step;
    *zero = (uint8_t)origin;
}

#endif
