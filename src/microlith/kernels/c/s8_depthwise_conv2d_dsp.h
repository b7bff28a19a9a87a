/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 depthwise convolution with a 3x3 window and a column stride of 1 or 2, on SMLAD.
 *
 * Four channels at a time, rows of the input are widened to 16 bits and turned from channels-last into one line a
 * channel, so that a word holds two neighbouring columns and one SMLAD does two taps. Padding is written into the lines
 * as x_zero (the bias has had x_zero times the sum of the weights taken off), so the inner loop checks no bound. The
 * lines of a block of output rows are made at once; those that the next block needs too are moved, so each input row is
 * turned once.
 *
 * lines: [column pair][row of the block][channel], one word each.
 */
#ifndef ML_S8_DEPTHWISE_CONV2D_DSP_H
#define ML_S8_DEPTHWISE_CONV2D_DSP_H

#include "s8_depthwise_conv2d_dsp_loops.h"

enum { ML_DEPTHWISE_DSP_TAPS = 9 };

/* Move the last `kept` of `rows` rows of lines to the front. */
ML_INLINE void ml_depthwise_dsp_keep(const ml_depthwise_dsp *conv, int32_t rows, int32_t kept)
{
    uint32_t *to = conv->lines;
    for (int32_t pair = 0; pair < conv->pairs; ++pair, to += conv->step) {
        const uint32_t *from = to + (rows - kept) * ML_DEPTHWISE_DSP_LANES;
        for (int32_t i = 0; i < kept * ML_DEPTHWISE_DSP_LANES; ++i) {
            to[i] = from[i];
        }
    }
}

ML_INLINE ml_depthwise_dsp_weights ml_depthwise_dsp_widen(const int8_t *weights, int32_t twice)
{
    ml_depthwise_dsp_weights w;
    for (int32_t i = 0; i < 2; ++i) {
        const uint32_t word = ml_dsp_load(weights + 3 * i); /* w0 w1 w2 and one that follows */
        const uint32_t even = ml_dsp_widen_even(word);
        const uint32_t odd = ml_dsp_widen_odd(word);
        w.first[i] = ml_dsp_pack_low(even, odd);
        w.last[i] = ml_dsp_pack_outer(odd, even);
    }
    const uint32_t word = ml_dsp_load(weights + 5); /* one that comes before, w0 w1 w2 */
    const uint32_t even = ml_dsp_widen_even(word);
    const uint32_t odd = ml_dsp_widen_odd(word);
    w.first[2] = ml_dsp_pack_outer(odd, even);
    w.last[2] = ml_dsp_pack_high(even, odd);
    for (int32_t i = 0; i < 3 && twice; ++i) {
        w.first[i] = ml_dsp_add_pairs(w.first[i], w.first[i]);
        w.last[i] = ml_dsp_add_pairs(w.last[i], w.last[i]);
    }
    return w;
}

ML_INLINE int32_t ml_depthwise_dsp_single(
    const uint32_t *line, int32_t step, ml_depthwise_dsp_weights w, int32_t acc)
{
    for (int32_t i = 0; i < 3; ++i) {
        acc = ml_dsp_dot(line[i * ML_DEPTHWISE_DSP_LANES], w.first[i], acc);
        acc = ml_dsp_low_high(line[i * ML_DEPTHWISE_DSP_LANES + step], w.last[i], acc);
    }
    return acc;
}

/* One output row of one channel in C. */
ML_INLINE void ml_depthwise_dsp_plain(int8_t *y, const uint32_t *line, int32_t stride, ml_depthwise_dsp_channel one)
{
    const ml_depthwise_dsp_weights w = one.w;
    int32_t count = one.count;
    if (stride == 1) {
        for (; count >= 2; count -= 2) {
            int32_t acc0 = one.bias;
            int32_t acc1 = one.bias;
            for (int32_t i = 0; i < 3; ++i) {
                const uint32_t left = line[i * ML_DEPTHWISE_DSP_LANES];
                const uint32_t right = line[i * ML_DEPTHWISE_DSP_LANES + one.step];
                acc0 = ml_dsp_dot(left, w.first[i], acc0);
                acc1 = ml_dsp_low_high(w.first[i], left, acc1);
                acc0 = ml_dsp_low_high(right, w.last[i], acc0);
                acc1 = ml_dsp_dot(right, w.last[i], acc1);
            }
            line += one.step;
            y[0] = ml_dsp_requantize(acc0, one.scale, one.out);
            y[one.channels] = ml_dsp_requantize(acc1, one.scale, one.out);
            y += 2 * one.channels;
        }
    }
    for (; count > 0; --count) {
        *y = ml_dsp_requantize(ml_depthwise_dsp_single(line, one.step, w, one.bias), one.scale, one.out);
        line += one.step;
        y += one.channels;
    }
}

