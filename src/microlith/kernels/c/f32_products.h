/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float products of matrices. */
#ifndef ML_F32_PRODUCTS_H
#define ML_F32_PRODUCTS_H

#include "f32_block.h"

/* y[r, o] = clamp(bias[o] + sum over k of x[r, k] * w[o, k]); weights are [O / 8, rounded up][K][8], filled up with
 * zeros. */
ML_INLINE void f32_fully_connected__portable(float *ML_RESTRICT y, const float *ML_RESTRICT x,
    const float *ML_RESTRICT weights, const float *ML_RESTRICT bias, int32_t rows, int32_t depth, int32_t out_channels,
    int32_t clamped, float low, float high)
{
    int32_t count;
    for (int32_t row = 0; row < rows; row += count) {
        const float *in = x + row * depth;
        const float *w = weights;
        count = rows - row >= ML_F32_ROWS ? ML_F32_ROWS : 1;
        for (int32_t o = 0; o < out_channels; o += ML_F32_LANES, w += depth * ML_F32_LANES) {
            const int32_t valid = out_channels - o;
            float *out = y + row * out_channels + o;
            float acc[ML_F32_ROWS][ML_F32_LANES];
            if (count == 1) {
                ml_f32_start(acc, bias + o, valid, 1);
                ml_f32_block(acc, in, depth, w, ML_F32_LANES, depth, 1, ML_F32_LANES);
                ml_f32_store(out, out_channels, acc, valid, 1, clamped, low, high);
            } else {
                ml_f32_start(acc, bias + o, valid, ML_F32_ROWS);
                ml_f32_block(acc, in, depth, w, ML_F32_LANES, depth, ML_F32_ROWS, ML_F32_LANES);
                ml_f32_store(out, out_channels, acc, valid, ML_F32_ROWS, clamped, low, high);
            }
        }
    }
}

/* acc[row][lane] += sum over k of x[row * x_row + k * x_step] * w[k * w_step + lane * w_lane]. */
ML_INLINE void ml_f32_strided_block(float acc[][ML_F32_LANES], const float *x, int32_t x_row, int32_t x_step,
    const float *w, int32_t w_step, int32_t w_lane, int32_t depth, int32_t rows, int32_t lanes)
{
    for (int32_t k = 0; k < depth; ++k, w += w_step) {
        for (int32_t row = 0; row < rows; ++row) {
            const float value = x[row * x_row + k * x_step];
            for (int32_t lane = 0; lane < lanes; ++lane) {
                acc[row][lane] += value * w[lane * w_lane];
            }
        }
    }
}

/* acc = sums of products as in ml_f32_strided_block; rows are ML_F32_ROWS or 1, lanes ML_F32_LANES or 1. */
ML_INLINE void ml_f32_strided_tile(float acc[][ML_F32_LANES], const float *x, int32_t x_row, int32_t x_step,
    const float *w, int32_t w_step, int32_t w_lane, int32_t depth, int32_t rows, int32_t lanes)
{
    ml_f32_start(acc, (const float *)0, 0, ML_F32_ROWS);
    if (lanes == 1) {
        for (int32_t row = 0; row < rows; ++row) {
            ml_f32_strided_block(acc + row, x + row * x_row, x_row, x_step, w, w_step, w_lane, depth, 1, 1);
        }
    } else if (rows == 1) {
        ml_f32_strided_block(acc, x, x_row, x_step, w, w_step, w_lane, depth, 1, ML_F32_LANES);
    } else {
        ml_f32_strided_block(acc, x, x_row, x_step, w, w_step, w_lane, depth, ML_F32_ROWS, ML_F32_LANES);
    }
}

/* y[i, m, n] = clamp(sum over k of a[i, m, k] * b[i, k, n]) at the given strides in elements; a batch stride of 0
 * broadcasts, and columns of y lie next to each other. */
ML_INLINE void f32_matmul__portable(float *ML_RESTRICT y, const float *ML_RESTRICT a, const float *ML_RESTRICT b,
    int32_t batch, int32_t rows, int32_t depth, int32_t columns, int32_t a_batch_stride, int32_t a_row_stride,
    int32_t a_stride, int32_t b_batch_stride, int32_t b_row_stride, int32_t b_stride, int32_t y_batch_stride,
    int32_t y_row_stride, int32_t clamped, float low, float high)
{
    for (int32_t i = 0; i < batch; ++i, a += a_batch_stride, b += b_batch_stride, y += y_batch_stride) {
        int32_t count;
        for (int32_t row = 0; row < rows; row += count) {
            const float *in = a + row * a_row_stride;
            int32_t lanes;
            count = rows - row >= ML_F32_ROWS ? ML_F32_ROWS : 1;
            for (int32_t column = 0; column < columns; column += lanes) {
                const float *w = b + column * b_stride;
                float acc[ML_F32_ROWS][ML_F32_LANES];
                lanes = columns - column >= ML_F32_LANES ? ML_F32_LANES : 1;
                ml_f32_strided_tile(
                    acc, in, a_row_stride, a_stride, w, b_row_stride, b_stride, depth, count, lanes);
                for (int32_t line = 0; line < count; ++line) {
                    float *out = y + (row + line) * y_row_stride + column;
                    ml_f32_store(out, y_row_stride, acc + line, lanes, 1, clamped, low, high);
                }
            }
        }
    }
}

#endif
