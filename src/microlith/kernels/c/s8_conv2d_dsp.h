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
 *
 * Where `joined`, half a word is the number 256 * w + v (so the byte of w is one less where v is negative). The product
 * with the word as it was loaded then sums 256 * acc_w + acc_v modulo 2^32, which gives acc_w where it is less than
 * 2^23 in magnitude, and only v is widened.
 */
#ifndef ML_S8_CONV2D_DSP_H
#define ML_S8_CONV2D_DSP_H

#include "s8_conv2d_dsp_gather.h"

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

/* The same where weights are joined: 14 instructions; r3, r5, r8 and r10 hold sums of both channels. */
#define ML_CONV_DSP_JOINED_PAIR                                                                                       \
    "ldr r11, [r0], #4\n"                                                                                             \
    "ldr r7, [r1], #4\n"                                                                                              \
    "ldr r12, [r1], #4\n"                                                                                             \
    "sxtb16 lr, r11\n"                                                                                                \
    "smlad r3, r7, r11, r3\n"                                                                                         \
    "smlad r2, r7, lr, r2\n"                                                                                          \
    "smlad r5, r12, r11, r5\n"                                                                                        \
    "smlad r4, r12, lr, r4\n"                                                                                         \
    "ldr r7, [r1], #4\n"                                                                                              \
    "ldr r12, [r1], #4\n"                                                                                             \
    "smlad r8, r7, r11, r8\n"                                                                                         \
    "smlad r6, r7, lr, r6\n"                                                                                          \
    "smlad r10, r12, r11, r10\n"                                                                                      \
    "smlad r9, r12, lr, r9\n"

/* Four quads; bytes of one pair. */
#define ML_CONV_DSP_TURN(pair) pair pair pair pair pair pair pair pair
#define ML_CONV_DSP_PAIR_BYTES(joined) ((joined) ? 14 * 4 : 15 * 4)

#define ML_CONV_DSP_MULTIPLY(pair)                                                                                    \
    __asm__ volatile(                                                                                                 \
        "push {r7, r11}\n"                                                                                            \
        "add pc, r12\n" /* pc reads as the address of this instruction plus 4 */                                      \
        "nop\n"                                                                                                       \
        "1:\n" ML_CONV_DSP_TURN(pair)                                                                                 \
        "ldr r7, [sp, #4]\n"                                                                                          \
        "cmp r1, r7\n"                                                                                                \
        "bne 1b\n"                                                                                                    \
        "pop {r7, r11}"                                                                                               \
        : "+r"(w), "+r"(a), "+r"(acc0), "+r"(acc1), "+r"(acc2), "+r"(acc3), "+r"(acc4), "+r"(acc5), "+r"(acc6),       \
          "+r"(acc7), "+r"(end), "+r"(skipped_bytes)                                                                  \
        :                                                                                                             \
        : "lr", "cc", "memory")

/* Accumulate `quads` (at least 1) quads of 2 channels and 4 pixels; acc[2 * pixel + channel]. Returns the weights of
 * the next two channels. All registers but sp and r7 are named; r7 is saved, for a compiler may keep its frame there.
 * Four quads a turn; the first turn is entered in its middle where their number is no multiple of four. */
ML_INLINE const int8_t *ml_conv_dsp_multiply(
    int32_t acc[2 * ML_CONV_DSP_PIXELS], const int8_t *weights, const uint32_t *columns, int32_t quads, int32_t joined)
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
    register int32_t skipped_bytes __asm__("r12") = 2 * ML_CONV_DSP_PAIR_BYTES(joined) * (-quads & 3);
    if (joined) {
        ML_CONV_DSP_MULTIPLY(ML_CONV_DSP_JOINED_PAIR);
    } else {
        ML_CONV_DSP_MULTIPLY(ML_CONV_DSP_PAIR);
    }
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
#define ML_CONV_DSP_HEAD(start, pair, end_of_sums)                                                                    \
    "push {r7}\n"                                                                                                     \
    "2:\n"                                                                                                            \
    "vmov r7, %[bias]\n"                                                                                              \
    "ldr r2, [r7], #4\n"                                                                                              \
    "ldr r3, [r7], #4\n"                                                                                              \
    "vmov %[bias], r7\n" start                                                                                        \
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
    "1:\n" ML_CONV_DSP_TURN(pair)                                                                                     \
    "vmov r7, %[end]\n"                                                                                               \
    "cmp r1, r7\n"                                                                                                    \
    "bne 1b\n" end_of_sums

