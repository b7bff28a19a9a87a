/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float addition, subtraction and product of two tensors, with broadcasting. */
#ifndef ML_F32_BINARY_H
#define ML_F32_BINARY_H

#include "f32_block.h"

enum { ML_F32_ADD = 0, ML_F32_SUB = 1, ML_F32_MUL = 2 };

ML_INLINE float ml_f32_binary_one(float a, float b, int32_t operation, int32_t clamped, float low, float high)
{
    const float value = operation == ML_F32_ADD ? a + b : operation == ML_F32_SUB ? a - b : a * b;
    return ml_f32_finish(value, clamped, low, high);
}

/* As the kernels of s8_binary.h. */
#define ML_F32_BINARY_STRIDED(name, operation)                                                                         \
    ML_INLINE void name(float *y, const float *a, const float *b, int32_t row_begin, int32_t row_end, int32_t a_ring,  \
        int32_t b_ring, int32_t y_ring, int32_t n0, int32_t n1, int32_t n2, int32_t n3, int32_t as0, int32_t as1,      \
        int32_t as2, int32_t as3, int32_t bs0, int32_t bs1, int32_t bs2, int32_t bs3, int32_t clamped, float low,      \
        float high)                                                                                                    \
    {                                                                                                                  \
        for (int32_t i = 0; i < n0; ++i) {                                                                             \
            for (int32_t row = row_begin; row < row_end; ++row) {                                                      \
                const float *a_row = a + i * as0 + ml_ring_row(row, a_ring) * as1;                                     \
                const float *b_row = b + i * bs0 + ml_ring_row(row, b_ring) * bs1;                                     \
                float *out = y + (i * n1 + ml_ring_row(row, y_ring)) * n2 * n3;                                        \
                for (int32_t j = 0; j < n2; ++j) {                                                                     \
                    for (int32_t k = 0; k < n3; ++k) {                                                                 \
                        *out++ = ml_f32_binary_one(                                                                    \
                            a_row[j * as2 + k * as3], b_row[j * bs2 + k * bs3], operation, clamped, low, high);        \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

#define ML_F32_BINARY_FLAT(name, operation)                                                                            \
    ML_INLINE void name(float *y, const float *a, const float *b, int32_t row_begin, int32_t row_end,                  \
        int32_t row_elements, int32_t clamped, float low, float high)                                                  \
    {                                                                                                                  \
        for (int32_t i = row_begin * row_elements; i < row_end * row_elements; ++i) {                                  \
            y[i] = ml_f32_binary_one(a[i], b[i], operation, clamped, low, high);                                       \
        }                                                                                                              \
    }

ML_F32_BINARY_STRIDED(f32_add__portable, ML_F32_ADD)
ML_F32_BINARY_STRIDED(f32_sub__portable, ML_F32_SUB)
ML_F32_BINARY_STRIDED(f32_mul__portable, ML_F32_MUL)
ML_F32_BINARY_FLAT(f32_add__flat, ML_F32_ADD)
ML_F32_BINARY_FLAT(f32_sub__flat, ML_F32_SUB)
ML_F32_BINARY_FLAT(f32_mul__flat, ML_F32_MUL)

#endif
