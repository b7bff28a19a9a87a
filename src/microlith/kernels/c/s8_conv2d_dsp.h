/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 convolution, one group, any window: 2 output channels by 4 output pixels at a time, on SMLAD.
 *
 * The receptive fields of four pixels are gathered, widened to 16 bits and interleaved by pairs (`columns`), and
 * stay there for all output channels. Bytes that lie together in a row of the input form a run: kernel_w taps where
 * columns are not dilated, else one tap. The quads of all runs come first; what is left of each run (0 to 3 bytes)
 * follows, together. Weights are packed in that order, padded with zeros to whole quads, two channels v and w
 * interleaved so that a word widens to a pair of each: each quad is the bytes v0 w0 v2 w2, v1 w1 v3 w3. The bias has
 * had x_zero times the sum of each channel's weights taken off, and padding reads as x_zero.
 */
#ifndef ML_S8_CONV2D_DSP_H
#define ML_S8_CONV2D_DSP_H

#include "ml_dsp.h"

enum { ML_CONV_DSP_PIXELS = 4, ML_CONV_DSP_WORDS = 2 * ML_CONV_DSP_PIXELS };

typedef struct {
    const int8_t *x;
    int8_t *zeros; /* a run of x_zero */
    int8_t *edge;  /* a run that is partly padding */
    int8_t *rest;  /* what does not fill quads, of all runs */
    int32_t x_ring;
    int32_t height;
    int32_t width;
    int32_t channels;
    int32_t row_bytes;
    int32_t line_step;  /* bytes from one row of taps to the next */
    int32_t plain_rows; /* height, or 0 where rows lie in a ring */
    int32_t reach_h;    /* rows from the first to the last tap */
    int32_t reach_w;
    int32_t dilation_h;
    int32_t run_step; /* columns from one run to the next */
    int32_t one_run;  /* whether a row of taps is one run */
    int32_t taps_per_run;
    int32_t run_bytes;
    int32_t x_zero;
} ml_conv_dsp;

ML_INLINE void ml_conv_dsp_fill(int8_t *to, int32_t count, int32_t value)
{
    for (int32_t i = 0; i < count; ++i) {
        to[i] = (int8_t)value;
    }
}

/* One quad widened into a column: 5 instructions of 4 bytes. */
#define ML_CONV_DSP_WIDEN                                                                                             \
    "ldr.w %[word], [%[from]], #4\n"                                                                                  \
    "sxtb16 %[odd], %[word], ror #8\n"                                                                                \
    "sxtb16 %[word], %[word]\n"                                                                                       \
    "str.w %[odd], [%[column], #16]\n"                                                                                \
    "str.w %[word], [%[column]], #32\n"

/* Widen `quads` (at least 1) quads into the column of one pixel; returns the rest of the column. Four quads a turn; the
 * first turn is entered in its middle where their number is no multiple of four. */
ML_INLINE uint32_t *ml_conv_dsp_widen(uint32_t *column, const int8_t *from, int32_t quads)
{
    const int8_t *const end = from + 4 * quads;
    const int32_t skipped_bytes = 5 * 4 * (-quads & 3);
    uint32_t word;
    uint32_t odd;
    __asm__ volatile(
        "add pc, %[skipped]\n" /* pc reads as the address of this instruction plus 4 */
        "nop\n"
        "1:\n" ML_CONV_DSP_WIDEN ML_CONV_DSP_WIDEN ML_CONV_DSP_WIDEN ML_CONV_DSP_WIDEN
        "cmp %[from], %[end]\n"
        "bne 1b"
        : [from] "+r"(from), [column] "+r"(column), [word] "=&r"(word), [odd] "=&r"(odd)
        : [end] "r"(end), [skipped] "r"(skipped_bytes)
        : "cc", "memory");
    return column;
}

/* A run that starts at column `ix` of `row` and leaves the row on one side or both, with x_zero outside. */
static ML_NOINLINE const int8_t *ml_conv_dsp_edge(const ml_conv_dsp *conv, const int8_t *row, int32_t ix)
{
    int8_t *to = conv->edge;
    for (int32_t tap = 0; tap < conv->taps_per_run; ++tap, ++ix) {
        if (ix < 0 || ix >= conv->width) {
            ml_conv_dsp_fill(to, conv->channels, conv->x_zero);
        } else {
            const int8_t *from = row + ix * conv->channels;
            for (int32_t c = 0; c < conv->channels; ++c) {
                to[c] = from[c];
            }
        }
        to += conv->channels;
    }
    return conv->edge;
}

