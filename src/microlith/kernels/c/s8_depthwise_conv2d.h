/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 depthwise convolution with any number of filters a channel. */
#ifndef ML_S8_DEPTHWISE_CONV2D_H
#define ML_S8_DEPTHWISE_CONV2D_H

#include "ml_window.h"

enum { ML_S8_DEPTHWISE_LANES = 4 };

/* acc[lane] += x * (w[lane] - w_zero[lane]) for taps of which the first weight is w; x is x_zero for all of them. */
ML_INLINE void ml_s8_depthwise_outside(int32_t *acc, const int8_t *w, int32_t taps, int32_t out_channels,
    const int32_t *w_zero, int32_t lanes, int32_t x_zero)
{
    for (int32_t tap = 0; tap < taps; ++tap, w += out_channels) {
        for (int32_t lane = 0; lane < lanes; ++lane) {
            acc[lane] += x_zero * (w[lane] - (w_zero ? w_zero[lane] : 0));
        }
    }
}

/* `lanes` neighbouring outputs at one place: lanes channels, or one filter of one channel where lanes is 1. */
ML_INLINE void ml_s8_depthwise_lanes(int32_t *acc, const int8_t *x, const int8_t *w, const ml_window *window,
    const ml_place *at, int32_t out_channels, const int32_t *w_zero, int32_t lanes, int32_t x_zero)
{
    const ml_range columns = at->columns;
    const int32_t step = window->dilation_w * window->channels;
    int32_t in;
    for (int32_t kh = 0; kh < window->kernel_h; ++kh) {
        if (!ml_row_inside(at, window, kh)) {
            ml_s8_depthwise_outside(acc, w, window->kernel_w, out_channels, w_zero, lanes, x_zero);
            w += window->kernel_w * out_channels;
            continue;
        }
        ml_s8_depthwise_outside(acc, w, columns.begin, out_channels, w_zero, lanes, x_zero);
        w += columns.begin * out_channels;
        in = ml_tap_offset(at, window, kh, columns.begin);
        for (int32_t kw = columns.begin; kw < columns.end; ++kw, w += out_channels, in += step) {
            for (int32_t lane = 0; lane < lanes; ++lane) {
                acc[lane] += x[in + lane] * (w[lane] - (w_zero ? w_zero[lane] : 0));
            }
        }
        ml_s8_depthwise_outside(acc, w, window->kernel_w - columns.end, out_channels, w_zero, lanes, x_zero);
        w += (window->kernel_w - columns.end) * out_channels;
    }
}

/*
 * y[row, column, c * filters + f] = requantize(bias[.] + sum over taps of x[., ., c] * (w - weight_zero[.])).
 *
 * weights are KH,KW,channels*filters; bias, weight_zero, padded and x_zero as in s8_conv2d__portable. Neighbouring
 * channels are accumulated together where filters is 1.
 */
ML_INLINE void s8_depthwise_conv2d__portable(int8_t *y, const int8_t *x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, const int32_t *ML_RESTRICT weight_zero,
    int32_t kind, const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier,
    const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t row_begin, int32_t row_end, int32_t x_ring,
    int32_t y_ring, int32_t height, int32_t width, int32_t channels, int32_t out_width, int32_t filters,
    int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h, int32_t dilation_w,
    int32_t padded, int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    const int32_t out_channels = channels * filters;
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        int8_t *out = y + ml_ring_row(row, y_ring) * out_width * out_channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; ++column) {
            int32_t lanes;
            ml_set_column(&at, &window, column);
            for (int32_t o = 0; o < out_channels; o += lanes) {
                const int8_t *in = x + (filters == 1 ? o : o / filters);
                const int32_t *w_zero = weight_zero ? weight_zero + o : (const int32_t *)0;
                int32_t acc[ML_S8_DEPTHWISE_LANES];
                lanes = filters == 1 && out_channels - o >= ML_S8_DEPTHWISE_LANES ? ML_S8_DEPTHWISE_LANES : 1;
                for (int32_t lane = 0; lane < lanes; ++lane) {
                    acc[lane] = bias[o + lane];
                }
                if (lanes == 1) {
                    ml_s8_depthwise_lanes(acc, in, weights + o, &window, &at, out_channels, w_zero, 1, x_zero);
                } else {
                    ml_s8_depthwise_lanes(
                        acc, in, weights + o, &window, &at, out_channels, w_zero, ML_S8_DEPTHWISE_LANES, x_zero);
                }
                for (int32_t lane = 0; lane < lanes; ++lane) {
                    *out++ = (int8_t)ml_requantize(acc[lane], how, o + lane, y_zero, low, high);
                }
            }
        }
    }
}

#endif
