/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* The inner loops of s8_conv2d_dsp.h, which states the order of weights and columns. */
#ifndef ML_S8_CONV2D_DSP_LOOPS_H
#define ML_S8_CONV2D_DSP_LOOPS_H

#include "s8_conv2d_dsp_gather.h"

/* How weights are stored: bytes; bytes of which each second channel is joined to the one before; or 16 bits. */
enum { ML_CONV_DSP_APART = 0, ML_CONV_DSP_JOINED = 1, ML_CONV_DSP_WIDE = 2 };

/* Products of a word x of one pixel with words v and w of two channels. */
#define ML_CONV_DSP_TWO(x, v, w, to_v, to_w, from_v, from_w)                                                          \
    "smlad " to_v ", " x ", " v ", " from_v "\n"                                                                      \
    "smlad " to_w ", " x ", " w ", " from_w "\n"

#define ML_CONV_DSP_NEXT_PIXELS                                                                                       \
    "ldr r7, [r1], #4\n"                                                                                              \
    "ldr r12, [r1], #4\n"

/* Products of 2 channels and 4 pixels (r1), of which two are loaded: added to the accumulators, which are, by pixel, in
 * r2 r3, r4 r5, r6 r8 and r9 r10. */
#define ML_CONV_DSP_ADD(v, w)                                                                                         \
    ML_CONV_DSP_TWO("r7", v, w, "r2", "r3", "r2", "r3")                                                               \
    ML_CONV_DSP_TWO("r12", v, w, "r4", "r5", "r4", "r5") ML_CONV_DSP_NEXT_PIXELS                                      \
    ML_CONV_DSP_TWO("r7", v, w, "r6", "r8", "r6", "r8")                                                               \
    ML_CONV_DSP_TWO("r12", v, w, "r9", "r10", "r9", "r10")

/* The first ones, where r9 and r10 hold the start of all. */
#define ML_CONV_DSP_START(v, w)                                                                                       \
    ML_CONV_DSP_TWO("r7", v, w, "r2", "r3", "r9", "r10")                                                              \
    ML_CONV_DSP_TWO("r12", v, w, "r4", "r5", "r9", "r10") ML_CONV_DSP_NEXT_PIXELS                                     \
    ML_CONV_DSP_TWO("r7", v, w, "r6", "r8", "r9", "r10")                                                              \
    ML_CONV_DSP_TWO("r12", v, w, "r9", "r10", "r9", "r10")

/* A pair of products: a word of weights (r0), 15 instructions of 4 bytes. */
#define ML_CONV_DSP_APART_PAIR(products)                                                                              \
    "ldr r11, [r0], #4\n" ML_CONV_DSP_NEXT_PIXELS                                                                     \
    "sxtb16 lr, r11, ror #8\n"                                                                                        \
    "sxtb16 r11, r11\n" products("r11", "lr")

/* Likewise where weights are joined, 14 instructions; the accumulators of each second channel sum both. */
#define ML_CONV_DSP_JOINED_PAIR(products)                                                                             \
    "ldr r11, [r0], #4\n" ML_CONV_DSP_NEXT_PIXELS                                                                     \
    "sxtb16 lr, r11\n" products("lr", "r11")

/* Likewise where weights have 16 bits: two words, 14 instructions. */
#define ML_CONV_DSP_WIDE_PAIR(products)                                                                               \
    "ldr r11, [r0], #4\n"                                                                                             \
    "ldr lr, [r0], #4\n" ML_CONV_DSP_NEXT_PIXELS products("r11", "lr")

#define ML_CONV_DSP_FOUR_PAIRS(pair)                                                                                  \
    pair(ML_CONV_DSP_ADD) pair(ML_CONV_DSP_ADD) pair(ML_CONV_DSP_ADD) pair(ML_CONV_DSP_ADD)

/* A turn of the loop over products. */
#define ML_CONV_DSP_TURN(pair) ML_CONV_DSP_FOUR_PAIRS(pair) ML_CONV_DSP_FOUR_PAIRS(pair)
#define ML_CONV_DSP_LONG_TURN(pair) ML_CONV_DSP_TURN(pair) ML_CONV_DSP_TURN(pair)

/* Bytes of a turn of that many pairs that are skipped at first. */
ML_INLINE int32_t ml_conv_dsp_skipped_bytes(int32_t pairs, int32_t turn, int32_t storage)
{
    return (-pairs & (turn - 1)) * (storage == ML_CONV_DSP_APART ? 15 * 4 : 14 * 4);
}

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
 * The first turn is entered in its middle where their number is no multiple of that of a turn. */
