/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 convolution of several groups: the channels of each are laid together, convolved on SMLAD, and put in place. */
#ifndef ML_S8_CONV2D_DSP_GROUPS_H
#define ML_S8_CONV2D_DSP_GROUPS_H

#include "s8_conv2d_dsp.h"

/* `pixels` stretches of `count` bytes, which lie to_step and from_step apart. */
ML_INLINE void ml_conv_dsp_stretches(
    int8_t *to, int32_t to_step, const int8_t *from, int32_t from_step, int32_t pixels, int32_t count)
{
    for (; pixels > 0; --pixels, to += to_step, from += from_step) {
        int32_t i = 0;
        for (; i + 4 <= count; i += 4) {
            ml_dsp_store(to + i, ml_dsp_load(from + i));
        }
        for (; i < count; ++i) {
            to[i] = from[i];
        }
    }
}

/*
 * weights, bias and factors are those of each group for s8_conv2d__dsp_2x4, one after another. scratch: that of this
 * kernel for one group, of which scratch_bytes is the size, the rows of x that its buffer holds, of one group, and one
 * row of results of one group.
 */
ML_INLINE void s8_conv2d__dsp_groups(int8_t *y, const int8_t *x, const int8_t *weights, const int32_t *bias,
    void *scratch, int32_t kind, const float *scale, const int32_t *multiplier, const int8_t *shift,
    int32_t per_channel, int32_t full_range, int32_t even_channels, int32_t joined, int32_t row_begin, int32_t row_end,
    int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels, int32_t out_width,
    int32_t out_channels, int32_t groups, int32_t scratch_bytes, int32_t kernel_h, int32_t kernel_w, int32_t stride_h,
    int32_t stride_w, int32_t dilation_h, int32_t dilation_w, int32_t pad_top, int32_t pad_left, int32_t x_zero,
    int32_t y_zero, int32_t low, int32_t high)
{
    const int32_t depth = channels / groups;
    const int32_t filters = out_channels / groups;
    const int32_t weight_bytes = (filters + 1) / 2 * ((kernel_h * kernel_w * depth + 3) >> 2) * 8;
    const int32_t first = ml_max(0, row_begin * stride_h - pad_top);
    const int32_t end = ml_min(height, (row_end - 1) * stride_h - pad_top + (kernel_h - 1) * dilation_h + 1);
    int8_t *image = (int8_t *)scratch + scratch_bytes;
    int8_t *line = image + (x_ring == 0 ? height : x_ring) * width * depth;
    for (int32_t group = 0; group < groups; ++group) {
        const int32_t factors = per_channel ? group * filters : 0;
        for (int32_t row = first; row < end; ++row) {
            const int32_t place = ml_ring_row(row, x_ring) * width;
            ml_conv_dsp_stretches(
                image + place * depth, depth, x + place * channels + group * depth, channels, width, depth);
        }
        for (int32_t row = row_begin; row < row_end; ++row) {
            /* line is a ring of one row. */
            s8_conv2d__dsp_2x4(line, image, weights + group * weight_bytes, bias + group * filters, scratch, kind,
                kind == ML_FLOAT ? scale + factors : scale, kind == ML_FLOAT ? multiplier : multiplier + factors,
                kind == ML_FLOAT ? shift : shift + factors, per_channel, full_range, even_channels, joined, row,
                row + 1, x_ring, 1, height, width, depth, out_width, filters, kernel_h, kernel_w, stride_h, stride_w,
                dilation_h, dilation_w, pad_top, pad_left, x_zero, y_zero, low, high);
            ml_conv_dsp_stretches(y + ml_ring_row(row, y_ring) * out_width * out_channels + group * filters,
                out_channels, line, filters, out_width, filters);
        }
    }
}

#endif
