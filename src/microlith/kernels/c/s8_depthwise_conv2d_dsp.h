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

#include "s8_depthwise_conv2d_dsp_turn.h"

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

/* Widened weights of one channel by row of the window: first[i] = (w0, w1), last[i] = (w1, w2). */
typedef struct {
    uint32_t first[3];
    uint32_t last[3];
} ml_depthwise_dsp_weights;

ML_INLINE ml_depthwise_dsp_weights ml_depthwise_dsp_widen(const int8_t *weights)
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

/* One channel of the rows of a block. */
typedef struct {
    int32_t channels;
    int32_t bias;
    int32_t step;      /* words from one column pair to the next */
    int32_t line_step; /* words from the lines of one output row to those of the next */
    int32_t count;     /* outputs of a row */
    ml_depthwise_dsp_weights w;
    ml_dsp_scale scale;
    ml_dsp_output out;
} ml_depthwise_dsp_channel;

#if ML_ARM_FPU
/*
 * The loops below keep everything in registers: r3-r9 the weights, r7, r12 and lr the words of three rows, of which the
 * right ones of one turn are the left ones of the next; what one turn or one row needs once lies in FPU registers. r7
 * is saved, for a compiler may keep its frame there. They clamp to the limits of int8.
 */
#define ML_DEPTHWISE_DSP_LOAD                                                                                         \
    "ldr r7, [r0]\n"                                                                                                  \
    "ldr r12, [r0, #16]\n"                                                                                            \
    "ldr lr, [r0, #32]\n"

/* Accumulators of two neighbouring outputs in r10 and r11. */
#define ML_DEPTHWISE_DSP_TWO                                                                                          \
    "push {r7}\n"                                                                                                     \
    "3:\n" ML_DEPTHWISE_DSP_LOAD                                                                                      \
    "vmov r2, %[end]\n"                                                                                               \
    "cmp r0, r2\n"                                                                                                    \
    "beq 4f\n"                                                                                                        \
    "1:\n"                                                                                                            \
    "vmov r10, %[bias]\n"                                                                                             \
    "vmov r11, %[bias]\n"                                                                                             \
    "vmov r2, %[step]\n"                                                                                              \
    "smlad r10, r7, r3, r10\n"                                                                                        \
    "smlabt r11, r3, r7, r11\n"                                                                                       \
    "smlad r10, r12, r5, r10\n"                                                                                       \
    "smlabt r11, r5, r12, r11\n"                                                                                      \
    "smlad r10, lr, r8, r10\n"                                                                                        \
    "smlabt r11, r8, lr, r11\n"                                                                                       \
    "add r0, r0, r2\n" ML_DEPTHWISE_DSP_LOAD                                                                          \
    "smlabt r10, r7, r4, r10\n"                                                                                       \
    "smlad r11, r7, r4, r11\n"                                                                                        \
    "smlabt r10, r12, r6, r10\n"                                                                                      \
    "smlad r11, r12, r6, r11\n"                                                                                       \
    "smlabt r10, lr, r9, r10\n"                                                                                       \
    "smlad r11, lr, r9, r11\n"

#define ML_DEPTHWISE_DSP_STORE_TWO                                                                                    \
    "vmov r2, %[channels]\n"                                                                                          \
    "ssat r10, #8, r10\n"                                                                                             \
    "ssat r11, #8, r11\n"                                                                                             \
    "strb r10, [r1]\n"                                                                                                \
    "strb r11, [r1, r2]\n"                                                                                            \
    "add r1, r1, r2, lsl #1\n"                                                                                        \
    "vmov r2, %[end]\n"                                                                                               \
    "cmp r0, r2\n"                                                                                                    \
    "bne 1b\n"                                                                                                        \
    "4:\n"                                                                                                            \
    "vmov r2, %[odd]\n"                                                                                               \
    "cmp r2, #0\n"                                                                                                    \
    "beq 5f\n"

/* Accumulator of one output in r10. */
#define ML_DEPTHWISE_DSP_ONE                                                                                          \
    "vmov r10, %[bias]\n"                                                                                             \
    "vmov r2, %[step]\n"                                                                                              \
    "smlad r10, r7, r3, r10\n"                                                                                        \
    "smlad r10, r12, r5, r10\n"                                                                                       \
    "smlad r10, lr, r8, r10\n"                                                                                        \
    "add r0, r0, r2\n" ML_DEPTHWISE_DSP_LOAD                                                                          \
    "smlabt r10, r7, r4, r10\n"                                                                                       \
    "smlabt r10, r12, r6, r10\n"                                                                                      \
    "smlabt r10, lr, r9, r10\n"

