/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 pooling over windows. */
#ifndef ML_S8_POOL2D_H
#define ML_S8_POOL2D_H

#include "ml_window.h"

/* y[row, column, c] = clamp(greatest x[., ., c] of the taps inside the input, low, high). */
ML_INLINE void s8_max_pool2d__portable(int8_t *y, const int8_t *x, int32_t row_begin,
    int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h,
    int32_t dilation_w, int32_t padded, int32_t pad_top, int32_t pad_left, int32_t low, int32_t high)
{
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    const int32_t step = dilation_w * channels;
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        int8_t *out = y + ml_ring_row(row, y_ring) * out_width * channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; ++column) {
            ml_set_column(&at, &window, column);
            for (int32_t channel = 0; channel < channels; ++channel) {
                int32_t greatest = INT8_MIN;
                for (int32_t kh = at.rows.begin; kh < at.rows.end; ++kh) {
                    int32_t in = ml_tap_offset(&at, &window, kh, at.columns.begin) + channel;
                    for (int32_t kw = at.columns.begin; kw < at.columns.end; ++kw, in += step) {
                        greatest = ml_max(greatest, x[in]);
                    }
                }
                *out++ = (int8_t)ml_clamp(greatest, low, high);
            }
        }
    }
}

/*
 * y[row, column, c] = requantize(sum of x[., ., c] - x_zero of the taps inside the input).
 *
 * Where kind is ML_DIVIDE, y is the mean of the integers themselves, ties away from zero, and x_zero is y_zero.
 * Else the requantization divides: its arrays are indexed by the number of values counted less 1, that of the taps
 * inside, or of all taps where count_include_pad is not 0.
 */
ML_INLINE void s8_average_pool2d__portable(int8_t *y, const int8_t *x, int32_t kind,
    const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift,
    int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width,
    int32_t channels, int32_t out_width, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w,
    int32_t dilation_h, int32_t dilation_w, int32_t padded, int32_t pad_top, int32_t pad_left,
    int32_t count_include_pad, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, 1);
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    const int32_t step = dilation_w * channels;
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        int8_t *out = y + ml_ring_row(row, y_ring) * out_width * channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; ++column) {
            ml_set_column(&at, &window, column);
            const int32_t inside = (at.rows.end - at.rows.begin) * (at.columns.end - at.columns.begin);
            const int32_t counted = count_include_pad ? kernel_h * kernel_w : ml_max(inside, 1);
            for (int32_t channel = 0; channel < channels; ++channel) {
                int32_t acc = -x_zero * inside;
                for (int32_t kh = at.rows.begin; kh < at.rows.end; ++kh) {
                    int32_t in = ml_tap_offset(&at, &window, kh, at.columns.begin) + channel;
                    for (int32_t kw = at.columns.begin; kw < at.columns.end; ++kw, in += step) {
                        acc += x[in];
                    }
                }
                *out++ = (int8_t)(kind == ML_DIVIDE
                        ? ml_clamp(ml_rounding_divide(acc + x_zero * counted, counted), low, high)
                        : ml_requantize(acc, how, counted - 1, y_zero, low, high));
            }
        }
    }
}

#endif
