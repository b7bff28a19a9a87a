/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* The inner loops of s8_depthwise_conv2d_dsp.h, which states how its lines lie. */
#ifndef ML_S8_DEPTHWISE_CONV2D_DSP_LOOPS_H
#define ML_S8_DEPTHWISE_CONV2D_DSP_LOOPS_H

#include "s8_depthwise_conv2d_dsp_turn.h"

/* Widened weights of one channel by row of the window: first[i] = (w0, w1), last[i] = (w1, w2); doubled where the
 * requantization takes doubled accumulators. */
typedef struct {
    uint32_t first[3];
    uint32_t last[3];
} ml_depthwise_dsp_weights;

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
    "smmulr r10, r10, r2\n"                                                                                           \
    "smmulr r11, r11, r2\n"                                                                                           \
    "vmov r2, %[offset]\n"                                                                                            \
    "add r10, r10, r2\n"                                                                                              \
    "add r11, r11, r2\n"                                                                                              \
    "vmov r2, %[bits]\n"                                                                                              \
    "asr r10, r10, r2\n"                                                                                              \
    "asr r11, r11, r2\n"

#define ML_DEPTHWISE_DSP_FIXED_ONE                                                                                    \
    "vmov r2, %[multiplier]\n"                                                                                        \
    "smmulr r10, r10, r2\n"                                                                                           \
    "vmov r2, %[offset]\n"                                                                                            \
    "add r10, r10, r2\n"                                                                                              \
    "vmov r2, %[bits]\n"                                                                                              \
    "asr r10, r10, r2\n"

/*
 * Two rows of outputs and two columns at a time, in r10 and r11 (above) and r12 and lr (below); r2 and r7 are the words
 * of two of the four rows. A last column of an odd number is stored over the one beside it, which comes first.
 */
#define ML_DEPTHWISE_DSP_WORDS(first, second)                                                                         \
    "ldr r2, [r0, #" #first "]\n"                                                                                     \
    "ldr r7, [r0, #" #second "]\n"

/* Left words (x0, x1) by weights (w0, w1) of one row of the window, for the outputs that start at x0 and at x1. */
#define ML_DEPTHWISE_DSP_LEFT(x, w, a, b, from_a, from_b)                                                             \
    "smlad " a ", " x ", " w ", " from_a "\n"                                                                         \
    "smlabt " b ", " w ", " x ", " from_b "\n"

/* Right words (x2, x3) by weights (w1, w2). */
#define ML_DEPTHWISE_DSP_RIGHT(x, w, a, b)                                                                            \
    "smlabt " a ", " x ", " w ", " a "\n"                                                                             \
    "smlad " b ", " x ", " w ", " b "\n"

#define ML_DEPTHWISE_DSP_FOUR                                                                                         \
    "push {r7}\n"                                                                                                     \
    "1:\n"                                                                                                            \
    "vmov lr, %[bias]\n" ML_DEPTHWISE_DSP_WORDS(0, 16)                                                                \
    ML_DEPTHWISE_DSP_LEFT("r2", "r3", "r10", "r11", "lr", "lr")                                                       \
    ML_DEPTHWISE_DSP_LEFT("r7", "r5", "r10", "r11", "r10", "r11")                                                     \
    ML_DEPTHWISE_DSP_LEFT("r7", "r3", "r12", "lr", "lr", "lr") ML_DEPTHWISE_DSP_WORDS(32, 48)                         \
    ML_DEPTHWISE_DSP_LEFT("r2", "r8", "r10", "r11", "r10", "r11")                                                     \
    ML_DEPTHWISE_DSP_LEFT("r2", "r5", "r12", "lr", "r12", "lr")                                                       \
    ML_DEPTHWISE_DSP_LEFT("r7", "r8", "r12", "lr", "r12", "lr")                                                       \
    "vmov r2, %[step]\n"                                                                                              \
    "add r0, r0, r2\n" ML_DEPTHWISE_DSP_WORDS(0, 16)                                                                  \
    ML_DEPTHWISE_DSP_RIGHT("r2", "r4", "r10", "r11")                                                                  \
    ML_DEPTHWISE_DSP_RIGHT("r7", "r6", "r10", "r11")                                                                  \
    ML_DEPTHWISE_DSP_RIGHT("r7", "r4", "r12", "lr") ML_DEPTHWISE_DSP_WORDS(32, 48)                                    \
    ML_DEPTHWISE_DSP_RIGHT("r2", "r9", "r10", "r11")                                                                  \
    ML_DEPTHWISE_DSP_RIGHT("r2", "r6", "r12", "lr")                                                                   \
    ML_DEPTHWISE_DSP_RIGHT("r7", "r9", "r12", "lr")

