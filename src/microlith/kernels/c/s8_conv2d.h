/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 convolution: any groups, strides, dilations and padding. */
#ifndef ML_S8_CONV2D_H
#define ML_S8_CONV2D_H

#include "ml_window.h"
#include "s8_dot.h"

/* Taps of one row of a filter that lie inside the input; x and w are at the first of them. */
ML_INLINE int32_t ml_s8_conv2d_inside(
    int32_t acc, const int8_t *x, const int8_t *w, int32_t taps, int32_t depth, int32_t step, int32_t w_zero)
{
    if (step == depth) { /* neighbouring taps are neighbours in memory */
        return ml_dot_s8(acc, x, w, taps * depth, w_zero);
    }
    for (int32_t tap = 0; tap < taps; ++tap) {
        acc = ml_dot_s8(acc, x + tap * step, w + tap * depth, depth, w_zero);
    }
    return acc;
}

/* One filter at one place: acc + sum of x * (w - w_zero), where x outside the input is x_zero. */
ML_INLINE int32_t ml_s8_conv2d_filter(int32_t acc, const int8_t *x, const int8_t *w, const ml_window *window,
    const ml_place *at, int32_t depth, int32_t w_zero, int32_t x_zero)
{
    const ml_range columns = at->columns;
    const int32_t step = window->dilation_w * window->channels;
    for (int32_t kh = 0; kh < window->kernel_h; ++kh, w += window->kernel_w * depth) {
        if (!ml_row_inside(at, window, kh)) {
            acc += x_zero * ml_sum_s8(w, window->kernel_w * depth, w_zero);
            continue;
        }
        if (columns.begin < columns.end) {
            acc = ml_s8_conv2d_inside(acc, x + ml_tap_offset(at, window, kh, columns.begin),
                w + columns.begin * depth, columns.end - columns.begin, depth, step, w_zero);
        }
        if (window->padded && columns.end - columns.begin < window->kernel_w) {
            acc += x_zero * ml_sum_s8(w, columns.begin * depth, w_zero);
            acc += x_zero * ml_sum_s8(w + columns.end * depth, (window->kernel_w - columns.end) * depth, w_zero);
        }
    }
    return acc;
}

/*
 * y[row, column, o] = requantize(bias[o] + sum over taps and channels of x * (w - weight_zero[o])).
 *
 * bias holds the layer's bias less x_zero * (sum of w - weight_zero), so that x needs no subtraction; a tap in the
 * padding adds x_zero * (w - weight_zero), which makes its contribution 0. weights are O,KH,KW,channels/groups.
 * weight_zero may be null. padded is 0 where no window leaves the input; x_zero is then not read.
 */
ML_INLINE void s8_conv2d__portable(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, const int32_t *ML_RESTRICT weight_zero,
    int32_t kind, const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier,
    const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t row_begin, int32_t row_end, int32_t x_ring,
    int32_t y_ring, int32_t height, int32_t width, int32_t channels, int32_t out_width, int32_t out_channels,
    int32_t groups, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h,
    int32_t dilation_w, int32_t padded, int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low,
    int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    const int32_t depth = groups == 1 ? channels : channels / groups;
    const int32_t filters = groups == 1 ? out_channels : out_channels / groups;
    const int32_t filter_size = kernel_h * kernel_w * depth;
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        int8_t *out = y + ml_ring_row(row, y_ring) * out_width * out_channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; ++column) {
            const int8_t *w = weights;
            int32_t o = 0;
            ml_set_column(&at, &window, column);
            for (int32_t group = 0; group < groups; ++group) {
                for (int32_t filter = 0; filter < filters; ++filter, ++o, w += filter_size) {
                    const int32_t acc = ml_s8_conv2d_filter(bias[o], x + group * depth, w, &window, &at, depth,
                        weight_zero ? weight_zero[o] : 0, x_zero);
                    *out++ = (int8_t)ml_requantize(acc, how, o, y_zero, low, high);
                }
            }
        }
    }
}

#endif
