/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 depthwise convolution with a 3x3 window and a column stride of 1 or 2, on SMLAD.
 *
 * Four channels at a time, rows of the input are widened to 16 bits and turned from channels-last into one line for each
 * channel, so that a word holds two neighbouring columns and one SMLAD does two taps. Padding is written into the lines
 * as x_zero (the bias has had x_zero times the sum of the weights taken off), so the inner loop checks no bound. Three
 * lines are kept, each input row is turned once; lines lie in the order of (row modulo 3), and the rows of weights
 * are rotated to match.
 *
 * lines: [column pair][row modulo 3][channel], one word each.
 * weights: for each channel and row of the window the bytes (w0, w1, w1, w2), which widen to (w0, w1) and (w1, w2).
 */
#ifndef ML_S8_DEPTHWISE_CONV2D_DSP_H
#define ML_S8_DEPTHWISE_CONV2D_DSP_H

#include "ml_dsp.h"

enum { ML_DEPTHWISE_DSP_LANES = 4, ML_DEPTHWISE_DSP_WORDS = 3 * ML_DEPTHWISE_DSP_LANES };

/* What one call shares between its groups of channels. */
typedef struct {
    uint32_t *lines;
    int32_t pairs; /* words of a line */
    int32_t height;
    int32_t width;
    int32_t channels;
    int32_t x_ring;
    int32_t pad_left;
    int32_t x_zero;
} ml_depthwise_dsp;

/* Four channels of two columns, as four words of column pairs. */
ML_INLINE void ml_depthwise_dsp_turn(uint32_t *to, uint32_t left, uint32_t right)
{
    const uint32_t left_even = ml_dsp_widen_even(left);
    const uint32_t left_odd = ml_dsp_widen_odd(left);
    const uint32_t right_even = ml_dsp_widen_even(right);
    const uint32_t right_odd = ml_dsp_widen_odd(right);
    to[0] = ml_dsp_pack_low(left_even, right_even);
    to[1] = ml_dsp_pack_low(left_odd, right_odd);
    to[2] = ml_dsp_pack_high(left_even, right_even);
    to[3] = ml_dsp_pack_high(left_odd, right_odd);
}

/* Write input row iy, or padding, into its line; x is the first of the four channels. */
ML_INLINE void ml_depthwise_dsp_line(const ml_depthwise_dsp *conv, const int8_t *x, int32_t iy)
{
    const uint32_t padding = ((uint32_t)conv->x_zero & 0xffu) * 0x01010101u;
    const int32_t inside = iy >= 0 && iy < conv->height;
    const int8_t *row = inside ? x + ml_ring_row(iy, conv->x_ring) * conv->width * conv->channels : x;
    uint32_t *to = conv->lines + (iy + 3) % 3 * ML_DEPTHWISE_DSP_LANES;
    int32_t ix = -conv->pad_left;
    const int32_t end = ix + 2 * conv->pairs;
    while (ix < end) {
        if (inside && ix >= 0 && ix + 1 < conv->width) {
            const int8_t *from = row + ix * conv->channels;
            for (; ix + 1 < conv->width && ix < end; ix += 2) {
                ml_depthwise_dsp_turn(to, ml_dsp_load(from), ml_dsp_load(from + conv->channels));
                from += 2 * conv->channels;
                to += ML_DEPTHWISE_DSP_WORDS;
            }
        } else {
            const int32_t left = inside && ix >= 0 && ix < conv->width;
            const int32_t right = inside && ix + 1 >= 0 && ix + 1 < conv->width;
            ml_depthwise_dsp_turn(to, left ? ml_dsp_load(row + ix * conv->channels) : padding,
                right ? ml_dsp_load(row + (ix + 1) * conv->channels) : padding);
            ix += 2;
            to += ML_DEPTHWISE_DSP_WORDS;
        }
    }
}

/* Widened weights of one channel by line: first[i] = (w0, w1), last[i] = (w1, w2). */
typedef struct {
    uint32_t first[3];
    uint32_t last[3];
} ml_depthwise_dsp_weights;

