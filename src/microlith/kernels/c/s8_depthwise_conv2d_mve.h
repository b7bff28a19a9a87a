/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * int8 depthwise convolution, one filter a channel, any window, on MVE: four channels of one pixel at a time.
 *
 * weights are those of four channels for each tap, then those of the next four; they are padded with zeros to whole
 * fours. bias holds the layer's bias less x_zero * (sum of w), so that taps inside need no subtraction; a tap outside
 * adds x_zero * w. bias, and multiplier, shift and scale where they have an element a channel, are padded likewise.
 */
#ifndef ML_S8_DEPTHWISE_CONV2D_MVE_H
#define ML_S8_DEPTHWISE_CONV2D_MVE_H

#include "ml_mve.h"
#include "ml_window.h"

typedef struct {
    const int8_t *x;
    const ml_window *window;
    const ml_place *at;
    int32_t x_zero;
    int32_t inside; /* whether all taps lie inside, in rows that follow each other in memory */
} ml_depthwise_mve;

ML_INLINE int32x4_t ml_depthwise_mve_tap(
    int32x4_t acc, const int8_t *x, const int8_t *w, int32_t whole, mve_pred16_t valid)
{
    const int32x4_t values = whole ? vldrbq_s32(x) : vldrbq_z_s32(x, valid);
    return vaddq_s32(acc, vmulq_s32(values, vldrbq_s32(w)));
}

/* All taps of a window inside. */
ML_INLINE int32x4_t ml_depthwise_mve_inside(
    int32x4_t acc, const ml_depthwise_mve *op, const int8_t *w, int32_t o, int32_t whole, mve_pred16_t valid)
{
    const ml_window *window = op->window;
    const int32_t step = window->dilation_w * window->channels;
    const int32_t row_step = window->dilation_h * window->width * window->channels - window->kernel_w * step;
    const int8_t *from = op->x + ml_tap_offset(op->at, window, 0, 0) + o;
    for (int32_t kh = 0; kh < window->kernel_h; ++kh, from += row_step) {
        for (int32_t kw = 0; kw < window->kernel_w; ++kw, from += step, w += ML_MVE_LANES) {
            acc = ml_depthwise_mve_tap(acc, from, w, whole, valid);
        }
    }
    return acc;
}

ML_INLINE int32x4_t ml_depthwise_mve_outside(int32x4_t acc, const int8_t *w, int32_t taps, int32_t x_zero)
{
    for (; taps > 0; --taps, w += ML_MVE_LANES) {
        acc = vmlaq_n_s32(acc, vldrbq_s32(w), x_zero);
    }
    return acc;
}

/* Any window. */
ML_INLINE int32x4_t ml_depthwise_mve_border(
    int32x4_t acc, const ml_depthwise_mve *op, const int8_t *w, int32_t o, int32_t whole, mve_pred16_t valid)
{
    const ml_window *window = op->window;
    const int32_t step = window->dilation_w * window->channels;
    for (int32_t kh = 0; kh < window->kernel_h; ++kh) {
        const int32_t inside = ml_row_inside(op->at, window, kh);
        const int32_t begin = inside ? op->at->columns.begin : window->kernel_w;
        const int32_t end = inside ? op->at->columns.end : window->kernel_w;
        acc = ml_depthwise_mve_outside(acc, w, begin, op->x_zero);
        w += begin * ML_MVE_LANES;
        if (inside) {
            const int8_t *from = op->x + ml_tap_offset(op->at, window, kh, begin) + o;
            for (int32_t taps = end - begin; taps > 0; --taps, w += ML_MVE_LANES, from += step) {
                acc = ml_depthwise_mve_tap(acc, from, w, whole, valid);
            }
        }
        acc = ml_depthwise_mve_outside(acc, w, window->kernel_w - end, op->x_zero);
        w += (window->kernel_w - end) * ML_MVE_LANES;
    }
    return acc;
}

/* Whether the rows under the window at this place follow each other in memory, and all its taps lie inside. */
ML_INLINE int32_t ml_depthwise_mve_is_inside(const ml_place *at, const ml_window *window)
{
    const int32_t reach = (window->kernel_h - 1) * window->dilation_h;
    return at->rows.begin == 0 && at->rows.end == window->kernel_h && at->columns.begin == 0 &&
           at->columns.end == window->kernel_w &&
           (window->ring == 0 || ml_ring_row(at->top, window->ring) + reach < window->ring);
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
    ml_place at;
    (void)scratch;
    for (int32_t row = row_begin; row < row_end; ++row) {
        int8_t *to = y + ml_ring_row(row, y_ring) * out_width * channels;
        ml_set_row(&at, &window, row);
        for (int32_t column = 0; column < out_width; ++column, to += channels) {
            ml_set_column(&at, &window, column);
            const ml_depthwise_mve op = {x, &window, &at, x_zero, ml_depthwise_mve_is_inside(&at, &window)};
            const int8_t *w = weights;
            for (int32_t o = 0; o < channels; o += ML_MVE_LANES, w += kernel_h * kernel_w * ML_MVE_LANES) {
                const int32_t lanes = channels - o;
                const mve_pred16_t valid = vctp32q((uint32_t)lanes);
                int32x4_t acc = vldrwq_s32(bias + o);
                if (!op.inside) {
                    acc = ml_depthwise_mve_border(acc, &op, w, o, 0, valid);
                } else if (lanes >= ML_MVE_LANES) {
                    acc = ml_depthwise_mve_inside(acc, &op, w, o, 1, valid);
                } else {
                    acc = ml_depthwise_mve_inside(acc, &op, w, o, 0, valid);
                }
                ml_mve_store(to + o, ml_mve_requantize(acc, how, o, out), lanes);
            }
        }
    }
}

#endif
