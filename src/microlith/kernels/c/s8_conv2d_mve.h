/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * int8 convolution, one group, any window, on MVE: one pixel by four output channels at a time.
 *
 * The values under a window are gathered into `scratch`, x_zero where it leaves the input, in the order KH,KW,I; a
 * window of one tap is read where it lies. The other layouts are those of ml_mve.h.
 */
#ifndef ML_S8_CONV2D_MVE_H
#define ML_S8_CONV2D_MVE_H

#include "ml_mve.h"
#include "ml_window.h"

ML_INLINE int8_t *ml_mve_copy(int8_t *to, const int8_t *from, int32_t count)
{
    for (int32_t i = 0; i < count; i += ML_MVE_BYTES) {
        const mve_pred16_t valid = vctp8q((uint32_t)(count - i));
        vstrbq_p_s8(to + i, vldrbq_z_s8(from + i, valid), valid);
    }
    return to + count;
}

ML_INLINE int8_t *ml_mve_fill(int8_t *to, int32_t value, int32_t count)
{
    const int8x16_t values = vdupq_n_s8((int8_t)value);
    for (int32_t i = 0; i < count; i += ML_MVE_BYTES) {
        vstrbq_p_s8(to + i, values, vctp8q((uint32_t)(count - i)));
    }
    return to + count;
}

ML_INLINE void ml_conv_mve_gather(
    int8_t *to, const int8_t *x, const ml_window *window, const ml_place *at, int32_t x_zero)
{
    const int32_t channels = window->channels;
    const int32_t step = window->dilation_w * channels;
    for (int32_t kh = 0; kh < window->kernel_h; ++kh) {
        const int32_t inside = ml_row_inside(at, window, kh);
        const int32_t begin = inside ? at->columns.begin : 0;
        const int32_t end = inside ? at->columns.end : 0;
        const int8_t *from = inside ? x + ml_tap_offset(at, window, kh, begin) : x;
        to = ml_mve_fill(to, x_zero, begin * channels);
        if (step == channels) { /* neighbouring taps are neighbours in memory */
            to = ml_mve_copy(to, from, (end - begin) * channels);
        } else {
            for (int32_t tap = begin; tap < end; ++tap, from += step) {
                to = ml_mve_copy(to, from, channels);
            }
        }
        to = ml_mve_fill(to, x_zero, (window->kernel_w - end) * channels);
    }
}

/* `padded` is 0 where no window leaves the input; x_zero is then not read. */
ML_INLINE void s8_conv2d__mve_1x4(int8_t *y, const int8_t *x, const int8_t *ML_RESTRICT weights,
    const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind, const float *ML_RESTRICT scale,
    const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t pointwise,
    int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width,
    int32_t channels, int32_t out_width, int32_t out_channels, int32_t kernel_h, int32_t kernel_w, int32_t stride_h,
    int32_t stride_w, int32_t dilation_h, int32_t dilation_w, int32_t pad_top, int32_t pad_left, int32_t x_zero,
    int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_mve_output out = {y_zero, low, high};
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, !pointwise, pad_top, pad_left};
    const int32_t depth = pointwise ? channels : kernel_h * kernel_w * channels;
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        int8_t *to = y + ml_ring_row(row, y_ring) * out_width * out_channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; ++column, to += out_channels) {
            const int8_t *from = (const int8_t *)scratch;
            ml_set_column(&at, &window, column);
            if (pointwise) {
                from = x + ml_tap_offset(&at, &window, 0, 0);
            } else {
                ml_conv_mve_gather((int8_t *)scratch, x, &window, &at, x_zero);
            }
            ml_mve_row(to, from, weights, bias, depth, out_channels, how, out);
        }
    }
}

#endif
