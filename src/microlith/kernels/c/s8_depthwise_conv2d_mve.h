/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * int8 depthwise convolution, one filter a channel, any window, on MVE: four channels of one pixel at a time.
 *
 * weights are KH,KW,channels; bias holds the layer's bias less x_zero * (sum of w), so that taps inside need no
 * subtraction; a tap outside adds x_zero * w. bias, and multiplier, shift and scale where they have an element a
 * channel, are padded to whole fours.
 */
#ifndef ML_S8_DEPTHWISE_CONV2D_MVE_H
#define ML_S8_DEPTHWISE_CONV2D_MVE_H

#include "ml_mve.h"
#include "ml_window.h"

typedef struct {
    const int8_t *x;
    const int8_t *weights;
    const ml_window *window;
    const ml_place *at;
    int32_t x_zero;
} ml_depthwise_mve;

ML_INLINE int32x4_t ml_depthwise_mve_outside(
    int32x4_t acc, const int8_t *w, int32_t taps, int32_t channels, int32_t x_zero, mve_pred16_t valid)
{
    for (; taps > 0; --taps, w += channels) {
        acc = vmlaq_n_s32(acc, vldrbq_z_s32(w, valid), x_zero);
    }
    return acc;
}

/* Taps of four channels from `o` on, of which those in `valid` exist; all of them where `whole`. */
ML_INLINE int32x4_t ml_depthwise_mve_taps(
    int32x4_t acc, const ml_depthwise_mve *op, int32_t o, int32_t whole, mve_pred16_t valid)
{
    const ml_window *window = op->window;
    const int32_t channels = window->channels;
    const int32_t step = window->dilation_w * channels;
    const int8_t *w = op->weights + o;
    for (int32_t kh = 0; kh < window->kernel_h; ++kh) {
        const int32_t inside = ml_row_inside(op->at, window, kh);
        const int32_t begin = inside ? op->at->columns.begin : window->kernel_w;
        const int32_t end = inside ? op->at->columns.end : window->kernel_w;
        acc = ml_depthwise_mve_outside(acc, w, begin, channels, op->x_zero, valid);
        w += begin * channels;
        if (inside) {
            const int8_t *from = op->x + ml_tap_offset(op->at, window, kh, begin) + o;
            for (int32_t taps = end - begin; taps > 0; --taps, w += channels, from += step) {
                if (whole) {
                    acc = vaddq_s32(acc, vmulq_s32(vldrbq_s32(from), vldrbq_s32(w)));
                } else {
                    acc = vaddq_s32(acc, vmulq_s32(vldrbq_z_s32(from, valid), vldrbq_z_s32(w, valid)));
                }
            }
        }
        acc = ml_depthwise_mve_outside(acc, w, window->kernel_w - end, channels, op->x_zero, valid);
        w += (window->kernel_w - end) * channels;
    }
    return acc;
}

ML_INLINE void s8_depthwise_conv2d__mve_1x4(int8_t *y, const int8_t *x, const int8_t *ML_RESTRICT weights,
    const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind, const float *ML_RESTRICT scale,
    const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t row_begin,
    int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h,
    int32_t dilation_w, int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_mve_output out = {y_zero, low, high};
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, 1, pad_top, pad_left};
    const mve_pred16_t all = vctp32q(ML_MVE_LANES);
    ml_place at;
    const ml_depthwise_mve op = {x, weights, &window, &at, x_zero};
    (void)scratch;
    for (int32_t row = row_begin; row < row_end; ++row) {
        int8_t *to = y + ml_ring_row(row, y_ring) * out_width * channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; ++column, to += channels) {
            int32_t o = 0;
            ml_set_column(&at, &window, column);
            for (; o + ML_MVE_LANES <= channels; o += ML_MVE_LANES) {
                const int32x4_t acc = ml_depthwise_mve_taps(vldrwq_s32(bias + o), &op, o, 1, all);
                ml_mve_store(to + o, ml_mve_requantize(acc, how, o, out), ML_MVE_LANES);
            }
            if (o < channels) {
                const mve_pred16_t valid = vctp32q((uint32_t)(channels - o));
                const int32x4_t acc = ml_depthwise_mve_taps(vldrwq_s32(bias + o), &op, o, 0, valid);
                ml_mve_store(to + o, ml_mve_requantize(acc, how, o, out), channels - o);
            }
        }
    }
}

#endif