ML_INLINE const int8_t *ml_conv_dsp_multiply(
    int32_t acc[2 * ML_CONV_DSP_PIXELS], const int8_t *weights, const uint32_t *columns, int32_t quads, int32_t storage)
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
    register int32_t skipped_bytes __asm__("r12") = ml_conv_dsp_skipped_bytes(2 * quads, 8, storage);
    if (storage == ML_CONV_DSP_APART) {
        ML_CONV_DSP_MULTIPLY(ML_CONV_DSP_APART_PAIR);
    } else if (storage == ML_CONV_DSP_JOINED) {
        ML_CONV_DSP_MULTIPLY(ML_CONV_DSP_JOINED_PAIR);
    } else {
        ML_CONV_DSP_MULTIPLY(ML_CONV_DSP_WIDE_PAIR);
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

/* A quad of 2 channels and one pixel, the words of which lie 16 bytes apart: 12, 10 or 10 instructions of 4 bytes. */
#define ML_CONV_DSP_APART_QUAD                                                                                        \
    "ldr.w %[v0], [%[w]], #4\n"                                                                                       \
    "ldr.w %[v1], [%[w]], #4\n"                                                                                       \
    "ldr.w %[x0], [%[a]], #16\n"                                                                                      \
    "ldr.w %[x1], [%[a]], #16\n"                                                                                      \
    "sxtb16 %[u], %[v0], ror #8\n"                                                                                    \
    "sxtb16 %[v0], %[v0]\n"                                                                                           \
    "smlad %[acc1], %[x0], %[u], %[acc1]\n"                                                                           \
    "smlad %[acc0], %[x0], %[v0], %[acc0]\n"                                                                          \
    "sxtb16 %[u], %[v1], ror #8\n"                                                                                    \
    "sxtb16 %[v1], %[v1]\n"                                                                                           \
    "smlad %[acc1], %[x1], %[u], %[acc1]\n"                                                                           \
    "smlad %[acc0], %[x1], %[v1], %[acc0]\n"

#define ML_CONV_DSP_JOINED_QUAD                                                                                       \
    "ldr.w %[v0], [%[w]], #4\n"                                                                                       \
    "ldr.w %[v1], [%[w]], #4\n"                                                                                       \
    "ldr.w %[x0], [%[a]], #16\n"                                                                                      \
    "ldr.w %[x1], [%[a]], #16\n"                                                                                      \
    "sxtb16 %[u], %[v0]\n"                                                                                            \
    "smlad %[acc1], %[x0], %[v0], %[acc1]\n"                                                                          \
    "smlad %[acc0], %[x0], %[u], %[acc0]\n"                                                                           \
    "sxtb16 %[u], %[v1]\n"                                                                                            \
    "smlad %[acc1], %[x1], %[v1], %[acc1]\n"                                                                          \
    "smlad %[acc0], %[x1], %[u], %[acc0]\n"

#define ML_CONV_DSP_WIDE_QUAD                                                                                         \
    "ldr.w %[v0], [%[w]], #4\n"                                                                                       \
    "ldr.w %[u], [%[w]], #4\n"                                                                                        \
    "ldr.w %[x0], [%[a]], #16\n"                                                                                      \
    "ldr.w %[x1], [%[a]], #16\n"                                                                                      \
    "smlad %[acc0], %[x0], %[v0], %[acc0]\n"                                                                          \
    "smlad %[acc1], %[x0], %[u], %[acc1]\n"                                                                           \
    "ldr.w %[v1], [%[w]], #4\n"                                                                                       \
    "ldr.w %[u], [%[w]], #4\n"                                                                                        \
    "smlad %[acc0], %[x1], %[v1], %[acc0]\n"                                                                          \
    "smlad %[acc1], %[x1], %[u], %[acc1]\n"

#define ML_CONV_DSP_MULTIPLY_ALONE(quad)                                                                              \
    __asm__ volatile(                                                                                                 \
        "add pc, %[skipped]\n"                                                                                        \
        "nop\n"                                                                                                       \
        "1:\n" quad quad quad quad                                                                                    \
        "cmp %[a], %[end]\n"                                                                                          \
        "bne 1b"                                                                                                      \
        : [w] "+r"(w), [a] "+r"(a), [acc0] "+r"(acc0), [acc1] "+r"(acc1), [v0] "=&r"(v0), [v1] "=&r"(v1),             \
          [x0] "=&r"(x0), [x1] "=&r"(x1), [u] "=&r"(u)                                                                \
        : [end] "r"(end), [skipped] "r"(skipped_bytes)                                                                \
        : "cc", "memory")

/* The same for one pixel alone; column is its first word. */
ML_INLINE const int8_t *ml_conv_dsp_multiply_alone(
    int32_t acc[2], const int8_t *weights, const uint32_t *column, int32_t quads, int32_t storage)
{
    const int8_t *w = weights;
    const uint32_t *a = column;
    const uint32_t *const end = column + ML_CONV_DSP_WORDS * quads;
    const int32_t skipped_bytes = (-quads & 3) * (storage == ML_CONV_DSP_APART ? 12 * 4 : 10 * 4);
    int32_t acc0 = acc[0];
    int32_t acc1 = acc[1];
    uint32_t v0, v1, x0, x1, u;
    if (storage == ML_CONV_DSP_APART) {
        ML_CONV_DSP_MULTIPLY_ALONE(ML_CONV_DSP_APART_QUAD);
    } else if (storage == ML_CONV_DSP_JOINED) {
        ML_CONV_DSP_MULTIPLY_ALONE(ML_CONV_DSP_JOINED_QUAD);
    } else {
        ML_CONV_DSP_MULTIPLY_ALONE(ML_CONV_DSP_WIDE_QUAD);
    }
    acc[0] = acc0;
    acc[1] = acc1;
    return w;
}

#if ML_ARM_FPU
/*
 * An even number of channels of four pixels, for scales of each channel and the limits of int8, as one loop that keeps
 * in FPU registers what is needed once for each two channels. r7 is saved, for a compiler may keep its frame
 * there. The loop has a head, a requantization and a tail.
 */
#define ML_CONV_DSP_HEAD(start, pair, turn, end_of_sums)                                                              \
    "push {r7}\n"                                                                                                     \
    "2:\n"                                                                                                            \
    "vmov r7, %[bias]\n"                                                                                              \
    "ldm r7!, {r9, r10}\n"                                                                                            \
    "vmov %[bias], r7\n" start                                                                                        \
    "vmov r1, %[columns]\n" pair(ML_CONV_DSP_START)                                                                   \
    "vmov r12, %[skipped]\n"                                                                                          \
    "add pc, r12\n" /* pc reads as the address of this instruction plus 4 */                                          \
    "nop\n"                                                                                                           \
    "1:\n" turn(pair)                                                                                                 \
    "vmov r7, %[end]\n"                                                                                               \
    "cmp r1, r7\n"                                                                                                    \
    "bne 1b\n" end_of_sums

#define ML_CONV_DSP_APART_HEAD(end_of_sums) ML_CONV_DSP_HEAD("", ML_CONV_DSP_APART_PAIR, ML_CONV_DSP_TURN, end_of_sums)

/* Sums of two channels less those of the first one, 256 times too large. */
#define ML_CONV_DSP_JOINED_HEAD(bits, end_of_sums)                                                                    \
    ML_CONV_DSP_HEAD("add r10, r9, r10, lsl #8\n", ML_CONV_DSP_JOINED_PAIR, ML_CONV_DSP_TURN,                         \
        "sub r3, r3, r2\n"                                                                                            \
        "sub r5, r5, r4\n"                                                                                            \
        "sub r8, r8, r6\n"                                                                                            \
        "sub r10, r10, r9\n"                                                                                          \
        "asr r3, r3, #" bits "\n"                                                                                     \
        "asr r5, r5, #" bits "\n"                                                                                     \
        "asr r8, r8, #" bits "\n"                                                                                     \
        "asr r10, r10, #" bits "\n" end_of_sums)

#define ML_CONV_DSP_WIDE_HEAD ML_CONV_DSP_HEAD("", ML_CONV_DSP_WIDE_PAIR, ML_CONV_DSP_LONG_TURN, "")

/* Accumulators of each first or second channel twice. */
#define ML_CONV_DSP_TWICE(a, b, c, d)                                                                                 \
    "lsl " a ", " a ", #1\n"                                                                                          \
    "lsl " b ", " b ", #1\n"                                                                                          \
    "lsl " c ", " c ", #1\n"                                                                                          \
    "lsl " d ", " d ", #1\n"
#define ML_CONV_DSP_TWICE_FIRST ML_CONV_DSP_TWICE("r2", "r4", "r6", "r9")
#define ML_CONV_DSP_TWICE_SECOND ML_CONV_DSP_TWICE("r3", "r5", "r8", "r10")

#define ML_CONV_DSP_TAIL                                                                                              \
    "ssat r2, #8, r2\n"                                                                                               \
    "ssat r3, #8, r3\n"                                                                                               \
    "ssat r4, #8, r4\n"                                                                                               \
    "ssat r5, #8, r5\n"                                                                                               \
    "ssat r6, #8, r6\n"                                                                                               \
    "ssat r8, #8, r8\n"                                                                                               \
    "ssat r9, #8, r9\n"                                                                                               \
    "ssat r10, #8, r10\n"                                                                                             \
    "bfi r2, r3, #8, #8\n"                                                                                            \
    "bfi r4, r5, #8, #8\n"                                                                                            \
    "bfi r6, r8, #8, #8\n"                                                                                            \
    "bfi r9, r10, #8, #8\n"                                                                                           \
    "vmov r1, %[to]\n"                                                                                                \
    "ldm r1, {r7, r11, r12, lr}\n"                                                                                    \
    "vmov r1, %[o]\n"                                                                                                 \
    "strh r9, [lr, r1]\n"                                                                                             \
    "strh r6, [r12, r1]\n"                                                                                            \
    "strh r4, [r11, r1]\n"                                                                                            \
    "strh r2, [r7, r1]\n"                                                                                             \
    "adds r1, #2\n"                                                                                                   \
    "vmov %[o], r1\n"                                                                                                 \
    "vmov r11, %[count]\n"                                                                                            \
    "cmp r1, r11\n"                                                                                                   \
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

/* C99 promises 4,095 characters of a string, and the compilers that know this assembly take more. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverlength-strings"

ML_INLINE void ml_conv_dsp_even_channels(int8_t *const to[ML_CONV_DSP_PIXELS], const int8_t *weights,
    const int32_t *bias, const uint32_t *columns, int32_t quads, int32_t out_channels, const float *scale,
    int32_t zero, int32_t storage)
{
    register const int8_t *w __asm__("r0") = weights;
    const uint32_t *const end = columns + ML_CONV_DSP_WORDS * quads;
    const int32_t skipped_bytes =
        ml_conv_dsp_skipped_bytes(2 * quads - 1, storage == ML_CONV_DSP_WIDE ? 16 : 8, storage);
    int32_t o = 0;
    if (storage == ML_CONV_DSP_APART) {
        ML_CONV_DSP_EVEN_CHANNELS(ML_CONV_DSP_APART_HEAD(""));
    } else if (storage == ML_CONV_DSP_JOINED) {
        ML_CONV_DSP_EVEN_CHANNELS(ML_CONV_DSP_JOINED_HEAD("8", ""));
    } else {
        ML_CONV_DSP_EVEN_CHANNELS(ML_CONV_DSP_WIDE_HEAD);
    }
}

/* acc = the high product of twice an accumulator, plus the offset, shifted: ml_dsp_requantize but for the clamp. */
#define ML_CONV_DSP_SCALE(acc, multiplier, offset, bits)                                                              \
    "smmlar " acc ", " acc ", " multiplier ", " offset "\n"                                                           \
    "asr " acc ", " acc ", " bits "\n"

#define ML_CONV_DSP_EVEN_CHANNELS_FIXED(head)                                                                         \
    __asm__ volatile(head                                                                                             \
        "vmov r1, %[shift]\n"                                                                                         \
        "ldrb r12, [r1], #1\n"                                                                                        \
        "ldrb lr, [r1], #1\n"                                                                                         \
        "vmov %[shift], r1\n"                                                                                         \
        "vmov r1, %[multiplier]\n"                                                                                    \
        "ldm r1!, {r7, r11}\n"                                                                                        \
        "vmov %[multiplier], r1\n"                                                                                    \
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
        ML_CONV_DSP_SCALE("r10", "r11", "r1", "lr") ML_CONV_DSP_TAIL                                                  \
        : "+r"(w), [bias] "+t"(bias), [multiplier] "+t"(multiplier), [shift] "+t"(shift), [o] "+t"(o)                 \
        : [columns] "t"(columns), [end] "t"(end), [skipped] "t"(skipped_bytes), [twice_zero] "t"(twice_zero),         \
          [to] "t"(to), [count] "t"(out_channels)                                                                     \
        : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory")

ML_INLINE void ml_conv_dsp_even_channels_fixed(int8_t *const to[ML_CONV_DSP_PIXELS], const int8_t *weights,
    const int32_t *bias, const uint32_t *columns, int32_t quads, int32_t out_channels, const int32_t *multiplier,
    const int8_t *shift, int32_t zero, int32_t storage)
{
    register const int8_t *w __asm__("r0") = weights;
    const uint32_t *const end = columns + ML_CONV_DSP_WORDS * quads;
    const int32_t skipped_bytes =
        ml_conv_dsp_skipped_bytes(2 * quads - 1, storage == ML_CONV_DSP_WIDE ? 16 : 8, storage);
    const int32_t twice_zero = 2 * zero + 1;
    int32_t o = 0;
    if (storage == ML_CONV_DSP_APART) {
        ML_CONV_DSP_EVEN_CHANNELS_FIXED(ML_CONV_DSP_APART_HEAD(ML_CONV_DSP_TWICE_FIRST ML_CONV_DSP_TWICE_SECOND));
    } else if (storage == ML_CONV_DSP_JOINED) {
        ML_CONV_DSP_EVEN_CHANNELS_FIXED(ML_CONV_DSP_JOINED_HEAD("7", ML_CONV_DSP_TWICE_FIRST));
    } else {
        ML_CONV_DSP_EVEN_CHANNELS_FIXED(ML_CONV_DSP_WIDE_HEAD);
    }
}
#pragma GCC diagnostic pop
#endif

#endif