#define ML_DEPTHWISE_DSP_STORE_FOUR                                                                                   \
    "vmov r2, %[channels]\n"                                                                                          \
    "vmov r7, %[end]\n"                                                                                               \
    "cmp r0, r7\n"                                                                                                    \
    "it eq\n"                                                                                                         \
    "vmoveq r2, %[last_channels]\n"                                                                                   \
    "vmov r7, %[row_bytes]\n"                                                                                         \
    "ssat r10, #8, r10\n"                                                                                             \
    "ssat r11, #8, r11\n"                                                                                             \
    "ssat r12, #8, r12\n"                                                                                             \
    "ssat lr, #8, lr\n"                                                                                               \
    "strb r11, [r1, r2]\n"                                                                                            \
    "strb r10, [r1]\n"                                                                                                \
    "add r11, r7, r2\n"                                                                                               \
    "strb lr, [r1, r11]\n"                                                                                            \
    "strb r12, [r1, r7]\n"                                                                                            \
    "add r1, r1, r2, lsl #1\n"                                                                                        \
    "bne 1b\n"

#define ML_DEPTHWISE_DSP_NEXT_ROWS                                                                                    \
    "vmov r0, %[line]\n"                                                                                              \
    "vmov r1, %[place]\n"                                                                                             \
    "vmov r10, %[end]\n"                                                                                              \
    "vmov r2, %[line_step]\n"                                                                                         \
    "add r0, r0, r2\n"                                                                                                \
    "add r1, r1, r7, lsl #1\n"                                                                                        \
    "add r10, r10, r2\n"                                                                                              \
    "vmov r2, %[last]\n"                                                                                              \
    "vmov %[line], r0\n"                                                                                              \
    "vmov %[place], r1\n"                                                                                             \
    "vmov %[end], r10\n"                                                                                              \
    "cmp r0, r2\n"                                                                                                    \
    "bne 1b\n"                                                                                                        \
    "pop {r7}"

#define ML_DEPTHWISE_DSP_FLOAT_FOUR                                                                                   \
    "vmov s0, s1, r10, r11\n"                                                                                         \
    "vmov s2, s3, r12, lr\n"                                                                                          \
    "vcvt.f32.s32 s0, s0\n"                                                                                           \
    "vcvt.f32.s32 s1, s1\n"                                                                                           \
    "vcvt.f32.s32 s2, s2\n"                                                                                           \
    "vcvt.f32.s32 s3, s3\n"                                                                                           \
    "vmul.f32 s0, s0, %[scale]\n"                                                                                     \
    "vmul.f32 s1, s1, %[scale]\n"                                                                                     \
    "vmul.f32 s2, s2, %[scale]\n"                                                                                     \
    "vmul.f32 s3, s3, %[scale]\n"                                                                                     \
    "vcvtr.s32.f32 s0, s0\n"                                                                                          \
    "vcvtr.s32.f32 s1, s1\n"                                                                                          \
    "vcvtr.s32.f32 s2, s2\n"                                                                                          \
    "vcvtr.s32.f32 s3, s3\n"                                                                                          \
    "vmov r10, r11, s0, s1\n"                                                                                         \
    "vmov r12, lr, s2, s3\n"                                                                                          \
    "vmov r2, %[zero]\n"                                                                                              \
    "qadd r10, r10, r2\n"                                                                                             \
    "qadd r11, r11, r2\n"                                                                                             \
    "qadd r12, r12, r2\n"                                                                                             \
    "qadd lr, lr, r2\n"

#define ML_DEPTHWISE_DSP_FIXED_FOUR                                                                                   \
    "vmov r2, %[multiplier]\n"                                                                                        \
    "vmov r7, %[offset]\n"                                                                                            \
    "smmlar r10, r10, r2, r7\n"                                                                                       \
    "smmlar r11, r11, r2, r7\n"                                                                                       \
    "smmlar r12, r12, r2, r7\n"                                                                                       \
    "smmlar lr, lr, r2, r7\n"                                                                                         \
    "vmov r2, %[bits]\n"                                                                                              \
    "asr r10, r10, r2\n"                                                                                              \
    "asr r11, r11, r2\n"                                                                                              \
    "asr r12, r12, r2\n"                                                                                              \
    "asr lr, lr, r2\n"

