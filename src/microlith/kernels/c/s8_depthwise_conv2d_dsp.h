/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 depthwise convolution with a 3x3 window and a column stride of 1 or 2, on SMLAD.
 *
 * Four channels at a time, rows of the input are widened to 16 bits and turned from channels-last into one line a
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

#if ML_ARM_FPU
/*
 * The two inner loops below keep everything in registers: r3-r9 the weights, r7, r12 and lr the words of the three
 * lines, of which the right ones of one turn are the left ones of the next; what one turn needs once lies in FPU
 * registers. r7 is saved, for a compiler may keep its frame there. They clamp to the limits of int8.
 */

/* Two outputs a turn, until `line` reaches `line_end`; returns the place of the next output. */
ML_INLINE int8_t *ml_depthwise_dsp_stride_1(int8_t *to, int32_t channels, const uint32_t *line,
    const uint32_t *line_end, ml_depthwise_dsp_weights w, int32_t bias, float scale, int32_t zero)
{
    register const uint32_t *at __asm__("r0") = line;
    register int8_t *y __asm__("r1") = to;
    register uint32_t first0 __asm__("r3") = w.first[0];
    register uint32_t last0 __asm__("r4") = w.last[0];
    register uint32_t first1 __asm__("r5") = w.first[1];
    register uint32_t last1 __asm__("r6") = w.last[1];
    register uint32_t first2 __asm__("r8") = w.first[2];
    register uint32_t last2 __asm__("r9") = w.last[2];
    __asm__ volatile(
        "push {r7}\n"
        "ldr r7, [r0]\n"
        "ldr r12, [r0, #16]\n"
        "ldr lr, [r0, #32]\n"
        "1:\n"
        "vmov r10, %[bias]\n"
        "vmov r11, %[bias]\n"
        "smlad r10, r7, r3, r10\n"
        "smlabt r11, r3, r7, r11\n"
        "smlad r10, r12, r5, r10\n"
        "smlabt r11, r5, r12, r11\n"
        "smlad r10, lr, r8, r10\n"
        "smlabt r11, r8, lr, r11\n"
        "ldr r7, [r0, #48]!\n"
        "ldr r12, [r0, #16]\n"
        "ldr lr, [r0, #32]\n"
        "smlabt r10, r7, r4, r10\n"
        "smlad r11, r7, r4, r11\n"
        "smlabt r10, r12, r6, r10\n"
        "smlad r11, r12, r6, r11\n"
        "smlabt r10, lr, r9, r10\n"
        "smlad r11, lr, r9, r11\n"
        "vmov s0, s1, r10, r11\n"
        "vcvt.f32.s32 s0, s0\n"
        "vcvt.f32.s32 s1, s1\n"
        "vmul.f32 s0, s0, %[scale]\n"
        "vmul.f32 s1, s1, %[scale]\n"
        "vcvtr.s32.f32 s0, s0\n"
        "vcvtr.s32.f32 s1, s1\n"
        "vmov r10, r11, s0, s1\n"
        "vmov r2, %[zero]\n"
        "qadd r10, r10, r2\n"
        "qadd r11, r11, r2\n"
        "vmov r2, %[channels]\n"
        "ssat r10, #8, r10\n"
        "ssat r11, #8, r11\n"
        "strb r10, [r1]\n"
        "strb r11, [r1, r2]\n"
        "add r1, r1, r2, lsl #1\n"
        "vmov r10, %[end]\n"
        "cmp r0, r10\n"
        "bne 1b\n"
        "pop {r7}"
        : "+r"(at), "+r"(y)
        : "r"(first0), "r"(last0), "r"(first1), "r"(last1), "r"(first2), "r"(last2), [bias] "t"(bias),
          [scale] "t"(scale), [zero] "t"(zero), [channels] "t"(channels), [end] "t"(line_end)
        : "r2", "r10", "r11", "r12", "lr", "s0", "s1", "cc", "memory");
    return y;
}