#define ML_DEPTHWISE_DSP_STORE_ONE                                                                                    \
    "ssat r10, #8, r10\n"                                                                                             \
    "strb r10, [r1]\n"

/* A column stride of 2. */
#define ML_DEPTHWISE_DSP_ALONE                                                                                        \
    "push {r7}\n"                                                                                                     \
    "3:\n" ML_DEPTHWISE_DSP_LOAD                                                                                      \
    "1:\n" ML_DEPTHWISE_DSP_ONE

#define ML_DEPTHWISE_DSP_STORE_ALONE                                                                                  \
    ML_DEPTHWISE_DSP_STORE_ONE                                                                                        \
    "vmov r2, %[channels]\n"                                                                                          \
    "add r1, r2\n"                                                                                                    \
    "vmov r2, %[end]\n"                                                                                               \
    "cmp r0, r2\n"                                                                                                    \
    "bne 1b\n"

#define ML_DEPTHWISE_DSP_NEXT_ROW                                                                                     \
    "5:\n"                                                                                                            \
    "vmov r0, %[line]\n"                                                                                              \
    "vmov r1, %[place]\n"                                                                                             \
    "vmov r11, %[end]\n"                                                                                              \
    "vmov r2, %[line_step]\n"                                                                                         \
    "vmov r10, %[row_bytes]\n"                                                                                        \
    "add r0, r0, r2\n"                                                                                                \
    "add r1, r1, r10\n"                                                                                               \
    "add r11, r11, r2\n"                                                                                              \
    "vmov r2, %[last]\n"                                                                                              \
    "vmov %[line], r0\n"                                                                                              \
    "vmov %[place], r1\n"                                                                                             \
    "vmov %[end], r11\n"                                                                                              \
    "cmp r0, r2\n"                                                                                                    \
    "bne 3b\n"                                                                                                        \
    "pop {r7}"

#define ML_DEPTHWISE_DSP_FLOAT_TWO                                                                                    \
    "vmov s0, s1, r10, r11\n"                                                                                         \
    "vcvt.f32.s32 s0, s0\n"                                                                                           \
    "vcvt.f32.s32 s1, s1\n"                                                                                           \
    "vmul.f32 s0, s0, %[scale]\n"                                                                                     \
    "vmul.f32 s1, s1, %[scale]\n"                                                                                     \
    "vcvtr.s32.f32 s0, s0\n"                                                                                          \
    "vcvtr.s32.f32 s1, s1\n"                                                                                          \
    "vmov r10, r11, s0, s1\n"                                                                                         \
    "vmov r2, %[zero]\n"                                                                                              \
    "qadd r10, r10, r2\n"                                                                                             \
    "qadd r11, r11, r2\n"

#define ML_DEPTHWISE_DSP_FLOAT_ONE                                                                                    \
    "vmov s0, r10\n"                                                                                                  \
    "vcvt.f32.s32 s0, s0\n"                                                                                           \
    "vmul.f32 s0, s0, %[scale]\n"                                                                                     \
    "vcvtr.s32.f32 s0, s0\n"                                                                                          \
    "vmov r10, s0\n"                                                                                                  \
    "vmov r2, %[zero]\n"                                                                                              \
    "qadd r10, r10, r2\n"

#define ML_DEPTHWISE_DSP_FIXED_TWO                                                                                    \
    "vmov r2, %[multiplier]\n"                                                                                        \
    "smmlar r10, r10, r2, r10\n"                                                                                      \
    "smmlar r11, r11, r2, r11\n"                                                                                      \
    "vmov r2, %[offset]\n"                                                                                            \
    "add r10, r10, r2\n"                                                                                              \
    "add r11, r11, r2\n"                                                                                              \
    "vmov r2, %[bits]\n"                                                                                              \
    "asr r10, r10, r2\n"                                                                                              \
    "asr r11, r11, r2\n"

#define ML_DEPTHWISE_DSP_FIXED_ONE                                                                                    \
    "vmov r2, %[multiplier]\n"                                                                                        \
    "smmlar r10, r10, r2, r10\n"                                                                                      \
    "vmov r2, %[offset]\n"                                                                                            \
    "add r10, r10, r2\n"                                                                                              \
    "vmov r2, %[bits]\n"                                                                                              \
    "asr r10, r10, r2\n"

/* `rows` output rows (at least 1), row_bytes apart; a turn of the inner loop makes two neighbouring outputs where the
 * column stride is 1, and a last one follows. */
