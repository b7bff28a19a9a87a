/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Blocks of float sums: several rows of x by several neighbouring columns of w. */
#ifndef ML_F32_BLOCK_H
#define ML_F32_BLOCK_H

#include "ml_common.h"

/* Neighbouring output channels computed together; weights are packed by it. */
enum { ML_F32_LANES = 8 };

/* Rows computed together: as many sums as stay in registers, of which a Cortex-M has 32 and RISC-V at most as many. */
#if defined(__arm__) || defined(__riscv)
enum { ML_F32_ROWS = 2 };
#else
enum { ML_F32_ROWS = 4 };
#endif

/* Eight lanes as one value. Compilers that would have to find them in loops often find other ones; where there are no
 * registers of several floats, loops serve. Results have the same bits. */
#if defined(__GNUC__) && !defined(__arm__) && !defined(__riscv)
#define ML_F32_VECTORS 1
typedef float ml_f32x8 __attribute__((vector_size(32), aligned(4), may_alias));

/* acc[row][] += sum over k of x[row * x_row + k * x_step] * w[k * w_step + lane]; rows is a constant. */
ML_INLINE void ml_f32_vectors(float acc[][ML_F32_LANES], const float *x, int32_t x_row, int32_t x_step, const float *w,
    int32_t w_step, int32_t depth, int32_t rows)
{
    ml_f32x8 sum[ML_F32_ROWS];
    for (int32_t row = 0; row < rows; ++row) {
        sum[row] = *(const ml_f32x8 *)acc[row];
    }
    for (int32_t k = 0; k < depth; ++k, x += x_step, w += w_step) {
        const ml_f32x8 lanes = *(const ml_f32x8 *)w;
        for (int32_t row = 0; row < rows; ++row) {
            const float value = x[row * x_row];
            const ml_f32x8 values = {value, value, value, value, value, value, value, value};
            sum[row] += values * lanes;
        }
    }
    for (int32_t row = 0; row < rows; ++row) {
        *(ml_f32x8 *)acc[row] = sum[row];
    }
}
#endif

/* acc[row][lane] += sum over k of x[row * x_step + k] * w[k * w_step + lane]; rows and lanes are constants. */
ML_INLINE void ml_f32_block(float acc[][ML_F32_LANES], const float *x, int32_t x_step, const float *w, int32_t w_step,
    int32_t depth, int32_t rows, int32_t lanes)
{
#if defined(ML_F32_VECTORS)
    if (lanes == ML_F32_LANES) {
        ml_f32_vectors(acc, x, x_step, 1, w, w_step, depth, rows);
        return;
    }
#endif
    for (int32_t k = 0; k < depth; ++k, w += w_step) {
        for (int32_t row = 0; row < rows; ++row) {
            const float value = x[row * x_step + k];
            for (int32_t lane = 0; lane < lanes; ++lane) {
                acc[row][lane] += value * w[lane];
            }
        }
    }
}

/* acc[row][lane] = bias[lane], or 0 where bias is null or beyond `valid` lanes. */
ML_INLINE void ml_f32_start(float acc[][ML_F32_LANES], const float *bias, int32_t valid, int32_t rows)
{
    for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
        const float start = bias && lane < valid ? bias[lane] : 0.0f;
        for (int32_t row = 0; row < rows; ++row) {
            acc[row][lane] = start;
        }
    }
}

/* Bits of `clamped`: whether results have a least and a greatest value. */
enum { ML_CLAMP_LOW = 1, ML_CLAMP_HIGH = 2 };

ML_INLINE float ml_f32_finish(float value, int32_t clamped, float low, float high)
{
    if (clamped & ML_CLAMP_LOW) {
        value = value > low ? value : low;
    }
    if (clamped & ML_CLAMP_HIGH) {
        value = value < high ? value : high;
    }
    return value;
}

/* y[row * y_step + lane] = clamped acc[row][lane] for the first `valid` lanes. */
ML_INLINE void ml_f32_store(float *y, int32_t y_step, float acc[][ML_F32_LANES], int32_t valid, int32_t rows,
    int32_t clamped, float low, float high)
{
    for (int32_t row = 0; row < rows; ++row) {
        if (valid >= ML_F32_LANES) {
            for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
                y[row * y_step + lane] = ml_f32_finish(acc[row][lane], clamped, low, high);
            }
        } else {
            for (int32_t lane = 0; lane < valid; ++lane) {
                y[row * y_step + lane] = ml_f32_finish(acc[row][lane], clamped, low, high);
            }
        }
    }
}

#endif