/* One output a turn, likewise. */
ML_INLINE int8_t *ml_depthwise_dsp_stride_2(int8_t *to, int32_t channels, const uint32_t *line,
    const uint32_t *line_end, ml_depthwise_dsp_weights w, int32_t bias, float scale, int32_t zero)
{
    register const uint32_t *at __asm__("r0") = line;
    register int8_t *y __asm__("r1") = to;
    register uint32_t first0 __asm__("r3") = w.first[0];
    register uint32_t last0 __asm__("r4") = w.last[0];
    register uint32_t first1 __asm__("r5") = w.first[1];
    register uint32_t last1 __asm__("r6") = w.last[1];
    register uint32_t first2 __asm__("r8") = w.first[2];
    register uint32_t last2 __asm__("r9") = w.last[2];
    __asm__ volatile(
        "push {r7}\n"
        "ldr r7, [r0]\n"
        "ldr r12, [r0, #16]\n"
        "ldr lr, [r0, #32]\n"
        "vmov r2, %[zero]\n"
        "vmov r11, %[channels]\n"
        "1:\n"
        "vmov r10, %[bias]\n"
        "smlad r10, r7, r3, r10\n"
        "smlad r10, r12, r5, r10\n"
        "smlad r10, lr, r8, r10\n"
        "ldr r7, [r0, #48]!\n"
        "ldr r12, [r0, #16]\n"
        "ldr lr, [r0, #32]\n"
        "smlabt r10, r7, r4, r10\n"
        "smlabt r10, r12, r6, r10\n"
        "smlabt r10, lr, r9, r10\n"
        "vmov s0, r10\n"
        "vcvt.f32.s32 s0, s0\n"
        "vmul.f32 s0, s0, %[scale]\n"
        "vcvtr.s32.f32 s0, s0\n"
        "vmov r10, s0\n"
        "qadd r10, r10, r2\n"
        "ssat r10, #8, r10\n"
        "strb r10, [r1]\n"
        "add r1, r11\n"
        "vmov r10, %[end]\n"
        "cmp r0, r10\n"
        "bne 1b\n"
        "pop {r7}"
        : "+r"(at), "+r"(y)
        : "r"(first0), "r"(last0), "r"(first1), "r"(last1), "r"(first2), "r"(last2), [bias] "t"(bias),
          [scale] "t"(scale), [zero] "t"(zero), [channels] "t"(channels), [end] "t"(line_end)
        : "r2", "r10", "r11", "r12", "lr", "s0", "s1", "cc", "memory");
    return y;
}

#endif

/* One output row of one channel in C, likewise. */
ML_INLINE void ml_depthwise_dsp_plain(int8_t *y, int32_t channels, const uint32_t *line, ml_depthwise_dsp_weights w,
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

/* One output row of one channel: `count` outputs, `channels` bytes apart. */
ML_INLINE void ml_depthwise_dsp_row(int8_t *y, int32_t channels, const uint32_t *line, ml_depthwise_dsp_weights w,
    int32_t bias, int32_t stride, int32_t count, ml_dsp_scale scale, ml_dsp_output out)
{
#if ML_ARM_FPU
    if (scale.kind == ML_FLOAT && out.full_range) {
        const int32_t turns = stride == 1 ? count / 2 : count;
        const uint32_t *line_end = line + turns * ML_DEPTHWISE_DSP_WORDS;
        if (stride == 2) {
            (void)ml_depthwise_dsp_stride_2(y, channels, line, line_end, w, bias, scale.scale, out.zero);
            return;
        }
        if (turns > 0) {
            y = ml_depthwise_dsp_stride_1(y, channels, line, line_end, w, bias, scale.scale, out.zero);
        }
        if (count & 1) {
            *y = ml_dsp_requantize(ml_depthwise_dsp_single(line_end, w, bias), scale, out);
        }
        return;
    }
#endif
    ml_depthwise_dsp_plain(y, channels, line, w, bias, stride, count, scale, out);
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
                    ml_dsp_scale_of(how, c, out), out);
            }
        }
    }
}

#endif
