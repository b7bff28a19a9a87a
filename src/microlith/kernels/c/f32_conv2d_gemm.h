/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float convolution as a product of matrices: windows are laid out in a row each, a few at a time. */
#ifndef ML_F32_CONV2D_GEMM_H
#define ML_F32_CONV2D_GEMM_H

#include "f32_block.h"
#include "ml_window.h"

ML_INLINE float *ml_f32_copy(float *ML_RESTRICT to, const float *ML_RESTRICT from, int32_t count)
{
    for (int32_t i = 0; i < count; ++i) {
        to[i] = from[i];
    }
    return to + count;
}

ML_INLINE float *ml_f32_zeros(float *to, int32_t count)
{
    for (int32_t i = 0; i < count; ++i) {
        to[i] = 0.0f;
    }
    return to + count;
}

/* The values under one window, `depth` channels from x on, in the order of the weights; 0 outside the input. */
ML_INLINE void ml_f32_gather(
    float *to, const float *x, const ml_window *window, const ml_place *at, int32_t depth)
{
    const int32_t step = window->dilation_w * window->channels;
    for (int32_t kh = 0; kh < window->kernel_h; ++kh) {
        const int32_t inside = ml_row_inside(at, window, kh);
        const int32_t begin = inside ? at->columns.begin : 0;
        const int32_t end = inside ? at->columns.end : 0;
        const int32_t from = inside ? ml_tap_offset(at, window, kh, begin) : 0;
        to = ml_f32_zeros(to, begin * depth);
        if (step == depth) { /* neighbouring taps are neighbours in memory */
            to = ml_f32_copy(to, x + from, (end - begin) * depth);
        } else {
            for (int32_t tap = 0; tap < end - begin; ++tap) {
                to = ml_f32_copy(to, x + from + tap * step, depth);
            }
        }
        to = ml_f32_zeros(to, (window->kernel_w - end) * depth);
    }
}

/*
 * y[row, column, o] = clamp(bias[o] + sum over taps and channels of x * w).
 *
 * weights are [group][filters / 8, rounded up][KH][KW][channels / groups][8], filled up with zeros. scratch holds the
 * windows of one group of ML_F32_ROWS pixels; what is missing of them at the end is the last one again.
 */
ML_INLINE void f32_conv2d__gemm(float *y, const float *x, const float *ML_RESTRICT weights,
    const float *ML_RESTRICT bias, float *ML_RESTRICT scratch, int32_t row_begin, int32_t row_end, int32_t x_ring,
    int32_t y_ring, int32_t height, int32_t width, int32_t channels, int32_t out_width, int32_t out_channels,
    int32_t groups, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h,
    int32_t dilation_w, int32_t padded, int32_t pad_top, int32_t pad_left, int32_t clamped, float low, float high)
{
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    const int32_t depth = groups == 1 ? channels : channels / groups;
    const int32_t filters = groups == 1 ? out_channels : out_channels / groups;
    const int32_t size = kernel_h * kernel_w * depth;
    const int32_t end = row_end * out_width;
    for (int32_t first = row_begin * out_width; first < end; first += ML_F32_ROWS) {
        const float *w = weights;
        float *out[ML_F32_ROWS];
        for (int32_t group = 0; group < groups; ++group) {
            for (int32_t line = 0; line < ML_F32_ROWS; ++line) {
                const int32_t pixel = ml_min(first + line, end - 1);
                const int32_t row = pixel / out_width;
                ml_place at;
                ml_set_row(&at, &window, row);
                ml_set_column(&at, &window, pixel - row * out_width);
                ml_f32_gather(scratch + line * size, x + group * depth, &window, &at, depth);
                out[line] =
                    y + (ml_ring_row(row, y_ring) * out_width + pixel - row * out_width) * out_channels;
            }
            for (int32_t filter = 0; filter < filters; filter += ML_F32_LANES, w += size * ML_F32_LANES) {
                const int32_t o = group * filters + filter;
                float acc[ML_F32_ROWS][ML_F32_LANES];
                ml_f32_start(acc, bias + o, filters - filter, ML_F32_ROWS);
                ml_f32_block(acc, scratch, size, w, ML_F32_LANES, size, ML_F32_ROWS, ML_F32_LANES);
                for (int32_t line = 0; line < ML_F32_ROWS; ++line) {
                    ml_f32_store(out[line] + o, 0, acc + line, filters - filter, 1, clamped, low, high);
                }
            }
        }
    }
}

#endif
