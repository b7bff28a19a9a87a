/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float transposed convolution by rows of the ordinary one. */
#ifndef ML_F32_CONV_ND_ROWS_H
#define ML_F32_CONV_ND_ROWS_H

#include "f32_conv2d.h"
#include "ml_transposed.h"

/*
 * kernel_h, stride_h and pad_h are those of the transposed convolution; kernel_w, pad_left, out_width and out_channels
 * those of its rows as ordinary ones. weights and bias are as those of f32_conv2d__portable.
 */
ML_INLINE void f32_conv_nd__rows(float *y, const float *x, const float *weights, const float *bias, int32_t batch,
    int32_t height, int32_t width, int32_t channels, int32_t out_height, int32_t out_width, int32_t out_channels,
    int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t pad_h, int32_t pad_left, int32_t clamped, float low,
    float high)
{
    const int32_t filled = (out_channels + ML_F32_LANES - 1) / ML_F32_LANES * ML_F32_LANES;
    for (int32_t n = 0; n < batch; ++n, x += height * width * channels, y += out_height * out_width * out_channels) {
        const float *w = weights;
        for (int32_t phase = 0; phase < stride_h; ++phase) {
            const ml_transposed_phase rows = ml_transposed_phase_of(phase, kernel_h, stride_h, pad_h);
            for (int32_t oy = phase; oy < out_height; oy += stride_h) {
                /* y is a ring of one row: that of this call. */
                f32_conv2d__portable(y + oy * out_width * out_channels, x, w, bias + phase * out_channels,
                    oy / stride_h, oy / stride_h + 1, 0, 1, height, width, channels, out_width, out_channels, 1,
                    rows.taps, kernel_w, 1, 1, 1, 1, 1, rows.pad_top, pad_left, clamped, low, high);
            }
            w += filled * rows.taps * kernel_w * channels;
        }
    }
}

#endif