/* Start of the run whose first tap is (iy, ix), or of a copy of it where it is partly or wholly padding. */
ML_INLINE const int8_t *ml_conv_dsp_run(const ml_conv_dsp *conv, int32_t iy, int32_t ix)
{
    if (iy < 0 || iy >= conv->height) {
        return conv->zeros;
    }
    const int8_t *row = conv->x + ml_ring_row(iy, conv->x_ring) * conv->row_bytes;
    return ix >= 0 && ix + conv->taps_per_run <= conv->width ? row + ix * conv->channels
                                                             : ml_conv_dsp_edge(conv, row, ix);
}

/* Where a gather stands: the next word of the column, and the next byte of what is left of the runs. */
typedef struct {
    uint32_t *column;
    int8_t *rest;
} ml_conv_dsp_place;

/* Append one run to a column. */
ML_INLINE ml_conv_dsp_place ml_conv_dsp_append(ml_conv_dsp_place at, const int8_t *from, int32_t run_bytes)
{
    if (run_bytes >= 4) {
        at.column = ml_conv_dsp_widen(at.column, from, run_bytes >> 2);
        from += run_bytes & ~3;
    }
    for (int32_t i = run_bytes & 3; i > 0; --i) {
        *at.rest++ = *from++;
    }
    return at;
}

/* Gather the receptive field whose first tap is (iy, ix) into the column of a pixel. */
static ML_NOINLINE void ml_conv_dsp_gather(const ml_conv_dsp *conv, uint32_t *column, int32_t iy, int32_t ix)
{
    const int32_t run_bytes = conv->run_bytes;
    const int32_t last_iy = iy + conv->reach_h;
    ml_conv_dsp_place at = {column, conv->rest};
    if (conv->one_run && iy >= 0 && last_iy < conv->plain_rows && ix >= 0 && ix + conv->reach_w < conv->width) {
        const int8_t *from = conv->x + iy * conv->row_bytes + ix * conv->channels;
        for (; iy <= last_iy; iy += conv->dilation_h, from += conv->line_step) {
            at = ml_conv_dsp_append(at, from, run_bytes);
        }
    } else {
        for (; iy <= last_iy; iy += conv->dilation_h) {
            for (int32_t tap = 0; tap <= conv->reach_w; tap += conv->run_step) {
                at = ml_conv_dsp_append(at, ml_conv_dsp_run(conv, iy, ix + tap), run_bytes);
            }
        }
    }
    if (run_bytes & 3) { /* the last quad may hold bytes of an earlier call: their weights are zero */
        (void)ml_conv_dsp_widen(at.column, conv->rest, (int32_t)(at.rest - conv->rest + 3) >> 2);
    }
}

/* A pair of products of 2 channels (r0) and 4 pixels (r1): 15 instructions of 4 bytes. */
#define ML_CONV_DSP_PAIR                                                                                              \
    "ldr r11, [r0], #4\n"                                                                                             \
    "ldr r7, [r1], #4\n"                                                                                              \
    "ldr r12, [r1], #4\n"                                                                                             \
    "sxtb16 lr, r11, ror #8\n"                                                                                        \
    "sxtb16 r11, r11\n"                                                                                               \
    "smlad r2, r7, r11, r2\n"                                                                                         \
    "smlad r3, r7, lr, r3\n"                                                                                          \
    "smlad r4, r12, r11, r4\n"                                                                                        \
    "smlad r5, r12, lr, r5\n"                                                                                         \
    "ldr r7, [r1], #4\n"                                                                                              \
    "ldr r12, [r1], #4\n"                                                                                             \
    "smlad r6, r7, r11, r6\n"                                                                                         \
    "smlad r8, r7, lr, r8\n"                                                                                          \
    "smlad r9, r12, r11, r9\n"                                                                                        \
    "smlad r10, r12, lr, r10\n"

/* Accumulate `quads` (at least 1) quads of 2 channels and 4 pixels; acc[2 * pixel + channel]. Returns the weights of
 * the next two channels. All registers but sp and r7 are named; r7 is saved, for a compiler may keep its frame there.
 * Four quads a turn; the first turn is entered in its middle where their number is no multiple of four. */