/* A column stride of 2, two outputs of a row in r10 and r11; right words of the second one stay for the next turn. */
#define ML_DEPTHWISE_DSP_PAIR                                                                                         \
    "push {r7}\n"                                                                                                     \
    "3:\n" ML_DEPTHWISE_DSP_LOAD                                                                                      \
    "1:\n"                                                                                                            \
    "vmov r11, %[bias]\n"                                                                                             \
    "vmov r2, %[step]\n"                                                                                              \
    "smlad r10, r7, r3, r11\n"                                                                                        \
    "smlad r10, r12, r5, r10\n"                                                                                       \
    "smlad r10, lr, r8, r10\n"                                                                                        \
    "add r0, r0, r2\n" ML_DEPTHWISE_DSP_LOAD                                                                          \
    "smlabt r10, r7, r4, r10\n"                                                                                       \
    "smlad r11, r7, r3, r11\n"                                                                                        \
    "smlabt r10, r12, r6, r10\n"                                                                                      \
    "smlad r11, r12, r5, r11\n"                                                                                       \
    "smlabt r10, lr, r9, r10\n"                                                                                       \
    "smlad r11, lr, r8, r11\n"                                                                                        \
    "add r0, r0, r2\n" ML_DEPTHWISE_DSP_LOAD                                                                          \
    "smlabt r11, r7, r4, r11\n"                                                                                       \
    "smlabt r11, r12, r6, r11\n"                                                                                      \
    "smlabt r11, lr, r9, r11\n"

#define ML_DEPTHWISE_DSP_STORE_PAIR                                                                                   \
    "vmov r2, %[channels]\n"                                                                                          \
    "ssat r10, #8, r10\n"                                                                                             \
    "ssat r11, #8, r11\n"                                                                                             \
    "strb r10, [r1]\n"                                                                                                \
    "strb r11, [r1, r2]\n"                                                                                            \
    "add r1, r1, r2, lsl #1\n"                                                                                        \
    "vmov r2, %[end]\n"                                                                                               \
    "cmp r0, r2\n"                                                                                                    \
    "bne 1b\n"

/* `rows` output rows (at least 1), row_bytes apart; a turn of the inner loop makes two neighbouring outputs where the
 * column stride is 1, and a last one follows. */
#define ML_DEPTHWISE_DSP_LOOP(name, text, turn_steps, rows_at_once, ...)                                              \
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
        const uint32_t *end = from + turns * (turn_steps) * one.step;                                                 \
        int8_t *place = to;                                                                                           \
        __asm__ volatile(text                                                                                         \
            : "+r"(at), "+r"(y), [line] "+t"(line), [end] "+t"(end), [place] "+t"(place)                              \
            : "r"(first0), "r"(last0), "r"(first1), "r"(last1), "r"(first2), "r"(last2), [bias] "t"(one.bias),        \
              [step] "t"(4 * one.step), [channels] "t"(one.channels), [odd] "t"(one.count & 1),                       \
              [last_channels] "t"(one.count & 1 ? 0 : one.channels),                                                  \
              [line_step] "t"(4 * (rows_at_once) * one.line_step), [row_bytes] "t"(row_bytes),                        \
              [last] "t"(from + rows * (rows_at_once) * one.line_step), __VA_ARGS__                                   \
            : "r2", "r10", "r11", "r12", "lr", "s0", "s1", "s2", "s3", "cc", "memory");                               \
    }