#define ML_CONV_DSP_APART_HEAD ML_CONV_DSP_HEAD("", ML_CONV_DSP_PAIR, "")

#define ML_CONV_DSP_JOINED_HEAD                                                                                       \
    ML_CONV_DSP_HEAD("add r3, r2, r3, lsl #8\n", ML_CONV_DSP_JOINED_PAIR,                                             \
        "sub r3, r3, r2\n"                                                                                            \
        "sub r5, r5, r4\n"                                                                                            \
        "sub r8, r8, r6\n"                                                                                            \
        "sub r10, r10, r9\n"                                                                                          \
        "asr r3, r3, #8\n"                                                                                            \
        "asr r5, r5, #8\n"                                                                                            \
        "asr r8, r8, #8\n"                                                                                            \
        "asr r10, r10, #8\n")

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

#define ML_CONV_DSP_EVEN_CHANNELS(head)                                                                               \
    __asm__ volatile(head                                                                                             \
        "vmov r7, %[scale]\n"                                                                                         \
        "vldmia r7!, {s0, s1}\n"                                                                                      \
        "vmov %[scale], r7\n"                                                                                         \
        "vmov s2, s3, r2, r3\n"                                                                                       \
        "vmov s4, s5, r4, r5\n"                                                                                       \
        "vmov s6, s7, r6, r8\n"                                                                                       \
        "vmov s8, s9, r9, r10\n"                                                                                      \
        "vcvt.f32.s32 s2, s2\n"                                                                                       \
        "vcvt.f32.s32 s3, s3\n"                                                                                       \
        "vcvt.f32.s32 s4, s4\n"                                                                                       \
        "vcvt.f32.s32 s5, s5\n"                                                                                       \
        "vcvt.f32.s32 s6, s6\n"                                                                                       \
        "vcvt.f32.s32 s7, s7\n"                                                                                       \
        "vcvt.f32.s32 s8, s8\n"                                                                                       \
        "vcvt.f32.s32 s9, s9\n"                                                                                       \
        "vmul.f32 s2, s2, s0\n"                                                                                       \
        "vmul.f32 s3, s3, s1\n"                                                                                       \
        "vmul.f32 s4, s4, s0\n"                                                                                       \
        "vmul.f32 s5, s5, s1\n"                                                                                       \
        "vmul.f32 s6, s6, s0\n"                                                                                       \
        "vmul.f32 s7, s7, s1\n"                                                                                       \
        "vmul.f32 s8, s8, s0\n"                                                                                       \
        "vmul.f32 s9, s9, s1\n"                                                                                       \
        "vcvtr.s32.f32 s2, s2\n"                                                                                      \
        "vcvtr.s32.f32 s3, s3\n"                                                                                      \
        "vcvtr.s32.f32 s4, s4\n"                                                                                      \
        "vcvtr.s32.f32 s5, s5\n"                                                                                      \
        "vcvtr.s32.f32 s6, s6\n"                                                                                      \
        "vcvtr.s32.f32 s7, s7\n"                                                                                      \
        "vcvtr.s32.f32 s8, s8\n"                                                                                      \
        "vcvtr.s32.f32 s9, s9\n"                                                                                      \
        "vmov r2, r3, s2, s3\n"                                                                                       \
        "vmov r4, r5, s4, s5\n"                                                                                       \
        "vmov r6, r8, s6, s7\n"                                                                                       \
        "vmov r9, r10, s8, s9\n"                                                                                      \
        "vmov r7, %[zero]\n"                                                                                          \
        "qadd r2, r2, r7\n"                                                                                           \
        "qadd r3, r3, r7\n"                                                                                           \
        "qadd r4, r4, r7\n"                                                                                           \
        "qadd r5, r5, r7\n"                                                                                           \
        "qadd r6, r6, r7\n"                                                                                           \
        "qadd r8, r8, r7\n"                                                                                           \
        "qadd r9, r9, r7\n"                                                                                           \
        "qadd r10, r10, r7\n" ML_CONV_DSP_TAIL                                                                        \
        : "+r"(w), [bias] "+t"(bias), [scale] "+t"(scale), [o] "+t"(o)                                                \
        : [columns] "t"(columns), [end] "t"(end), [skipped] "t"(skipped_bytes), [zero] "t"(zero), [to] "t"(to),       \
          [count] "t"(out_channels)                                                                                   \
        : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "s0", "s1", "s2", "s3", "s4",    \
          "s5", "s6", "s7", "s8", "s9", "cc", "memory")