ML_INLINE const int8_t *ml_conv_dsp_multiply(
    int32_t acc[2 * ML_CONV_DSP_PIXELS], const int8_t *weights, const uint32_t *columns, int32_t quads)
{
    register const int8_t *w __asm__("r0") = weights;
    register const uint32_t *a __asm__("r1") = columns;
    register int32_t acc0 __asm__("r2") = acc[0];
    register int32_t acc1 __asm__("r3") = acc[1];
    register int32_t acc2 __asm__("r4") = acc[2];
    register int32_t acc3 __asm__("r5") = acc[3];
    register int32_t acc4 __asm__("r6") = acc[4];
    register int32_t acc5 __asm__("r8") = acc[5];
    register int32_t acc6 __asm__("r9") = acc[6];
    register int32_t acc7 __asm__("r10") = acc[7];
    register const uint32_t *end __asm__("r11") = columns + ML_CONV_DSP_WORDS * quads;
    register int32_t skipped_bytes __asm__("r12") = 2 * 15 * 4 * (-quads & 3);
    __asm__ volatile(
        "push {r7, r11}\n"
        "add pc, r12\n" /* pc reads as the address of this instruction plus 4 */
        "nop\n"
        "1:\n" ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR
            ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR
        "ldr r7, [sp, #4]\n"
        "cmp r1, r7\n"
        "bne 1b\n"
        "pop {r7, r11}"
        : "+r"(w), "+r"(a), "+r"(acc0), "+r"(acc1), "+r"(acc2), "+r"(acc3), "+r"(acc4), "+r"(acc5), "+r"(acc6),
          "+r"(acc7), "+r"(end), "+r"(skipped_bytes)
        :
        : "lr", "cc", "memory");
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
    acc[4] = acc4;
    acc[5] = acc5;
    acc[6] = acc6;
    acc[7] = acc7;
    return w;
}

#if ML_ARM_FPU
/*
 * ml_conv_dsp_channels for scales of each channel, the limits of int8 and an even number of channels, as one loop that
 * keeps in FPU registers what is needed once for each two channels. r7 is saved, for a compiler may keep its frame
 * there. The loop has a head, a requantization and a tail; results lie in r2 r3 (pixel 0, two channels), r4 r5, r6 r8
 * and r9 r10.
 */
#define ML_CONV_DSP_HEAD                                                                                              \
    "push {r7}\n"                                                                                                     \
    "2:\n"                                                                                                            \
    "vmov r7, %[bias]\n"                                                                                              \
    "ldr r2, [r7], #4\n"                                                                                              \
    "ldr r3, [r7], #4\n"                                                                                              \
    "vmov %[bias], r7\n"                                                                                              \
    "mov r4, r2\n"                                                                                                    \
    "mov r5, r3\n"                                                                                                    \
    "mov r6, r2\n"                                                                                                    \
    "mov r8, r3\n"                                                                                                    \
    "mov r9, r2\n"                                                                                                    \
    "mov r10, r3\n"                                                                                                   \
    "vmov r1, %[columns]\n"                                                                                           \
    "vmov r12, %[skipped]\n"                                                                                          \
    "add pc, r12\n" /* pc reads as the address of this instruction plus 4 */                                          \
    "nop\n"                                                                                                           \
    "1:\n" ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR      \
        ML_CONV_DSP_PAIR ML_CONV_DSP_PAIR                                                                             \
    "vmov r7, %[end]\n"                                                                                               \
    "cmp r1, r7\n"                                                                                                    \
    "bne 1b\n"

