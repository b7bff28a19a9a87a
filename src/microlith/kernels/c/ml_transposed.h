/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * Rows of a transposed convolution as rows of ordinary ones.
 *
 * Output row oy meets the taps that lie stride_h apart, from one that oy % stride_h (the phase) tells, so it is row
 * oy / stride_h of an ordinary convolution with those taps, turned round. Along a row, the stride_w outputs of one
 * place are as many times the output channels of that convolution, in the order in which they lie in memory; taps that
 * one of them has and another has not are zero there. Weights and biases are those of each phase, one after another.
 */
#ifndef ML_TRANSPOSED_H
#define ML_TRANSPOSED_H

#include "ml_common.h"

/* Rows of taps of a phase, and of padding above the first row. The kernel has at least as many rows as the stride. */
typedef struct {
    int32_t taps;
    int32_t pad_top;
} ml_transposed_phase;

ML_INLINE ml_transposed_phase ml_transposed_phase_of(int32_t phase, int32_t kernel_h, int32_t stride_h, int32_t pad_h)
{
    const int32_t first = (phase + pad_h) % stride_h;
    ml_transposed_phase found;
    found.taps = (kernel_h - first + stride_h - 1) / stride_h;
    found.pad_top = found.taps - 1 - (phase + pad_h - first) / stride_h;
    return found;
}

#endif
