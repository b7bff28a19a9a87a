/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 addition, subtraction and product of two tensors, with broadcasting. */
#ifndef ML_S8_BINARY_H
#define ML_S8_BINARY_H

#include "ml_common.h"

enum { ML_ADD = 0, ML_SUB = 1, ML_MUL = 2 };

/* Requantization of a sum: ML_FLOAT reads scale[0..1] (a/y and b/y), ML_FIXED reads three multipliers and shifts (a, b,
 * sum), the operands having been shifted left by ML_SUM_SHIFT bits. Of a product: one factor. */
enum { ML_SUM_SHIFT = 20 };

typedef struct {
    int32_t operation;
    ml_requant how;
    int32_t a_zero;
    int32_t b_zero;
    int32_t y_zero;
    int32_t low;
    int32_t high;
} ml_s8_binary;

ML_INLINE int32_t ml_s8_sum_float(int32_t a, int32_t b, const ml_s8_binary *op)
{
    ML_NO_CONTRACTION
    const float left = ml_rounded((float)a * op->how.scale[0]);
    const float right = ml_rounded((float)b * op->how.scale[1]);
    const float sum = op->operation == ML_SUB ? left - right : left + right;
    return ml_round_clamp(sum, op->y_zero, op->low, op->high);
}

ML_INLINE int32_t ml_s8_sum_fixed(int32_t a, int32_t b, const ml_s8_binary *op)
{
    const int32_t *multiplier = op->how.multiplier;
    const int8_t *shift = op->how.shift;
    const int32_t left = ml_multiply_by_quantized_multiplier_away(a * (1 << ML_SUM_SHIFT), multiplier[0], shift[0]);
    const int32_t right = ml_multiply_by_quantized_multiplier_away(b * (1 << ML_SUM_SHIFT), multiplier[1], shift[1]);
    const int32_t sum = op->operation == ML_SUB ? left - right : left + right;
    const int32_t scaled = ml_multiply_by_quantized_multiplier_away(sum, multiplier[2], shift[2]);
    return ml_clamp(scaled, op->low - op->y_zero, op->high - op->y_zero) + op->y_zero;
}

ML_INLINE int32_t ml_s8_product_fixed(int32_t a, int32_t b, const ml_s8_binary *op)
{
    const ml_requant how = op->how;
    const int32_t scaled = ml_multiply_by_quantized_multiplier_away(a * b, how.multiplier[0], how.shift[0]);
    return ml_clamp(scaled, op->low - op->y_zero, op->high - op->y_zero) + op->y_zero;
}

ML_INLINE int8_t ml_s8_binary_one(int32_t a, int32_t b, const ml_s8_binary *op)
{
    a -= op->a_zero;
    b -= op->b_zero;
    if (op->how.kind == ML_FLOAT) {
        return (int8_t)(op->operation == ML_MUL
                ? ml_round_clamp((float)(a * b) * op->how.scale[0], op->y_zero, op->low, op->high)
                : ml_s8_sum_float(a, b, op));
    }
    return (int8_t)(op->operation == ML_MUL ? ml_s8_product_fixed(a, b, op) : ml_s8_sum_fixed(a, b, op));
}

/* Rows [row_begin, row_end) along axis 1 of a result of n0 x . x n2 x n3; as and bs are strides in elements. */
ML_INLINE void ml_s8_binary_strided(int8_t *y, const int8_t *a, const int8_t *b, const ml_s8_binary *op,
    int32_t row_begin, int32_t row_end, int32_t a_ring, int32_t b_ring, int32_t y_ring, int32_t n0, int32_t n1,
    int32_t n2, int32_t n3, int32_t as0, int32_t as1, int32_t as2, int32_t as3, int32_t bs0, int32_t bs1, int32_t bs2,
    int32_t bs3)
{
    for (int32_t i = 0; i < n0; ++i) {
        for (int32_t row = row_begin; row < row_end; ++row) {
            const int8_t *a_row = a + i * as0 + ml_ring_row(row, a_ring) * as1;
            const int8_t *b_row = b + i * bs0 + ml_ring_row(row, b_ring) * bs1;
            int8_t *out = y + (i * n1 + ml_ring_row(row, y_ring)) * n2 * n3;
            for (int32_t j = 0; j < n2; ++j) {
                for (int32_t k = 0; k < n3; ++k) {
                    *out++ = ml_s8_binary_one(a_row[j * as2 + k * as3], b_row[j * bs2 + k * bs3], op);
                }
            }
        }
    }
}

/* The same where both operands and the result have one shape and lie without gaps: whole rows are one run. */
ML_INLINE void ml_s8_binary_flat(int8_t *y, const int8_t *a, const int8_t *b, const ml_s8_binary *op,
    int32_t row_begin, int32_t row_end, int32_t row_elements)
{
    for (int32_t i = row_begin * row_elements; i < row_end * row_elements; ++i) {
        y[i] = ml_s8_binary_one(a[i], b[i], op);
    }
}

/* y may lie at or before a and b, where their strides are those of y. */
#define ML_S8_BINARY_STRIDED(name, operation)                                                                          \
    ML_INLINE void name(int8_t *y, const int8_t *a, const int8_t *b, int32_t kind, const float *scale,                 \
        const int32_t *multiplier, const int8_t *shift, int32_t row_begin, int32_t row_end, int32_t a_ring,            \
        int32_t b_ring, int32_t y_ring, int32_t n0, int32_t n1, int32_t n2, int32_t n3, int32_t as0, int32_t as1,      \
        int32_t as2, int32_t as3, int32_t bs0, int32_t bs1, int32_t bs2, int32_t bs3, int32_t a_zero, int32_t b_zero,  \
        int32_t y_zero, int32_t low, int32_t high)                                                                     \
    {                                                                                                                  \
        const ml_s8_binary op = {                                                                                      \
            operation, ml_make_requant(kind, scale, multiplier, shift, 0), a_zero, b_zero, y_zero, low, high};         \
        ml_s8_binary_strided(y, a, b, &op, row_begin, row_end, a_ring, b_ring, y_ring, n0, n1, n2, n3, as0, as1, as2,  \
            as3, bs0, bs1, bs2, bs3);                                                                                  \
    }

#define ML_S8_BINARY_FLAT(name, operation)                                                                             \
    ML_INLINE void name(int8_t *y, const int8_t *a, const int8_t *b, int32_t kind, const float *scale,                 \
        const int32_t *multiplier, const int8_t *shift, int32_t row_begin, int32_t row_end, int32_t row_elements,      \
        int32_t a_zero, int32_t b_zero, int32_t y_zero, int32_t low, int32_t high)                                     \
    {                                                                                                                  \
        const ml_s8_binary op = {                                                                                      \
            operation, ml_make_requant(kind, scale, multiplier, shift, 0), a_zero, b_zero, y_zero, low, high};         \
        ml_s8_binary_flat(y, a, b, &op, row_begin, row_end, row_elements);                                             \
    }

ML_S8_BINARY_STRIDED(s8_add__portable, ML_ADD)
ML_S8_BINARY_STRIDED(s8_sub__portable, ML_SUB)
ML_S8_BINARY_STRIDED(s8_mul__portable, ML_MUL)
ML_S8_BINARY_FLAT(s8_add__flat, ML_ADD)
ML_S8_BINARY_FLAT(s8_sub__flat, ML_SUB)
ML_S8_BINARY_FLAT(s8_mul__flat, ML_MUL)

#endif