#define ML_CONV_DSP_TAIL                                                                                              \
    "ssat r2, #8, r2\n"                                                                                               \
    "ssat r3, #8, r3\n"                                                                                               \
    "ssat r4, #8, r4\n"                                                                                               \
    "ssat r5, #8, r5\n"                                                                                               \
    "ssat r6, #8, r6\n"                                                                                               \
    "ssat r8, #8, r8\n"                                                                                               \
    "ssat r9, #8, r9\n"                                                                                               \
    "ssat r10, #8, r10\n"                                                                                             \
    "vmov r1, %[to]\n"                                                                                                \
    "ldr r11, [r1, #12]\n"                                                                                            \
    "ldr r12, [r1, #8]\n"                                                                                             \
    "ldr lr, [r1, #4]\n"                                                                                              \
    "ldr r1, [r1]\n"                                                                                                  \
    "vmov r7, %[o]\n"                                                                                                 \
    "adds r7, #1\n"                                                                                                   \
    "strb r10, [r11, r7]\n"                                                                                           \
    "strb r8, [r12, r7]\n"                                                                                            \
    "strb r5, [lr, r7]\n"                                                                                             \
    "strb r3, [r1, r7]\n"                                                                                             \
    "subs r7, #1\n"                                                                                                   \
    "strb r9, [r11, r7]\n"                                                                                            \
    "strb r6, [r12, r7]\n"                                                                                            \
    "strb r4, [lr, r7]\n"                                                                                             \
    "strb r2, [r1, r7]\n"                                                                                             \
    "adds r7, #2\n"                                                                                                   \
    "vmov %[o], r7\n"                                                                                                 \
    "vmov r11, %[count]\n"                                                                                            \
    "cmp r7, r11\n"                                                                                                   \
    "bne 2b\n"                                                                                                        \
    "pop {r7}"

ML_INLINE void ml_conv_dsp_even_channels(int8_t *const to[ML_CONV_DSP_PIXELS], const int8_t *weights,
    const int32_t *bias, const uint32_t *columns, int32_t quads, int32_t out_channels, const float *scale,
    int32_t zero)
{
    register const int8_t *w __asm__("r0") = weights;
    const uint32_t *const end = columns + ML_CONV_DSP_WORDS * quads;
    const int32_t skipped_bytes = 2 * 15 * 4 * (-quads & 3);
    int32_t o = 0;
    __asm__ volatile(ML_CONV_DSP_HEAD
        "vmov r7, %[scale]\n"
        "vldmia r7!, {s0, s1}\n"
        "vmov %[scale], r7\n"
        "vmov s2, s3, r2, r3\n"
        "vmov s4, s5, r4, r5\n"
        "vmov s6, s7, r6, r8\n"
        "vmov s8, s9, r9, r10\n"
        "vcvt.f32.s32 s2, s2\n"
        "vcvt.f32.s32 s3, s3\n"
        "vcvt.f32.s32 s4, s4\n"
        "vcvt.f32.s32 s5, s5\n"
        "vcvt.f32.s32 s6, s6\n"
        "vcvt.f32.s32 s7, s7\n"
        "vcvt.f32.s32 s8, s8\n"
        "vcvt.f32.s32 s9, s9\n"
        "vmul.f32 s2, s2, s0\n"
        "vmul.f32 s3, s3, s1\n"
        "vmul.f32 s4, s4, s0\n"
        "vmul.f32 s5, s5, s1\n"
        "vmul.f32 s6, s6, s0\n"
        "vmul.f32 s7, s7, s1\n"
        "vmul.f32 s8, s8, s0\n"
        "vmul.f32 s9, s9, s1\n"
        "vcvtr.s32.f32 s2, s2\n"
        "vcvtr.s32.f32 s3, s3\n"
        "vcvtr.s32.f32 s4, s4\n"
        "vcvtr.s32.f32 s5, s5\n"
        "vcvtr.s32.f32 s6, s6\n"
        "vcvtr.s32.f32 s7, s7\n"
        "vcvtr.s32.f32 s8, s8\n"
        "vcvtr.s32.f32 s9, s9\n"
        "vmov r2, r3, s2, s3\n"
        "vmov r4, r5, s4, s5\n"
        "vmov r6, r8, s6, s7\n"
        "vmov r9, r10, s8, s9\n"
        "vmov r7, %[zero]\n"
        "qadd r2, r2, r7\n"
        "qadd r3, r3, r7\n"
        "qadd r4, r4, r7\n"
        "qadd r5, r5, r7\n"
        "qadd r6, r6, r7\n"
        "qadd r8, r8, r7\n"
        "qadd r9, r9, r7\n"
        "qadd r10, r10, r7\n" ML_CONV_DSP_TAIL
        : "+r"(w), [bias] "+t"(bias), [scale] "+t"(scale), [o] "+t"(o)
        : [columns] "t"(columns), [end] "t"(end), [skipped] "t"(skipped_bytes), [zero] "t"(zero), [to] "t"(to),
          [count] "t"(out_channels)
        : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "s0", "s1", "s2", "s3", "s4",
          "s5", "s6", "s7", "s8", "s9", "cc", "memory");
}

