/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 sum and difference of two tensors of one shape with the requantization ML_FIXED on MVE, four at a time. */
#ifndef ML_S8_BINARY_MVE_H
#define ML_S8_BINARY_MVE_H

#include "ml_mve.h"

enum { ML_SUM_MVE_SHIFT = 20 };

/* values * multiplier * 2^(shift - 31) for a shift of at most 0, the second rounding with ties away from zero: a
 * negative value less 1 rounds a tie up to where the value itself would round it down. */
ML_INLINE int32x4_t ml_mve_scale_away(int32x4_t values, int32_t multiplier, int32_t shift)
{
    values = vqrdmulhq_n_s32(values, multiplier);
    if (shift < 0) {
        values = vrshlq_n_s32(vaddq_s32(values, vshrq_n_s32(values, 31)), shift);
    }
    return values;
}

typedef struct {
    int32_t subtract;
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t a_zero;
    int32_t b_zero;
    ml_mve_output out;
} ml_sum_mve;

/* `count` elements; y may lie at or before a and b. */
ML_INLINE void ml_sum_mve_run(int8_t *y, const int8_t *a, const int8_t *b, int32_t count, const ml_sum_mve *op)
{
    for (int32_t i = 0; i < count; i += ML_MVE_LANES) {
        const mve_pred16_t valid = vctp32q((uint32_t)(count - i));
        int32x4_t left = vshlq_n_s32(vsubq_n_s32(vldrbq_z_s32(a + i, valid), op->a_zero), ML_SUM_MVE_SHIFT);
        int32x4_t right = vshlq_n_s32(vsubq_n_s32(vldrbq_z_s32(b + i, valid), op->b_zero), ML_SUM_MVE_SHIFT);
        left = ml_mve_scale_away(left, op->multiplier[0], op->shift[0]);
        right = ml_mve_scale_away(right, op->multiplier[1], op->shift[1]);
        int32x4_t sum = op->subtract ? vsubq_s32(left, right) : vaddq_s32(left, right);
        sum = ml_mve_scale_away(sum, op->multiplier[2], op->shift[2]);
        sum = vmaxq_s32(sum, vdupq_n_s32(op->out.low - op->out.zero));
        sum = vminq_s32(sum, vdupq_n_s32(op->out.high - op->out.zero));
        vstrbq_p_s32(y + i, vaddq_n_s32(sum, op->out.zero), valid);
    }
}

#define ML_SUM_MVE(name, subtract)                                                                                     \
    ML_INLINE void name(int8_t *y, const int8_t *a, const int8_t *b, const int32_t *multiplier, const int8_t *shift,   \
        int32_t row_begin, int32_t row_end, int32_t a_ring, int32_t b_ring, int32_t y_ring, int32_t row_elements,      \
        int32_t a_zero, int32_t b_zero, int32_t y_zero, int32_t low, int32_t high)                                     \
    {                                                                                                                  \
        const ml_mve_output out = {y_zero, low, high};                                                                 \
        const ml_sum_mve op = {subtract, multiplier, shift, a_zero, b_zero, out};                                      \
        for (int32_t row = row_begin; row < row_end; ++row) {                                                          \
            ml_sum_mve_run(y + ml_ring_row(row, y_ring) * row_elements, a + ml_ring_row(row, a_ring) * row_elements,   \
                b + ml_ring_row(row, b_ring) * row_elements, row_elements, &op);                                       \
        }                                                                                                              \
    }

ML_SUM_MVE(s8_add__mve_1x4, 0)
ML_SUM_MVE(s8_sub__mve_1x4, 1)

#endif