#define ML_DEPTHWISE_DSP_FLOAT [scale] "t"(one.scale.scale), [zero] "t"(one.out.zero)
#define ML_DEPTHWISE_DSP_SHORT                                                                                        \
    [multiplier] "t"(one.scale.multiplier), [offset] "t"(one.scale.offset), [bits] "t"(one.scale.shift)

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_four_float,
    ML_DEPTHWISE_DSP_FOUR ML_DEPTHWISE_DSP_FLOAT_FOUR ML_DEPTHWISE_DSP_STORE_FOUR ML_DEPTHWISE_DSP_NEXT_ROWS,
    1, 2, ML_DEPTHWISE_DSP_FLOAT)

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_four_fixed,
    ML_DEPTHWISE_DSP_FOUR ML_DEPTHWISE_DSP_FIXED_FOUR ML_DEPTHWISE_DSP_STORE_FOUR ML_DEPTHWISE_DSP_NEXT_ROWS,
    1, 2, ML_DEPTHWISE_DSP_SHORT)

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_two_float,
    ML_DEPTHWISE_DSP_TWO ML_DEPTHWISE_DSP_FLOAT_TWO ML_DEPTHWISE_DSP_STORE_TWO ML_DEPTHWISE_DSP_ONE
        ML_DEPTHWISE_DSP_FLOAT_ONE ML_DEPTHWISE_DSP_STORE_ONE ML_DEPTHWISE_DSP_NEXT_ROW,
    1, 1, ML_DEPTHWISE_DSP_FLOAT)

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_two_fixed,
    ML_DEPTHWISE_DSP_TWO ML_DEPTHWISE_DSP_FIXED_TWO ML_DEPTHWISE_DSP_STORE_TWO ML_DEPTHWISE_DSP_ONE
        ML_DEPTHWISE_DSP_FIXED_ONE ML_DEPTHWISE_DSP_STORE_ONE ML_DEPTHWISE_DSP_NEXT_ROW,
    1, 1, ML_DEPTHWISE_DSP_SHORT)

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_pair_float,
    ML_DEPTHWISE_DSP_PAIR ML_DEPTHWISE_DSP_FLOAT_TWO ML_DEPTHWISE_DSP_STORE_PAIR ML_DEPTHWISE_DSP_NEXT_ROW,
    2, 1, ML_DEPTHWISE_DSP_FLOAT)

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_pair_fixed,
    ML_DEPTHWISE_DSP_PAIR ML_DEPTHWISE_DSP_FIXED_TWO ML_DEPTHWISE_DSP_STORE_PAIR ML_DEPTHWISE_DSP_NEXT_ROW,
    2, 1, ML_DEPTHWISE_DSP_SHORT)

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_one_float,
    ML_DEPTHWISE_DSP_ALONE ML_DEPTHWISE_DSP_FLOAT_ONE ML_DEPTHWISE_DSP_STORE_ALONE ML_DEPTHWISE_DSP_NEXT_ROW,
    1, 1, ML_DEPTHWISE_DSP_FLOAT)

ML_DEPTHWISE_DSP_LOOP(ml_depthwise_dsp_one_fixed,
    ML_DEPTHWISE_DSP_ALONE ML_DEPTHWISE_DSP_FIXED_ONE ML_DEPTHWISE_DSP_STORE_ALONE ML_DEPTHWISE_DSP_NEXT_ROW,
    1, 1, ML_DEPTHWISE_DSP_SHORT)

/* The one of the kind, which is known where this is expanded. */
#define ML_DEPTHWISE_DSP_CHOOSE(loop, to, from, rows, turns)                                                          \
    if (one.scale.kind == ML_FLOAT) {                                                                                 \
        loop##_float(to, row_bytes, from, rows, turns, one);                                                          \
    } else {                                                                                                          \
        loop##_fixed(to, row_bytes, from, rows, turns, one);                                                          \
    }

/* `rows` output rows by the loops that serve; two at a time where their lines overlap. */
ML_INLINE void ml_depthwise_dsp_loops(
    int8_t *y, int32_t row_bytes, const uint32_t *line, int32_t rows, int32_t stride, ml_depthwise_dsp_channel one)
{
    if (stride == 1) {
        const int32_t pairs = one.line_step == ML_DEPTHWISE_DSP_LANES ? rows >> 1 : 0;
        if (pairs > 0) {
            ML_DEPTHWISE_DSP_CHOOSE(ml_depthwise_dsp_four, y, line, pairs, (one.count + 1) >> 1)
        }
        if (2 * pairs < rows) {
            ML_DEPTHWISE_DSP_CHOOSE(ml_depthwise_dsp_two, y + 2 * pairs * row_bytes,
                line + 2 * pairs * one.line_step, rows - 2 * pairs, one.count >> 1)
        }
    } else if (one.count & 1) {
        ML_DEPTHWISE_DSP_CHOOSE(ml_depthwise_dsp_one, y, line, rows, one.count)
    } else {
        ML_DEPTHWISE_DSP_CHOOSE(ml_depthwise_dsp_pair, y, line, rows, one.count >> 1)
    }
}

#endif

#endif
