/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float depthwise convolution with any number of filters a channel. */
#ifndef ML_F32_DEPTHWISE_CONV2D_H
#define ML_F32_DEPTHWISE_CONV2D_H

#include "f32_block.h"
#include "ml_window.h"

/* acc[lane] += sum over the taps inside the input; lanes is a constant. */
ML_INLINE void ml_f32_depthwise_lanes(float *acc, const float *x, const float *w, const ml_window *window,
    const ml_place *at, int32_t out_channels, int32_t lanes)
{
    for (int32_t kh = at->rows.begin; kh < at->rows.end; ++kh) {
        for (int32_t kw = at->columns.begin; kw < at->columns.end; ++kw) {
            const float *in = x + ml_tap_offset(at, window, kh, kw);
            const float *tap = w + (kh * window->kernel_w + kw) * out_channels;
            for (int32_t lane = 0; lane < lanes; ++lane) {
                acc[lane] += in[lane] * tap[lane];
            }
        }
    }
}

/*
 * y[row, column, c * filters + f] = clamp(bias[.] + sum over taps of x[., ., c] * w).
 *
 * weights are KH,KW,channels*filters. Neighbouring channels are summed together where filters is 1.
 */
ML_INLINE void f32_depthwise_conv2d__portable(float *y, const float *x,
    const float *ML_RESTRICT weights, const float *ML_RESTRICT bias, int32_t row_begin, int32_t row_end,
    int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels, int32_t out_width,
    int32_t filters, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h,
    int32_t dilation_w, int32_t padded, int32_t pad_top, int32_t pad_left, int32_t clamped, float low, float high)
{
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    const int32_t out_channels = channels * filters;
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        float *out = y + ml_ring_row(row, y_ring) * out_width * out_channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; ++column) {
            int32_t lanes;
            ml_set_column(&at, &window, column);
            for (int32_t o = 0; o < out_channels; o += lanes) {
                const float *in = x + (filters == 1 ? o : o / filters);
                float acc[ML_F32_LANES];
                lanes = filters == 1 && out_channels - o >= ML_F32_LANES ? ML_F32_LANES : 1;
                if (lanes == 1) {
                    acc[0] = bias[o];
                    ml_f32_depthwise_lanes(acc, in, weights + o, &window, &at, out_channels, 1);
                } else {
                    for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
                        acc[lane] = bias[o + lane];
                    }
                    ml_f32_depthwise_lanes(acc, in, weights + o, &window, &at, out_channels, ML_F32_LANES);
                }
                for (int32_t lane = 0; lane < lanes; ++lane) {
                    *out++ = ml_f32_finish(acc[lane], clamped, low, high);
                }
            }
        }
    }
}

#endif