/* acc = the high product of acc and twice, plus the offset, shifted: ml_dsp_requantize of ML_DSP_FIXED but for the
 * clamp; r0 is lost. */
#define ML_CONV_DSP_SCALE(acc, twice, offset, bits)                                                                   \
    "add r0, " acc ", " offset "\n"                                                                                   \
    "smmlar " acc ", " acc ", " twice ", r0\n"                                                                        \
    "asr " acc ", " acc ", " bits "\n"

/* The same for ML_DSP_FIXED. */
ML_INLINE void ml_conv_dsp_even_channels_fixed(int8_t *const to[ML_CONV_DSP_PIXELS], const int8_t *weights,
    const int32_t *bias, const uint32_t *columns, int32_t quads, int32_t out_channels, const int32_t *multiplier,
    const int8_t *shift, int32_t zero)
{
    register const int8_t *w __asm__("r0") = weights;
    const uint32_t *const end = columns + ML_CONV_DSP_WORDS * quads;
    const int32_t skipped_bytes = 2 * 15 * 4 * (-quads & 3);
    const int32_t twice_zero = 2 * zero + 1;
    int32_t o = 0;
    __asm__ volatile(ML_CONV_DSP_HEAD
        "vmov s0, r0\n"
        "vmov r0, %[shift]\n"
        "ldrb r12, [r0], #1\n"
        "ldrb lr, [r0], #1\n"
        "vmov %[shift], r0\n"
        "vmov r0, %[multiplier]\n"
        "ldr r7, [r0], #4\n"
        "ldr r11, [r0], #4\n"
        "vmov %[multiplier], r0\n"
        "vmov r1, %[twice_zero]\n"
        "lsl r1, r1, r12\n"
        "asr r1, r1, #1\n"
        ML_CONV_DSP_SCALE("r2", "r7", "r1", "r12")
        ML_CONV_DSP_SCALE("r4", "r7", "r1", "r12")
        ML_CONV_DSP_SCALE("r6", "r7", "r1", "r12")
        ML_CONV_DSP_SCALE("r9", "r7", "r1", "r12")
        "vmov r1, %[twice_zero]\n"
        "lsl r1, r1, lr\n"
        "asr r1, r1, #1\n"
        ML_CONV_DSP_SCALE("r3", "r11", "r1", "lr")
        ML_CONV_DSP_SCALE("r5", "r11", "r1", "lr")
        ML_CONV_DSP_SCALE("r8", "r11", "r1", "lr")
        ML_CONV_DSP_SCALE("r10", "r11", "r1", "lr")
        "vmov r0, s0\n" ML_CONV_DSP_TAIL
        : "+r"(w), [bias] "+t"(bias), [multiplier] "+t"(multiplier), [shift] "+t"(shift), [o] "+t"(o)
        : [columns] "t"(columns), [end] "t"(end), [skipped] "t"(skipped_bytes), [twice_zero] "t"(twice_zero),
          [to] "t"(to), [count] "t"(out_channels)
        : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "s0", "cc", "memory");
}
#endif

/* All output channels of the pixels gathered. Results are stored from the last to the first, so that what is not wanted
 * can be stored where a wanted result follows: a pixel that is not there has the address of the first one, and a second
 * channel that is not there that of the channel before. */
