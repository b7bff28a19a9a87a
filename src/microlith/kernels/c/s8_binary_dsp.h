/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * int8 sum and difference of two tensors of one shape with the requantization ML_FIXED, on SMMLA.
 *
 * The three multipliers are doubled modulo 2^32 and their shifts are to the right (see ML_DSP_FIXED). The shift of an
 * operand is 0 where its scale is the greater one: then its rescaling is a shift to the left by 19 and rounds nothing.
 */
#ifndef ML_S8_BINARY_DSP_H
#define ML_S8_BINARY_DSP_H

#include "ml_dsp.h"

enum { ML_SUM_DSP_SHIFT = 20 };

/* value / 2^bits, ties away from zero, plus an offset; half is 2^bits / 2 plus the offset times 2^bits. */
ML_INLINE int32_t ml_dsp_shift_away(int32_t value, int32_t half, int32_t bits)
{
    return (value + (value >> 31) + half) >> bits;
}

typedef struct {
    int32_t twice;
    int32_t bits;
    int32_t half;
    int32_t start; /* minus the zero point, shifted left */
} ml_sum_dsp_operand;

ML_INLINE ml_sum_dsp_operand ml_sum_dsp_operand_of(int32_t twice, int32_t bits, int32_t zero)
{
    const int32_t half = bits > 0 ? 1 << (bits - 1) : 0;
    const int32_t one_shifted = 1 << (bits > 0 ? ML_SUM_DSP_SHIFT : ML_SUM_DSP_SHIFT - 1);
    const ml_sum_dsp_operand one = {twice, bits, half, -zero * one_shifted};
    return one;
}

/* One operand rescaled; `greater` promises that its scale is the greater one. */
ML_INLINE int32_t ml_sum_dsp_rescale(int32_t value, ml_sum_dsp_operand one, int32_t greater)
{
    if (greater) {
        return one.start + value * (1 << (ML_SUM_DSP_SHIFT - 1));
    }
    const int32_t shifted = one.start + value * (1 << ML_SUM_DSP_SHIFT);
    return ml_dsp_shift_away(ml_dsp_high_multiply(shifted, one.twice, 0), one.half, one.bits);
}

typedef struct {
    int32_t subtract;
    int32_t a_greater;
    int32_t b_greater;
    ml_sum_dsp_operand a;
    ml_sum_dsp_operand b;
    int32_t twice;
    int32_t bits;
    int32_t half;
    ml_dsp_output out;
} ml_sum_dsp;

ML_INLINE int8_t ml_sum_dsp_one(int32_t a, int32_t b, const ml_sum_dsp *op)
{
    const int32_t left = ml_sum_dsp_rescale(a, op->a, op->a_greater);
    const int32_t right = ml_sum_dsp_rescale(b, op->b, op->b_greater);
    const int32_t sum = op->subtract ? left - right : left + right;
    const int32_t scaled = ml_dsp_shift_away(ml_dsp_high_multiply(sum, op->twice, 0), op->half, op->bits);
    return (int8_t)(op->out.full_range ? ml_dsp_saturate_s8(scaled) : ml_clamp(scaled, op->out.low, op->out.high));
}

/* `count` elements; y may lie at or before a and b. */
ML_INLINE void ml_sum_dsp_run(int8_t *y, const int8_t *a, const int8_t *b, int32_t count, const ml_sum_dsp *op)
{
    const int8_t *const end = a + count;
    while (end - a >= 4) {
        const uint32_t four_a = ml_dsp_load(a);
        const uint32_t four_b = ml_dsp_load(b);
        y[0] = ml_sum_dsp_one((int8_t)four_a, (int8_t)four_b, op);
        y[1] = ml_sum_dsp_one((int8_t)(four_a >> 8), (int8_t)(four_b >> 8), op);
        y[2] = ml_sum_dsp_one((int8_t)(four_a >> 16), (int8_t)(four_b >> 16), op);
        y[3] = ml_sum_dsp_one((int8_t)(four_a >> 24), (int8_t)(four_b >> 24), op);
        a += 4;
        b += 4;
        y += 4;
    }
    while (a < end) {
        *y++ = ml_sum_dsp_one(*a++, *b++, op);
    }
}

ML_INLINE void ml_sum_dsp_rows(int8_t *y, const int8_t *a, const int8_t *b, const int32_t *multiplier,
    const int8_t *shift, int32_t subtract, int32_t a_greater, int32_t b_greater, int32_t row_begin, int32_t row_end,
    int32_t a_ring, int32_t b_ring, int32_t y_ring, int32_t row_elements, int32_t a_zero, int32_t b_zero,
    ml_dsp_output out)
{
    const int32_t bits = shift[2];
    const ml_sum_dsp op = {subtract, a_greater, b_greater, ml_sum_dsp_operand_of(multiplier[0], shift[0], a_zero),
        ml_sum_dsp_operand_of(multiplier[1], shift[1], b_zero), multiplier[2], bits,
        (int32_t)((uint32_t)(2 * out.zero + 1) << bits) >> 1, out};
    if (a_ring == 0 && b_ring == 0 && y_ring == 0) {
        const int32_t first = row_begin * row_elements;
        ml_sum_dsp_run(y + first, a + first, b + first, (row_end - row_begin) * row_elements, &op);
        return;
    }
    for (int32_t row = row_begin; row < row_end; ++row) {
        ml_sum_dsp_run(y + ml_ring_row(row, y_ring) * row_elements, a + ml_ring_row(row, a_ring) * row_elements,
            b + ml_ring_row(row, b_ring) * row_elements, row_elements, &op);
    }
}

#define ML_SUM_DSP(name, subtract)                                                                                     \
    ML_INLINE void name(int8_t *y, const int8_t *a, const int8_t *b, const int32_t *multiplier, const int8_t *shift,   \
        int32_t full_range, int32_t a_greater, int32_t b_greater, int32_t row_begin, int32_t row_end, int32_t a_ring,  \
        int32_t b_ring, int32_t y_ring, int32_t row_elements, int32_t a_zero, int32_t b_zero, int32_t y_zero,          \
        int32_t low, int32_t high)                                                                                     \
    {                                                                                                                  \
        const ml_dsp_output out = {full_range, y_zero, low, high};                                                     \
        ml_sum_dsp_rows(y, a, b, multiplier, shift, subtract, a_greater, b_greater, row_begin, row_end, a_ring,        \
            b_ring, y_ring, row_elements, a_zero, b_zero, out);                                                        \
    }

ML_SUM_DSP(s8_add__dsp_1x4, 0)
ML_SUM_DSP(s8_sub__dsp_1x4, 1)

#endif
