/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float pooling over windows. */
#ifndef ML_F32_POOL2D_H
#define ML_F32_POOL2D_H

#include "f32_block.h"
#include "ml_window.h"

/* y[row, column, c] = clamp(greatest x[., ., c] of the taps inside the input); 0 for a window wholly outside it. */
ML_INLINE void f32_max_pool2d__portable(float *y, const float *x, int32_t row_begin,
    int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h,
    int32_t dilation_w, int32_t padded, int32_t pad_top, int32_t pad_left, int32_t clamped, float low, float high)
{
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        float *out = y + ml_ring_row(row, y_ring) * out_width * channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; ++column, out += channels) {
            int32_t first = 1;
            ml_set_column(&at, &window, column);
            for (int32_t kh = at.rows.begin; kh < at.rows.end; ++kh) {
                for (int32_t kw = at.columns.begin; kw < at.columns.end; ++kw, first = 0) {
                    const float *in = x + ml_tap_offset(&at, &window, kh, kw);
                    for (int32_t channel = 0; channel < channels; ++channel) {
                        const float value = in[channel];
                        out[channel] = first || value > out[channel] ? value : out[channel];
                    }
                }
            }
            for (int32_t channel = 0; channel < channels; ++channel) {
                out[channel] = ml_f32_finish(first ? 0.0f : out[channel], clamped, low, high);
            }
        }
    }
}

/* y[row, column, c] = clamp(mean of x[., ., c] of the taps inside the input), divided by the number of all taps where
 * count_include_pad is not 0. */
ML_INLINE void f32_average_pool2d__portable(float *y, const float *x, int32_t row_begin,
    int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h,
    int32_t dilation_w, int32_t padded, int32_t pad_top, int32_t pad_left, int32_t count_include_pad,
    int32_t clamped, float low, float high)
{
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        float *out = y + ml_ring_row(row, y_ring) * out_width * channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; ++column, out += channels) {
            ml_set_column(&at, &window, column);
            const int32_t inside = (at.rows.end - at.rows.begin) * (at.columns.end - at.columns.begin);
            const float share = 1.0f / (float)(count_include_pad ? kernel_h * kernel_w : ml_max(inside, 1));
            for (int32_t channel = 0; channel < channels; ++channel) {
                out[channel] = 0.0f;
            }
            for (int32_t kh = at.rows.begin; kh < at.rows.end; ++kh) {
                for (int32_t kw = at.columns.begin; kw < at.columns.end; ++kw) {
                    const float *in = x + ml_tap_offset(&at, &window, kh, kw);
                    for (int32_t channel = 0; channel < channels; ++channel) {
                        out[channel] += in[channel];
                    }
                }
            }
            for (int32_t channel = 0; channel < channels; ++channel) {
                out[channel] = ml_f32_finish(out[channel] * share, clamped, low, high);
            }
        }
    }
}

#endif