/* `rows` output rows of one channel, row_bytes apart. */
ML_INLINE void ml_depthwise_dsp_rows(
    int8_t *y, int32_t row_bytes, const uint32_t *line, int32_t rows, int32_t stride, ml_depthwise_dsp_channel one)
{
#if ML_ARM_FPU
    if ((one.scale.kind == ML_FLOAT || one.scale.kind == ML_DSP_TWICE) && one.out.full_range) {
        ml_depthwise_dsp_loops(y, row_bytes, line, rows, stride, one);
        return;
    }
#endif
    for (; rows > 0; --rows, y += row_bytes, line += one.line_step) {
        ml_depthwise_dsp_plain(y, line, stride, one);
    }
}

/* scratch: 16 bytes for each row of lines of each column pair, for blocks of block_rows output rows. At least 4
 * channels; the last group of four may overlap the one before. */
ML_INLINE void s8_depthwise_conv2d__dsp_3x3(int8_t *y, const int8_t *x, const int8_t *weights, const int32_t *bias,
    void *scratch, int32_t kind, const float *scale, const int32_t *multiplier, const int8_t *shift,
    int32_t per_channel, int32_t full_range, int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring,
    int32_t height, int32_t width, int32_t channels, int32_t out_width, int32_t block_rows, int32_t stride_h,
    int32_t stride_w, int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_dsp_output out = {full_range, y_zero, low, high};
    const int32_t twice = kind == ML_DSP_TWICE;
    const int32_t pairs = (stride_w == 1 ? (out_width + 1) / 2 : out_width) + 1;
    const int32_t block_lines = (block_rows - 1) * stride_h + 3;
    const int32_t kept = ml_max(0, 3 - stride_h);
    const int32_t row_bytes = out_width * channels;
    ml_depthwise_dsp conv = {(uint32_t *)scratch, pairs, block_lines * ML_DEPTHWISE_DSP_LANES, height,
        width * channels, channels, x_ring, ((uint32_t)x_zero & 0xffu) * 0x01010101u, 0, 0, 0, 0};
    ml_depthwise_dsp_columns(&conv, width, pad_left);
    for (int32_t group = 0; group < channels; group += ML_DEPTHWISE_DSP_LANES) {
        const int32_t first = ml_min(group, channels - ML_DEPTHWISE_DSP_LANES);
        for (int32_t begin = row_begin; begin < row_end; begin += block_rows) {
            const int32_t end = ml_min(begin + block_rows, row_end);
            const int32_t top = begin * stride_h - pad_top;
            if (begin > row_begin) {
                ml_depthwise_dsp_keep(&conv, block_lines, kept);
            }
            for (int32_t i = begin > row_begin ? kept : 0; i < (end - 1 - begin) * stride_h + 3; ++i) {
                ml_depthwise_dsp_line(&conv, conv.lines + i * ML_DEPTHWISE_DSP_LANES, x + first, top + i);
            }
            for (int32_t c = first; c < first + ML_DEPTHWISE_DSP_LANES; ++c) {
                const ml_depthwise_dsp_channel one = {channels, twice ? 2 * bias[c] : bias[c], conv.step,
                    stride_h * ML_DEPTHWISE_DSP_LANES, out_width,
                    ml_depthwise_dsp_widen(weights + ML_DEPTHWISE_DSP_TAPS * c, twice),
                    ml_dsp_scale_of(how, c, out), out};
                const uint32_t *line = conv.lines + (c - first);
                for (int32_t oy = begin, rows; oy < end; oy += rows) { /* rows up to the end of the ring */
                    const int32_t place = ml_ring_row(oy, y_ring);
                    rows = y_ring == 0 ? end - oy : ml_min(end - oy, y_ring - place);
                    ml_depthwise_dsp_rows(y + place * row_bytes + c, row_bytes, line, rows, stride_w, one);
                    line += rows * one.line_step;
                }
            }
        }
    }
}

#endif