ML_INLINE int32_t ml_depthwise_dsp_single(const uint32_t *line, ml_depthwise_dsp_weights w, int32_t acc)
{
    for (int32_t i = 0; i < 3; ++i) {
        acc = ml_dsp_dot(line[i * ML_DEPTHWISE_DSP_LANES], w.first[i], acc);
        acc = ml_dsp_low_high(line[i * ML_DEPTHWISE_DSP_LANES + ML_DEPTHWISE_DSP_WORDS], w.last[i], acc);
    }
    return acc;
}

/* One output row of one channel; y advances by `channels`. */
ML_INLINE void ml_depthwise_dsp_row(int8_t *y, int32_t channels, const uint32_t *line, ml_depthwise_dsp_weights w,
    int32_t bias, int32_t stride, int32_t count, ml_dsp_scale scale, ml_dsp_output out)
{
    if (stride == 1) {
        for (; count >= 2; count -= 2) {
            int32_t acc0 = bias;
            int32_t acc1 = bias;
            for (int32_t i = 0; i < 3; ++i) {
                const uint32_t left = line[i * ML_DEPTHWISE_DSP_LANES];
                const uint32_t right = line[i * ML_DEPTHWISE_DSP_LANES + ML_DEPTHWISE_DSP_WORDS];
                acc0 = ml_dsp_dot(left, w.first[i], acc0);
                acc1 = ml_dsp_low_high(w.first[i], left, acc1);
                acc0 = ml_dsp_low_high(right, w.last[i], acc0);
                acc1 = ml_dsp_dot(right, w.last[i], acc1);
            }
            line += ML_DEPTHWISE_DSP_WORDS;
            y[0] = ml_dsp_requantize(acc0, scale, out);
            y[channels] = ml_dsp_requantize(acc1, scale, out);
            y += 2 * channels;
        }
    }
    for (; count > 0; --count) {
        *y = ml_dsp_requantize(ml_depthwise_dsp_single(line, w, bias), scale, out);
        line += ML_DEPTHWISE_DSP_WORDS;
        y += channels;
    }
}

/* Widened weights of a window whose first row lies in line `first`. */
ML_INLINE ml_depthwise_dsp_weights ml_depthwise_dsp_rotate(const int8_t *weights, int32_t first)
{
    ml_depthwise_dsp_weights w;
    for (int32_t i = 0; i < 3; ++i) {
        const int32_t row = i >= first ? i - first : i - first + 3;
        const uint32_t word = ml_dsp_load(weights + 4 * row);
        w.first[i] = ml_dsp_widen_even(word);
        w.last[i] = ml_dsp_widen_odd(word);
    }
    return w;
}

/* scratch: 48 bytes for each column pair. At least 4 channels; the last group of four may overlap the one before. */
ML_INLINE void s8_depthwise_conv2d__dsp_3x3(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind,
    const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift,
    int32_t per_channel, int32_t full_range, int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring,
    int32_t height, int32_t width, int32_t channels, int32_t out_width, int32_t stride_h, int32_t stride_w,
    int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_dsp_output out = {full_range, y_zero, low, high};
    const int32_t pairs = (stride_w == 1 ? (out_width + 1) / 2 : out_width) + 1;
    const ml_depthwise_dsp conv = {
        (uint32_t *)scratch, pairs, height, width, channels, x_ring, pad_left, x_zero};
    for (int32_t group = 0; group < channels; group += ML_DEPTHWISE_DSP_LANES) {
        const int32_t first = ml_min(group, channels - ML_DEPTHWISE_DSP_LANES);
        int32_t next = row_begin * stride_h - pad_top;
        for (int32_t oy = row_begin; oy < row_end; ++oy) {
            const int32_t top = oy * stride_h - pad_top;
            for (next = ml_max(next, top); next < top + 3; ++next) {
                ml_depthwise_dsp_line(&conv, x + first, next);
            }
            int8_t *row = y + ml_ring_row(oy, y_ring) * out_width * channels;
            for (int32_t c = first; c < first + ML_DEPTHWISE_DSP_LANES; ++c) {
                ml_depthwise_dsp_row(row + c, channels, conv.lines + (c - first),
                    ml_depthwise_dsp_rotate(weights + 12 * c, (top + 3) % 3), bias[c], stride_w, out_width,
                    ml_dsp_scale_of(how, c), out);
            }
        }
    }
}

#endif
