/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 transposed convolution by rows of the ordinary one. */
#ifndef ML_S8_CONV_TRANSPOSE2D_ROWS_H
#define ML_S8_CONV_TRANSPOSE2D_ROWS_H

#include "ml_transposed.h"
#include "s8_conv2d.h"

/*
 * kernel_h, stride_h and pad_h are those of the transposed convolution; kernel_w, pad_left, out_width and out_channels
 * those of its rows as ordinary ones. weights and bias are as those of
 * s8_conv2d__portable, scratch as for the phase of the most rows of taps.
 */
ML_INLINE void s8_conv_transpose2d__rows(int8_t *y, const int8_t *x, const int8_t *weights, const int32_t *bias,
    const int32_t *weight_zero, int8_t *scratch, int32_t kind, const float *scale, const int32_t *multiplier,
    const int8_t *shift, int32_t per_channel,
    int32_t batch, int32_t height, int32_t width, int32_t channels, int32_t out_height, int32_t out_width,
    int32_t out_channels, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t pad_h, int32_t pad_left,
    int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    for (int32_t n = 0; n < batch; ++n, x += height * width * channels, y += out_height * out_width * out_channels) {
        const int8_t *w = weights;
        for (int32_t phase = 0; phase < stride_h; ++phase) {
            const ml_transposed_phase rows = ml_transposed_phase_of(phase, kernel_h, stride_h, pad_h);
            for (int32_t oy = phase; oy < out_height; oy += stride_h) {
                /* y is a ring of one row: that of this call. */
                s8_conv2d__portable(y + oy * out_width * out_channels, x, w, bias + phase * out_channels, weight_zero,
                    scratch, kind, scale, multiplier, shift, per_channel, oy / stride_h, oy / stride_h + 1, 0, 1,
                    height, width, channels, out_width, out_channels, 1, rows.taps, kernel_w, 1, 1, 1, 1, 1,
                    rows.pad_top, pad_left, x_zero, y_zero, low, high);
            }
            w += out_channels * rows.taps * kernel_w * channels;
        }
    }
}

#endif
