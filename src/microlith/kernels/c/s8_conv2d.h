/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 convolution: any groups, strides, dilations and padding. */
#ifndef ML_S8_CONV2D_H
#define ML_S8_CONV2D_H

#include "ml_window.h"
#include "s8_dot.h"

ML_INLINE int8_t *ml_s8_copy(int8_t *to, const int8_t *from, int32_t count)
{
    for (int32_t i = 0; i < count; ++i) {
        to[i] = from[i];
    }
    return to + count;
}

ML_INLINE int8_t *ml_s8_fill(int8_t *to, int32_t value, int32_t count)
{
    for (int32_t i = 0; i < count; ++i) {
        to[i] = (int8_t)value;
    }
    return to + count;
}

/* The values under one window, `depth` channels from x on, in the order of the weights; x_zero outside the input. */
ML_INLINE void ml_s8_gather(
    int8_t *to, const int8_t *x, const ml_window *window, const ml_place *at, int32_t depth, int32_t x_zero)
{
    const int32_t step = window->dilation_w * window->channels;
    for (int32_t kh = 0; kh < window->kernel_h; ++kh) {
        const int32_t inside = ml_row_inside(at, window, kh);
        const int32_t begin = inside ? at->columns.begin : 0;
        const int32_t end = inside ? at->columns.end : 0;
        const int32_t from = inside ? ml_tap_offset(at, window, kh, begin) : 0;
        to = ml_s8_fill(to, x_zero, begin * depth);
        if (step == depth) { /* neighbouring taps are neighbours in memory */
            to = ml_s8_copy(to, x + from, (end - begin) * depth);
        } else {
            for (int32_t tap = 0; tap < end - begin; ++tap) {
                to = ml_s8_copy(to, x + from + tap * step, depth);
            }
        }
        to = ml_s8_fill(to, x_zero, (window->kernel_w - end) * depth);
    }
}

/*
 * y[row, column, o] = requantize(bias[o] + sum over taps and channels of x * (w - weight_zero[o])).
 *
 * bias holds the layer's bias less x_zero * (sum of w - weight_zero), so that x needs no subtraction and padding holds
 * x_zero. weights are O,KH,KW,channels/groups. weight_zero may be null. padded is 0 where no window leaves the input;
 * x_zero is then not read. scratch holds two windows of one group; a window of one tap is read where it lies, and
 * scratch may be null. Two columns are computed at a time.
 */
ML_INLINE void s8_conv2d__portable(int8_t *y, const int8_t *x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, const int32_t *ML_RESTRICT weight_zero,
    int8_t *ML_RESTRICT scratch, int32_t kind, const float *ML_RESTRICT scale,
    const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t row_begin,
    int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t out_channels, int32_t groups, int32_t kernel_h, int32_t kernel_w, int32_t stride_h,
    int32_t stride_w, int32_t dilation_h, int32_t dilation_w, int32_t padded, int32_t pad_top, int32_t pad_left,
    int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    const int32_t depth = groups == 1 ? channels : channels / groups;
    const int32_t filters = groups == 1 ? out_channels : out_channels / groups;
    const int32_t size = kernel_h * kernel_w * depth;
    const int32_t in_place = !padded && kernel_h * kernel_w == 1;
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        int8_t *out = y + ml_ring_row(row, y_ring) * out_width * out_channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; column += 2, out += 2 * out_channels) {
            const int32_t pair = column + 1 < out_width;
            const int8_t *w = weights;
            for (int32_t group = 0; group < groups; ++group) {
                const int8_t *in = x + group * depth;
                const int8_t *first = scratch;
                const int8_t *second = scratch;
                ml_set_column(&at, &window, column);
                if (in_place) {
                    first = in + ml_tap_offset(&at, &window, 0, 0);
                    second = pair ? first + stride_w * channels : first;
                } else {
                    ml_s8_gather(scratch, in, &window, &at, depth, x_zero);
                    if (pair) {
                        ml_set_column(&at, &window, column + 1);
                        ml_s8_gather(scratch + size, in, &window, &at, depth, x_zero);
                        second = scratch + size;
                    }
                }
                for (int32_t o = group * filters; o < (group + 1) * filters; ++o, w += size) {
                    int32_t acc[2] = {bias[o], bias[o]};
                    ml_dot_pair_s8(acc, w, weight_zero ? weight_zero[o] : 0, first, 0, second, 0, size);
                    out[o] = (int8_t)ml_requantize(acc[0], how, o, y_zero, low, high);
                    if (pair) {
                        out[out_channels + o] = (int8_t)ml_requantize(acc[1], how, o, y_zero, low, high);
                    }
                }
            }
        }
    }
}

#endif
