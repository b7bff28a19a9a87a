/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Rows of four channels, channels last, turned into lines of 16 bits, a word for two neighbouring columns. */
#ifndef ML_S8_DEPTHWISE_CONV2D_DSP_TURN_H
#define ML_S8_DEPTHWISE_CONV2D_DSP_TURN_H

#include "ml_dsp.h"

enum { ML_DEPTHWISE_DSP_LANES = 4 };

/* What one call shares between its groups of channels. */
typedef struct {
    uint32_t *lines;
    int32_t pairs; /* words of a line */
    int32_t step;  /* words from one column pair to the next */
    int32_t height;
    int32_t row_step;   /* bytes from one row of x to the next */
    int32_t pixel_step; /* bytes from one column of x to the next */
    int32_t x_ring;
    uint32_t padding; /* x_zero in each byte */
    int32_t left_outside; /* column pairs to the left of the input, then */
    int32_t left_edge;    /* one whose right column is the first of the input */
    int32_t inside;
    int32_t right_edge; /* one whose left column is the last of the input */
} ml_depthwise_dsp;

/* Fill in which column pairs lie inside a row of `width` columns that follow `pad_left` of padding. */
ML_INLINE void ml_depthwise_dsp_columns(ml_depthwise_dsp *conv, int32_t width, int32_t pad_left)
{
    const int32_t pairs = conv->pairs;
    conv->left_outside = ml_min(pad_left >> 1, pairs);
    conv->left_edge = ml_min(pad_left & 1, ml_min(pairs - conv->left_outside, width));
    conv->inside = ml_min((width - conv->left_edge) >> 1, pairs - conv->left_outside - conv->left_edge);
    conv->right_edge = ml_min(
        (width - conv->left_edge) & 1, pairs - conv->left_outside - conv->left_edge - conv->inside);
}

/* Four channels of two columns, as four words of column pairs. */
ML_INLINE void ml_depthwise_dsp_turn(uint32_t *to, uint32_t left, uint32_t right)
{
    const uint32_t left_even = ml_dsp_widen_even(left);
    const uint32_t left_odd = ml_dsp_widen_odd(left);
    const uint32_t right_even = ml_dsp_widen_even(right);
    const uint32_t right_odd = ml_dsp_widen_odd(right);
    to[0] = ml_dsp_pack_low(left_even, right_even);
    to[1] = ml_dsp_pack_low(left_odd, right_odd);
    to[2] = ml_dsp_pack_high(left_even, right_even);
    to[3] = ml_dsp_pack_high(left_odd, right_odd);
}

/* Write padding into `pairs` column pairs from `to` on; returns the next one. */
ML_INLINE uint32_t *ml_depthwise_dsp_pad(const ml_depthwise_dsp *conv, uint32_t *to, int32_t pairs)
{
    const uint32_t pair = ml_dsp_widen_even(conv->padding);
    for (; pairs > 0; --pairs, to += conv->step) {
        to[0] = pair;
        to[1] = pair;
        to[2] = pair;
        to[3] = pair;
    }
    return to;
}

/* Write input row iy, or padding, into the lines from `to` on; x is the first of the four channels. */
ML_INLINE void ml_depthwise_dsp_line(const ml_depthwise_dsp *conv, uint32_t *to, const int8_t *x, int32_t iy)
{
    if (iy < 0 || iy >= conv->height) {
        (void)ml_depthwise_dsp_pad(conv, to, conv->pairs);
        return;
    }
    const int32_t pixel_step = conv->pixel_step;
    const int32_t step = conv->step;
    const int8_t *from = x + ml_ring_row(iy, conv->x_ring) * conv->row_step;
    to = ml_depthwise_dsp_pad(conv, to, conv->left_outside);
    if (conv->left_edge) {
        ml_depthwise_dsp_turn(to, conv->padding, ml_dsp_load(from));
        from += pixel_step;
        to += step;
    }
    for (const uint32_t *const end = to + conv->inside * step; to != end; to += step) {
        ml_depthwise_dsp_turn(to, ml_dsp_load(from), ml_dsp_load(from + pixel_step));
        from += 2 * pixel_step;
    }
    if (conv->right_edge) {
        ml_depthwise_dsp_turn(to, ml_dsp_load(from), conv->padding);
        to += step;
    }
    (void)ml_depthwise_dsp_pad(
        conv, to, conv->pairs - conv->left_outside - conv->left_edge - conv->inside - conv->right_edge);
}

#endif
