/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 fully connected: 4 outputs at a time, on SMLAD.
 *
 * A row of x is widened to 16 bits once (`wide`). weights: 4 outputs t, u, v, w, of which t and v have had 128 added
 * and are unsigned; each quad is the bytes t0 u0 t2 u2, v0 w0 v2 w2, t1 u1 t3 u3, v1 w1 v3 w3, padded to whole quads
 * and to a multiple of 4 outputs. Half a word is 256 * u + t as it stands, so the product of x and the word as it was
 * loaded is 256 * acc_u + acc_t, modulo 2^32; UXTB16 gives t alone, and u needs no instruction. 128 times the sum of x
 * is taken off acc_t. The bias has had x_zero times the sum of each output's weights taken off.
 */
#ifndef ML_S8_FULLY_CONNECTED_DSP_H
#define ML_S8_FULLY_CONNECTED_DSP_H

#include "ml_dsp.h"

/* Sums over a piece of this many quads are less than 2^23 in magnitude. */
enum { ML_FULLY_CONNECTED_DSP_LANES = 4, ML_FULLY_CONNECTED_DSP_PIECE = 124 };

/* Widen `depth` bytes; the bytes that fill the last quad are zero. Returns their sum. */
ML_INLINE int32_t ml_fully_connected_dsp_widen(uint32_t *wide, const int8_t *x, int32_t depth)
{
    const uint32_t ones = 0x00010001u;
    int32_t sum = 0;
    for (; depth >= 4; depth -= 4) {
        const uint32_t word = ml_dsp_load(x);
        wide[0] = ml_dsp_widen_even(word);
        wide[1] = ml_dsp_widen_odd(word);
        sum = ml_dsp_dot(wide[1], ones, ml_dsp_dot(wide[0], ones, sum));
        x += 4;
        wide += 2;
    }
    if (depth > 0) {
        uint32_t word = 0;
        for (int32_t i = 0; i < depth; ++i) {
            word |= (uint32_t)(uint8_t)x[i] << (8 * i);
        }
        wide[0] = ml_dsp_widen_even(word);
        wide[1] = ml_dsp_widen_odd(word);
        sum = ml_dsp_dot(wide[1], ones, ml_dsp_dot(wide[0], ones, sum));
    }
    return sum;
}

/* A pair of products of 4 outputs (r0) and x (r1): 9 instructions of 4 bytes. */
#define ML_FULLY_CONNECTED_DSP_PAIR                                                                                   \
    "ldr.w r3, [r1], #4\n"                                                                                            \
    "ldr.w r9, [r0], #4\n"                                                                                            \
    "ldr.w r10, [r0], #4\n"                                                                                           \
    "uxtb16 r12, r9\n"                                                                                                \
    "smlad r5, r3, r9, r5\n"                                                                                          \
    "smlad r4, r3, r12, r4\n"                                                                                         \
    "uxtb16 r12, r10\n"                                                                                               \
    "smlad r6, r3, r12, r6\n"                                                                                         \
    "smlad r8, r3, r10, r8\n"

/* Add `quads` (1 to a piece) quads of 4 outputs to acc; returns the weights that follow. Four quads a turn; the first
 * turn is entered in its middle where their number is no multiple of four. */
ML_INLINE const int8_t *ml_fully_connected_dsp_multiply(
    int32_t acc[ML_FULLY_CONNECTED_DSP_LANES], const int8_t *weights, const uint32_t *wide, int32_t quads)
{
    register const int8_t *w __asm__("r0") = weights;
    register const uint32_t *at __asm__("r1") = wide;
    register const uint32_t *end __asm__("r2") = wide + 2 * quads;
    register int32_t skipped_bytes __asm__("r3") = 2 * 9 * 4 * (-quads & 3);
    register int32_t acc0 __asm__("r4") = 0;
    register int32_t acc1 __asm__("r5") = 0;
    register int32_t acc2 __asm__("r6") = 0;
    register int32_t acc3 __asm__("r8") = 0;
    __asm__ volatile(
        "add pc, r3\n" /* pc reads as the address of this instruction plus 4 */
        "nop\n"
        "1:\n" ML_FULLY_CONNECTED_DSP_PAIR ML_FULLY_CONNECTED_DSP_PAIR ML_FULLY_CONNECTED_DSP_PAIR
            ML_FULLY_CONNECTED_DSP_PAIR ML_FULLY_CONNECTED_DSP_PAIR ML_FULLY_CONNECTED_DSP_PAIR
                ML_FULLY_CONNECTED_DSP_PAIR ML_FULLY_CONNECTED_DSP_PAIR
        "cmp r1, r2\n"
        "bne 1b"
        : "+r"(w), "+r"(at), "+r"(acc0), "+r"(acc1), "+r"(acc2), "+r"(acc3), "+r"(skipped_bytes)
        : "r"(end)
        : "r9", "r10", "r12", "cc", "memory");
    acc[0] += acc0;
    acc[1] += (int32_t)((uint32_t)acc1 - (uint32_t)acc0) >> 8;
    acc[2] += acc2;
    acc[3] += (int32_t)((uint32_t)acc3 - (uint32_t)acc2) >> 8;
    return w;
}

/* The outputs of one row, which has been widened and sums to `sum`. */
ML_INLINE void ml_fully_connected_dsp_outputs(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT weights,
    const int32_t *ML_RESTRICT bias, const uint32_t *ML_RESTRICT wide, int32_t sum, int32_t quads,
    int32_t out_channels, ml_requant how, ml_dsp_output out)
{
    const int32_t start = -128 * sum;
    for (int32_t o = 0; o < out_channels; o += ML_FULLY_CONNECTED_DSP_LANES) {
        int32_t acc[ML_FULLY_CONNECTED_DSP_LANES] = {start, 0, start, 0};
        for (int32_t first = 0; first < quads; first += ML_FULLY_CONNECTED_DSP_PIECE) {
            const int32_t some = ml_min(quads - first, ML_FULLY_CONNECTED_DSP_PIECE);
            weights = ml_fully_connected_dsp_multiply(acc, weights, wide + 2 * first, some);
        }
        for (int32_t lane = 0; lane < ML_FULLY_CONNECTED_DSP_LANES && o + lane < out_channels; ++lane) {
            y[o + lane] = ml_dsp_requantize(acc[lane] + bias[o + lane], ml_dsp_scale_of(how, o + lane, out), out);
        }
    }
}

/* scratch: 8 bytes for each quad of depth; the last row of x may lie in its second half. y may lie over rows that are
 * read no more. */
ML_INLINE void s8_fully_connected__dsp_1x4(int8_t *y, const int8_t *x, const int8_t *ML_RESTRICT weights,
    const int32_t *ML_RESTRICT bias, void *scratch, int32_t kind, const float *ML_RESTRICT scale,
    const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t full_range,
    int32_t rows, int32_t depth, int32_t out_channels, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_dsp_output out = {full_range, y_zero, low, high};
    uint32_t *wide = (uint32_t *)scratch;
    for (int32_t row = 0; row < rows; ++row, x += depth, y += out_channels) {
        const int32_t sum = ml_fully_connected_dsp_widen(wide, x, depth);
        ml_fully_connected_dsp_outputs(y, weights, bias, wide, sum, (depth + 3) >> 2, out_channels, how, out);
    }
}

#endif