ML_INLINE void ml_conv_dsp_channels(int8_t *const to[ML_CONV_DSP_PIXELS], const int8_t *weights, const int32_t *bias,
    const uint32_t *columns, int32_t quads, int32_t out_channels, int32_t even_channels, ml_requant how,
    ml_dsp_output out)
{
#if ML_ARM_FPU
    if (even_channels && how.per_channel && out.full_range && how.kind == ML_FLOAT) {
        ml_conv_dsp_even_channels(to, weights, bias, columns, quads, out_channels, how.scale, out.zero);
        return;
    }
    if (even_channels && how.per_channel && out.full_range && how.kind == ML_DSP_FIXED) {
        ml_conv_dsp_even_channels_fixed(
            to, weights, bias, columns, quads, out_channels, how.multiplier, how.shift, out.zero);
        return;
    }
#else
    (void)even_channels;
#endif
    for (int32_t o = 0; o < out_channels; o += 2) {
        const int32_t second = o + 1 < out_channels ? o + 1 : o;
        const int32_t bias0 = bias[o];
        const int32_t bias1 = bias[second];
        int32_t acc[2 * ML_CONV_DSP_PIXELS] = {bias0, bias1, bias0, bias1, bias0, bias1, bias0, bias1};
        weights = ml_conv_dsp_multiply(acc, weights, columns, quads);
        const ml_dsp_scale scale0 = ml_dsp_scale_of(how, o, out);
        const ml_dsp_scale scale1 = ml_dsp_scale_of(how, second, out);
        for (int32_t p = ML_CONV_DSP_PIXELS - 1; p >= 0; --p) {
            to[p][second] = ml_dsp_requantize(acc[2 * p + 1], scale1, out);
            to[p][o] = ml_dsp_requantize(acc[2 * p], scale0, out);
        }
    }
}

/* scratch: 32 bytes for each quad of K, then two runs, and what is left of all runs. even_channels promises that the
 * number of output channels is even. */
ML_INLINE void s8_conv2d__dsp_2x4(int8_t *y, const int8_t *x, const int8_t *weights, const int32_t *bias,
    void *scratch, int32_t kind, const float *scale, const int32_t *multiplier, const int8_t *shift,
    int32_t per_channel, int32_t full_range, int32_t even_channels, int32_t row_begin, int32_t row_end, int32_t x_ring,
    int32_t y_ring, int32_t height, int32_t width, int32_t channels, int32_t out_width, int32_t out_channels,
    int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h, int32_t dilation_w,
    int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_dsp_output out = {full_range, y_zero, low, high};
    const int32_t taps_per_run = dilation_w == 1 ? kernel_w : 1;
    const int32_t run_bytes = taps_per_run * channels;
    const int32_t quads = (kernel_h * kernel_w * channels + 3) >> 2;
    uint32_t *columns = (uint32_t *)scratch;
    int8_t *bytes = (int8_t *)(columns + ML_CONV_DSP_WORDS * quads);
    const ml_conv_dsp conv = {x, bytes, bytes + run_bytes, bytes + 2 * run_bytes, x_ring, height, width, channels,
        width * channels, dilation_h * width * channels, x_ring == 0 || x_ring == height ? height : 0,
        (kernel_h - 1) * dilation_h, (kernel_w - 1) * dilation_w, dilation_h,
        dilation_w == 1 ? kernel_w : dilation_w, taps_per_run == kernel_w, taps_per_run, run_bytes, x_zero};
    /* Whether the receptive field of every pixel is one pixel of the input, of whole quads. */
    const int32_t pointwise = kernel_h * kernel_w == 1 && (channels & 3) == 0 && pad_top == 0 && pad_left == 0
        && (out_width - 1) * stride_w < width && (row_end - 1) * stride_h < height;
    ml_conv_dsp_fill(bytes, run_bytes, x_zero);
    int8_t *to[ML_CONV_DSP_PIXELS];
    int32_t count = 0;
    for (int32_t oy = row_begin; oy < row_end; ++oy) {
        int8_t *row = y + ml_ring_row(oy, y_ring) * out_width * out_channels;
        const int8_t *from = pointwise ? x + ml_ring_row(oy * stride_h, x_ring) * conv.row_bytes : x;
        for (int32_t ox = 0; ox < out_width; ++ox) {
            if (pointwise) {
                (void)ml_conv_dsp_widen(columns + count, from, quads);
                from += stride_w * channels;
            } else {
                ml_conv_dsp_gather(&conv, columns + count, oy * stride_h - pad_top, ox * stride_w - pad_left);
            }
            to[count++] = row + ox * out_channels;
            if (oy + 1 == row_end && ox + 1 == out_width) {
                for (; count < ML_CONV_DSP_PIXELS; ++count) {
                    to[count] = to[0];
                }
            }
            if (count == ML_CONV_DSP_PIXELS) {
                ml_conv_dsp_channels(
                    to, weights, bias, columns, quads, out_channels, even_channels, how, out);
                count = 0;
            }
        }
    }
}

#endif
