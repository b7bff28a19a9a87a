/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 depthwise convolution with one filter a channel, any window, for cores without products of pairs: two channels of
 * four output pixels at a time.
 *
 * The addresses of the taps of four pixels are listed once (`taps`), and serve all channels; taps in the padding lie in
 * a row of x_zero. Weights are KH,KW,C. The bias has had x_zero times the sum of each channel's weights taken off.
 */
#ifndef ML_S8_DEPTHWISE_CONV2D_SCALAR_H
#define ML_S8_DEPTHWISE_CONV2D_SCALAR_H

#include "ml_pixels.h"
#include "ml_scalar.h"

/* Channel c, and the next one where lanes is 2, of four pixels. */
ML_INLINE void ml_depthwise_scalar_channels(const ml_pixel *at, const int8_t *const *taps, const int8_t *const *end,
    const int8_t *weights, const int32_t *bias, ml_requant how, ml_scalar_output out, int32_t c, int32_t channels,
    int32_t lanes)
{
    int32_t acc[2][ML_PIXELS];
    for (int32_t lane = 0; lane < lanes; ++lane) {
        for (int32_t j = 0; j < ML_PIXELS; ++j) {
            acc[lane][j] = bias[c + lane];
        }
    }
    weights += c;
    for (; taps != end; taps += ML_PIXELS, weights += channels) {
        for (int32_t j = 0; j < ML_PIXELS; ++j) {
            const int8_t *const tap = taps[j] + c;
            for (int32_t lane = 0; lane < lanes; ++lane) {
                acc[lane][j] += tap[lane] * weights[lane];
            }
        }
    }
    for (int32_t lane = 0; lane < lanes; ++lane) {
        const ml_scalar_scale one = ml_scalar_scale_of(how, c + lane, out);
        for (int32_t j = 0; j < ML_PIXELS; ++j) {
            at[j].to[c + lane] = ml_scalar_requantize(acc[lane][j], &one, out);
        }
    }
}

/* y = requantize(bias + sum over taps of x * w). scratch: four addresses for each tap, and `channels` bytes. Where
 * fewer than four pixels are left, the last stands for those that lack. */
ML_INLINE void s8_depthwise_conv2d__scalar_2x4(int8_t *y, const int8_t *x, const int8_t *ML_RESTRICT weights,
    const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind, const float *ML_RESTRICT scale,
    const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t row_begin,
    int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h,
    int32_t dilation_w, int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_scalar_output out = {y_zero, low, high};
    const int8_t **const taps = (const int8_t **)scratch;
    const int8_t **const end = taps + ML_PIXELS * kernel_h * kernel_w;
    const ml_pixels_window window = {x, (int8_t *)end, x_ring, height, width, channels, width * channels,
        (kernel_h - 1) * dilation_h, (kernel_w - 1) * dilation_w, dilation_h, dilation_w};
    ml_pixel at[ML_PIXELS];
    int32_t row = row_begin;
    int32_t column = 0;
    for (int32_t c = 0; c < channels; ++c) {
        window.zeros[c] = (int8_t)x_zero;
    }
    while (row < row_end) {
        int32_t c = 0;
        ml_pixels_next(
            at, &row, &column, row_end, out_width, stride_h, stride_w, pad_top, pad_left, y, y_ring, channels);
        ml_pixels_list(&window, taps, at);
        for (; c + 2 <= channels; c += 2) {
            ml_depthwise_scalar_channels(at, taps, end, weights, bias, how, out, c, channels, 2);
        }
        if (c < channels) {
            ml_depthwise_scalar_channels(at, taps, end, weights, bias, how, out, c, channels, 1);
        }
    }
}

#endif
