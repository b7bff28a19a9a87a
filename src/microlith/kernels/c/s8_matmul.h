/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 product of two activations. */
#ifndef ML_S8_MATMUL_H
#define ML_S8_MATMUL_H

#include "ml_common.h"

enum { ML_S8_MATMUL_LANES = 4 };

/* acc[lane] = sum over k of (a[k * a_step] - a_zero) * (b[k * b_step + lane * b_lane] - b_zero). */
ML_INLINE void ml_s8_matmul_lanes(int32_t *acc, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step,
    int32_t b_lane, int32_t depth, int32_t lanes, int32_t a_zero, int32_t b_zero)
{
    for (int32_t lane = 0; lane < lanes; ++lane) {
        acc[lane] = 0;
    }
    for (int32_t k = 0; k < depth; ++k, b += b_step) {
        const int32_t value = a[k * a_step] - a_zero;
        for (int32_t lane = 0; lane < lanes; ++lane) {
            acc[lane] += value * (b[lane * b_lane] - b_zero);
        }
    }
}

/* y[i, m, n] = requantize(sum over k of (a[i, m, k] - a_zero) * (b[i, k, n] - b_zero)), at the given strides in
 * elements; a batch stride of 0 repeats, and columns of y lie next to each other. */
ML_INLINE void s8_matmul__portable(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT a, const int8_t *ML_RESTRICT b,
    int32_t kind, const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier,
    const int8_t *ML_RESTRICT shift, int32_t batch, int32_t rows, int32_t depth, int32_t columns,
    int32_t a_batch_stride, int32_t a_row_stride, int32_t a_stride, int32_t b_batch_stride, int32_t b_row_stride,
    int32_t b_stride, int32_t y_batch_stride, int32_t y_row_stride, int32_t a_zero, int32_t b_zero, int32_t y_zero,
    int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, 0);
    for (int32_t i = 0; i < batch; ++i, a += a_batch_stride, b += b_batch_stride, y += y_batch_stride) {
        for (int32_t row = 0; row < rows; ++row) {
            const int8_t *line = a + row * a_row_stride;
            int8_t *out = y + row * y_row_stride;
            int32_t lanes;
            for (int32_t column = 0; column < columns; column += lanes) {
                const int8_t *start = b + column * b_stride;
                int32_t acc[ML_S8_MATMUL_LANES];
                lanes = columns - column >= ML_S8_MATMUL_LANES ? ML_S8_MATMUL_LANES : 1;
                if (lanes == 1) {
                    ml_s8_matmul_lanes(acc, line, a_stride, start, b_row_stride, b_stride, depth, 1, a_zero, b_zero);
                } else {
                    ml_s8_matmul_lanes(acc, line, a_stride, start, b_row_stride, b_stride, depth, ML_S8_MATMUL_LANES,
                        a_zero, b_zero);
                }
                for (int32_t lane = 0; lane < lanes; ++lane) {
                    *out++ = (int8_t)ml_requantize(acc[lane], how, 0, y_zero, low, high);
                }
            }
        }
    }
}

#endif