ML_INLINE void ml_conv_dsp_even_channels(int8_t *const to[ML_CONV_DSP_PIXELS], const int8_t *weights,
    const int32_t *bias, const uint32_t *columns, int32_t quads, int32_t out_channels, const float *scale,
    int32_t zero, int32_t joined)
{
    register const int8_t *w __asm__("r0") = weights;
    const uint32_t *const end = columns + ML_CONV_DSP_WORDS * quads;
    const int32_t skipped_bytes = 2 * ML_CONV_DSP_PAIR_BYTES(joined) * (-quads & 3);
    int32_t o = 0;
    if (joined) {
        ML_CONV_DSP_EVEN_CHANNELS(ML_CONV_DSP_JOINED_HEAD);
    } else {
        ML_CONV_DSP_EVEN_CHANNELS(ML_CONV_DSP_APART_HEAD);
    }
}

/* acc = the high product of acc and twice, plus the offset, shifted: ml_dsp_requantize of ML_DSP_FIXED but for the
 * clamp; r0 is lost. */
#define ML_CONV_DSP_SCALE(acc, twice, offset, bits)                                                                   \
    "add r0, " acc ", " offset "\n"                                                                                   \
    "smmlar " acc ", " acc ", " twice ", r0\n"                                                                        \
    "asr " acc ", " acc ", " bits "\n"

#define ML_CONV_DSP_EVEN_CHANNELS_FIXED(head)                                                                         \
    __asm__ volatile(head                                                                                             \
        "vmov s0, r0\n"                                                                                               \
        "vmov r0, %[shift]\n"                                                                                         \
        "ldrb r12, [r0], #1\n"                                                                                        \
        "ldrb lr, [r0], #1\n"                                                                                         \
        "vmov %[shift], r0\n"                                                                                         \
        "vmov r0, %[multiplier]\n"                                                                                    \
        "ldr r7, [r0], #4\n"                                                                                          \
        "ldr r11, [r0], #4\n"                                                                                         \
        "vmov %[multiplier], r0\n"                                                                                    \
        "vmov r1, %[twice_zero]\n"                                                                                    \
        "lsl r1, r1, r12\n"                                                                                           \
        "asr r1, r1, #1\n"                                                                                            \
        ML_CONV_DSP_SCALE("r2", "r7", "r1", "r12")                                                                    \
        ML_CONV_DSP_SCALE("r4", "r7", "r1", "r12")                                                                    \
        ML_CONV_DSP_SCALE("r6", "r7", "r1", "r12")                                                                    \
        ML_CONV_DSP_SCALE("r9", "r7", "r1", "r12")                                                                    \
        "vmov r1, %[twice_zero]\n"                                                                                    \
        "lsl r1, r1, lr\n"                                                                                            \
        "asr r1, r1, #1\n"                                                                                            \
        ML_CONV_DSP_SCALE("r3", "r11", "r1", "lr")                                                                    \
        ML_CONV_DSP_SCALE("r5", "r11", "r1", "lr")                                                                    \
        ML_CONV_DSP_SCALE("r8", "r11", "r1", "lr")                                                                    \
        ML_CONV_DSP_SCALE("r10", "r11", "r1", "lr")                                                                   \
        "vmov r0, s0\n" ML_CONV_DSP_TAIL                                                                              \
        : "+r"(w), [bias] "+t"(bias), [multiplier] "+t"(multiplier), [shift] "+t"(shift), [o] "+t"(o)                 \
        : [columns] "t"(columns), [end] "t"(end), [skipped] "t"(skipped_bytes), [twice_zero] "t"(twice_zero),         \
          [to] "t"(to), [count] "t"(out_channels)                                                                     \
        : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "s0", "cc", "memory")

