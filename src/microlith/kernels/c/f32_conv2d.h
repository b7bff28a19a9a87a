/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float convolution: any groups, strides, dilations and padding. */
#ifndef ML_F32_CONV2D_H
#define ML_F32_CONV2D_H

#include "f32_block.h"
#include "ml_window.h"

/* The taps inside the input of `rows` neighbouring output columns, `at` being the first; all have the same taps. */
ML_INLINE void ml_f32_conv2d_taps(float acc[][ML_F32_LANES], const float *x, const float *w, const ml_window *window,
    const ml_place *at, int32_t depth, int32_t rows)
{
    const int32_t x_step = window->stride_w * window->channels;
    const int32_t begin = at->columns.begin;
    const int32_t taps = at->columns.end - begin;
    for (int32_t kh = at->rows.begin; kh < at->rows.end && taps > 0; ++kh) {
        const float *line = w + (kh * window->kernel_w + begin) * depth * ML_F32_LANES;
        const float *in = x + ml_tap_offset(at, window, kh, begin);
        if (window->dilation_w * window->channels == depth) { /* neighbouring taps are neighbours in memory */
            ml_f32_block(acc, in, x_step, line, ML_F32_LANES, taps * depth, rows, ML_F32_LANES);
            continue;
        }
        for (int32_t tap = 0; tap < taps; ++tap) {
            ml_f32_block(acc, in + tap * window->dilation_w * window->channels, x_step,
                line + tap * depth * ML_F32_LANES, ML_F32_LANES, depth, rows, ML_F32_LANES);
        }
    }
}

/* How many of the output columns from `column` on, at most `limit`, can be computed together: those of which no window
 * leaves the input, else one. */
ML_INLINE int32_t ml_f32_conv2d_columns(const ml_window *window, int32_t column, int32_t out_width, int32_t limit)
{
    const int32_t first = column * window->stride_w - window->pad_left;
    const int32_t last =
        first + (limit - 1) * window->stride_w + (window->kernel_w - 1) * window->dilation_w;
    const int32_t inside = !window->padded || (first >= 0 && last < window->width);
    return inside && column + limit <= out_width ? limit : 1;
}

/*
 * y[row, column, o] = clamp(bias[o] + sum over taps and channels of x * w).
 *
 * weights are [group][filters / 8, rounded up][KH][KW][channels / groups][8], filled up with zeros.
 */
ML_INLINE void f32_conv2d__portable(float *y, const float *x, const float *ML_RESTRICT weights,
    const float *ML_RESTRICT bias, int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height,
    int32_t width, int32_t channels, int32_t out_width, int32_t out_channels, int32_t groups, int32_t kernel_h,
    int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h, int32_t dilation_w, int32_t padded,
    int32_t pad_top, int32_t pad_left, int32_t clamped, float low, float high)
{
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    const int32_t depth = groups == 1 ? channels : channels / groups;
    const int32_t filters = groups == 1 ? out_channels : out_channels / groups;
    const int32_t block = kernel_h * kernel_w * depth * ML_F32_LANES;
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        float *line = y + ml_ring_row(row, y_ring) * out_width * out_channels;
        int32_t count;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; column += count) {
            const float *w = weights;
            ml_set_column(&at, &window, column);
            count = ml_f32_conv2d_columns(&window, column, out_width, ML_F32_ROWS);
            for (int32_t group = 0; group < groups; ++group) {
                for (int32_t filter = 0; filter < filters; filter += ML_F32_LANES, w += block) {
                    const int32_t o = group * filters + filter;
                    const float *in = x + group * depth;
                    float *out = line + column * out_channels + o;
                    float acc[ML_F32_ROWS][ML_F32_LANES];
                    if (count == 1) {
                        ml_f32_start(acc, bias + o, filters - filter, 1);
                        ml_f32_conv2d_taps(acc, in, w, &window, &at, depth, 1);
                        ml_f32_store(out, out_channels, acc, filters - filter, 1, clamped, low, high);
                    } else {
                        ml_f32_start(acc, bias + o, filters - filter, ML_F32_ROWS);
                        ml_f32_conv2d_taps(acc, in, w, &window, &at, depth, ML_F32_ROWS);
                        ml_f32_store(out, out_channels, acc, filters - filter, ML_F32_ROWS, clamped, low, high);
                    }
                }
            }
        }
    }
}

#endif