#define ML_DEPTHWISE_DSP_LOOP(name, text, ...)                                                                        \
    ML_INLINE void name(int8_t *to, int32_t row_bytes, const uint32_t *from, int32_t rows, int32_t turns,             \
        ml_depthwise_dsp_channel one)                                                                                 \
    {                                                                                                                 \
        register const uint32_t *at __asm__("r0") = from;                                                             \
        register int8_t *y __asm__("r1") = to;                                                                        \
        register uint32_t first0 __asm__("r3") = one.w.first[0];                                                      \
        register uint32_t last0 __asm__("r4") = one.w.last[0];                                                        \
        register uint32_t first1 __asm__("r5") = one.w.first[1];                                                      \
        register uint32_t last1 __asm__("r6") = one.w.last[1];                                                        \
        register uint32_t first2 __asm__("r8") = one.w.first[2];                                                      \
        register uint32_t last2 __asm__("r9") = one.w.last[2];                                                        \
        const uint32_t *line = from;                                                                                  \
        const uint32_t *end = from + turns * one.step;                                                                \
        int8_t *place = to;                                                                                           \
        __asm__ volatile(text ML_DEPTHWISE_DSP_NEXT_ROW                                                               \
            : "+r"(at), "+r"(y), [line] "+t"(line), [end] "+t"(end), [place] "+t"(place)                              \
            : "r"(first0), "r"(last0), "r"(first1), "r"(last1), "r"(first2), "r"(last2), [bias] "t"(one.bias),        \
              [step] "t"(4 * one.step), [channels] "t"(one.channels), [odd] "t"(one.count & 1),                       \
              [line_step] "t"(4 * one.line_step), [row_bytes] "t"(row_bytes),                                         \
              [last] "t"(from + rows * one.line_step), __VA_ARGS__                                                    \
            : "r2", "r10", "r11", "r12", "lr", "s0", "s1", "cc", "memory");                                           \
    }

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_two_float,
    ML_DEPTHWISE_DSP_TWO ML_DEPTHWISE_DSP_FLOAT_TWO ML_DEPTHWISE_DSP_STORE_TWO ML_DEPTHWISE_DSP_ONE
        ML_DEPTHWISE_DSP_FLOAT_ONE ML_DEPTHWISE_DSP_STORE_ONE,
    [scale] "t"(one.scale.scale), [zero] "t"(one.out.zero))

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_one_float,
    ML_DEPTHWISE_DSP_ALONE ML_DEPTHWISE_DSP_FLOAT_ONE ML_DEPTHWISE_DSP_STORE_ALONE,
    [scale] "t"(one.scale.scale), [zero] "t"(one.out.zero))

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_two_fixed,
    ML_DEPTHWISE_DSP_TWO ML_DEPTHWISE_DSP_FIXED_TWO ML_DEPTHWISE_DSP_STORE_TWO ML_DEPTHWISE_DSP_ONE
        ML_DEPTHWISE_DSP_FIXED_ONE ML_DEPTHWISE_DSP_STORE_ONE,
    [multiplier] "t"(one.scale.multiplier), [offset] "t"(one.scale.offset), [bits] "t"(one.scale.shift))

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_one_fixed,
    ML_DEPTHWISE_DSP_ALONE ML_DEPTHWISE_DSP_FIXED_ONE ML_DEPTHWISE_DSP_STORE_ALONE,
    [multiplier] "t"(one.scale.multiplier), [offset] "t"(one.scale.offset), [bits] "t"(one.scale.shift))

/* `rows` output rows by the loop that serves. */
ML_INLINE void ml_depthwise_dsp_loops(
    int8_t *y, int32_t row_bytes, const uint32_t *line, int32_t rows, int32_t stride, ml_depthwise_dsp_channel one)
{
    const int32_t turns = stride == 1 ? one.count >> 1 : one.count;
    if (one.scale.kind == ML_FLOAT) {
        if (stride == 1) {
            ml_depthwise_dsp_two_float(y, row_bytes, line, rows, turns, one);
        } else {
            ml_depthwise_dsp_one_float(y, row_bytes, line, rows, turns, one);
        }
    } else if (stride == 1) {
        ml_depthwise_dsp_two_fixed(y, row_bytes, line, rows, turns, one);
    } else {
        ml_depthwise_dsp_one_fixed(y, row_bytes, line, rows, turns, one);
    }
}

#endif

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
    if (one.scale.kind != ML_FIXED && one.out.full_range) {
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
                const ml_depthwise_dsp_channel one = {channels, bias[c], conv.step,
                    stride_h * ML_DEPTHWISE_DSP_LANES, out_width,
                    ml_depthwise_dsp_widen(weights + ML_DEPTHWISE_DSP_TAPS * c), ml_dsp_scale_of(how, c, out), out};
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