ML_INLINE void ml_conv_dsp_even_channels_fixed(int8_t *const to[ML_CONV_DSP_PIXELS], const int8_t *weights,
    const int32_t *bias, const uint32_t *columns, int32_t quads, int32_t out_channels, const int32_t *multiplier,
    const int8_t *shift, int32_t zero, int32_t joined)
{
    register const int8_t *w __asm__("r0") = weights;
    const uint32_t *const end = columns + ML_CONV_DSP_WORDS * quads;
    const int32_t skipped_bytes = 2 * ML_CONV_DSP_PAIR_BYTES(joined) * (-quads & 3);
    const int32_t twice_zero = 2 * zero + 1;
    int32_t o = 0;
    if (joined) {
        ML_CONV_DSP_EVEN_CHANNELS_FIXED(ML_CONV_DSP_JOINED_HEAD);
    } else {
        ML_CONV_DSP_EVEN_CHANNELS_FIXED(ML_CONV_DSP_APART_HEAD);
    }
}
#endif

/* All output channels of the pixels gathered. Results are stored from the last to the first, so that what is not wanted
 * can be stored where a wanted result follows: a pixel that is not there has the address of the first one, and a second
 * channel that is not there that of the channel before. */
ML_INLINE void ml_conv_dsp_channels(int8_t *const to[ML_CONV_DSP_PIXELS], const int8_t *weights, const int32_t *bias,
    const uint32_t *columns, int32_t quads, int32_t out_channels, int32_t even_channels, int32_t joined,
    ml_requant how, ml_dsp_output out)
{
#if ML_ARM_FPU
    if (even_channels && how.per_channel && out.full_range && how.kind == ML_FLOAT) {
        ml_conv_dsp_even_channels(to, weights, bias, columns, quads, out_channels, how.scale, out.zero, joined);
        return;
    }
    if (even_channels && how.per_channel && out.full_range && how.kind == ML_DSP_FIXED) {
        ml_conv_dsp_even_channels_fixed(
            to, weights, bias, columns, quads, out_channels, how.multiplier, how.shift, out.zero, joined);
        return;
    }
#else
    (void)even_channels;
#endif
    for (int32_t o = 0; o < out_channels; o += 2) {
        const int32_t second = o + 1 < out_channels ? o + 1 : o;
        const int32_t bias0 = bias[o];
        const int32_t bias1 = joined ? (int32_t)((uint32_t)bias[second] * 256u + (uint32_t)bias0) : bias[second];
        int32_t acc[2 * ML_CONV_DSP_PIXELS] = {bias0, bias1, bias0, bias1, bias0, bias1, bias0, bias1};
        weights = ml_conv_dsp_multiply(acc, weights, columns, quads, joined);
        const ml_dsp_scale scale0 = ml_dsp_scale_of(how, o, out);
        const ml_dsp_scale scale1 = ml_dsp_scale_of(how, second, out);
        for (int32_t p = ML_CONV_DSP_PIXELS - 1; p >= 0; --p) {
            const int32_t both = acc[2 * p + 1];
            const int32_t acc1 = joined ? (int32_t)((uint32_t)both - (uint32_t)acc[2 * p]) >> 8 : both;
            to[p][second] = ml_dsp_requantize(acc1, scale1, out);
            to[p][o] = ml_dsp_requantize(acc[2 * p], scale0, out);
        }
    }
}

/* scratch: 32 bytes for each quad of K, then two runs, and what is left of all runs. even_channels promises that the
 * number of output channels is even. */
ML_INLINE void s8_conv2d__dsp_2x4(int8_t *y, const int8_t *x, const int8_t *weights, const int32_t *bias,
    void *scratch, int32_t kind, const float *scale, const int32_t *multiplier, const int8_t *shift,
    int32_t per_channel, int32_t full_range, int32_t even_channels, int32_t joined, int32_t row_begin, int32_t row_end,
    int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels, int32_t out_width,
    int32_t out_channels,
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
                    to, weights, bias, columns, quads, out_channels, even_channels, joined, how, out);
                count = 0;
            }
        }
    }
}

#endif
