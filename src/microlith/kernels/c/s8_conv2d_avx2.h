/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 convolution, one group, any window: 4 output pixels by 16 (or 8) output channels at a time, on AVX2.
 *
 * The receptive fields of four pixels are gathered and widened to 16 bits (`columns`), in the order KH,KW,I, and stay
 * there for all output channels. weights: for each 8 channels and each two products the bytes (w[0][k], w[0][k+1],
 * w[1][k], ...), padded with zeros to 8 channels and to whole pairs; bias: padded to 8 channels, with x_zero times the
 * sum of each channel's weights taken off, and padding reads as x_zero.
 */
#ifndef ML_S8_CONV2D_AVX2_H
#define ML_S8_CONV2D_AVX2_H

#include "ml_avx2.h"

enum { ML_CONV_AVX2_PIXELS = 4 };

typedef struct {
    const int8_t *x;
    const int8_t *padding; /* the taps of one row of the window, all x_zero */
    int32_t x_ring;
    int32_t height;
    int32_t width;
    int32_t channels;
    int32_t kernel_h;
    int32_t kernel_w;
    int32_t dilation_h;
    int32_t dilation_w;
} ml_conv_avx2;

/* Widen the receptive field whose first tap is (iy, first_ix). Whole vectors are written: what lies beyond the last tap
 * is overwritten by the next one, or belongs to no product. */
ML_INLINE void ml_conv_avx2_gather(const ml_conv_avx2 *conv, int16_t *column, int32_t iy, int32_t first_ix)
{
    const int32_t last_ix = first_ix + (conv->kernel_w - 1) * conv->dilation_w;
    const int32_t inside = first_ix >= 0 && last_ix < conv->width;
    const int32_t row_taps = conv->kernel_w * conv->channels;
    for (int32_t ky = 0; ky < conv->kernel_h; ++ky, iy += conv->dilation_h) {
        if (iy < 0 || iy >= conv->height) {
            ml_avx2_widen_all(column, conv->padding, row_taps);
            column += row_taps;
            continue;
        }
        const int8_t *row = conv->x + (ptrdiff_t)ml_ring_row(iy, conv->x_ring) * conv->width * conv->channels;
        if (inside && conv->dilation_w == 1) {
            ml_avx2_widen_all(column, row + first_ix * conv->channels, row_taps);
            column += row_taps;
            continue;
        }
        for (int32_t ix = first_ix; ix <= last_ix; ix += conv->dilation_w) {
            const int8_t *from = ix >= 0 && ix < conv->width ? row + ix * conv->channels : conv->padding;
            ml_avx2_widen_all(column, from, conv->channels);
            column += conv->channels;
        }
    }
}

/* `vectors` (1 or 2) times 8 channels of 4 pixels, of which the first `pixels` are stored. */
ML_INLINE void ml_conv_avx2_tile(int8_t *const to[ML_CONV_AVX2_PIXELS], int32_t pixels, int32_t vectors,
    const int8_t *weights, const int32_t *bias, const int16_t *columns, int32_t column_size, int32_t depth,
    int32_t channel, int32_t out_channels, ml_requant how, int32_t zero, int32_t low, int32_t high)
{
    const int32_t pairs = (depth + 1) / 2;
    __m256i acc[ML_CONV_AVX2_PIXELS][2];
    for (int32_t v = 0; v < vectors; ++v) {
        for (int32_t p = 0; p < ML_CONV_AVX2_PIXELS; ++p) {
            acc[p][v] = ml_avx2_load(bias + channel + v * ML_AVX2_LANES);
        }
    }
    for (int32_t k = 0; k < pairs; ++k) {
        __m256i w[2];
        for (int32_t v = 0; v < vectors; ++v) {
            w[v] = ml_avx2_widen(weights + (ptrdiff_t)(v * pairs + k) * ML_AVX2_BYTES);
        }
        for (int32_t p = 0; p < ML_CONV_AVX2_PIXELS; ++p) {
            const int16_t *at = columns + p * column_size + 2 * k;
            const __m256i x = _mm256_broadcastd_epi32(_mm_loadu_si32(at));
            for (int32_t v = 0; v < vectors; ++v) {
                acc[p][v] = ml_avx2_dot(x, w[v], acc[p][v]);
            }
        }
    }
    for (int32_t p = 0; p < ML_CONV_AVX2_PIXELS; ++p) {
        for (int32_t v = 0; v < vectors; ++v) {
            const int32_t o = channel + v * ML_AVX2_LANES;
            if (p < pixels) {
                ml_avx2_requantize(
                    to[p] + o, acc[p][v], ml_min(out_channels - o, ML_AVX2_LANES), how, o, zero, low, high);
            }
        }
    }
}

/* 16-bit elements of one column: whole pairs, and room for the last vector that is written. */
ML_INLINE int32_t ml_conv_avx2_column_size(int32_t depth)
{
    return (depth + 31) / 16 * 16;
}

/* scratch: four columns, then one row of taps; see scratch_bytes of the descriptor. */
ML_INLINE void s8_conv2d__avx2_4x16(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind,
    const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift,
    int32_t per_channel, int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height,
    int32_t width, int32_t channels, int32_t out_width, int32_t out_channels, int32_t kernel_h, int32_t kernel_w,
    int32_t stride_h, int32_t stride_w, int32_t dilation_h, int32_t dilation_w, int32_t pad_top, int32_t pad_left,
    int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const int32_t depth = kernel_h * kernel_w * channels;
    const int32_t column_size = ml_conv_avx2_column_size(depth);
    int16_t *columns = (int16_t *)scratch;
    int8_t *padding = (int8_t *)(columns + ML_CONV_AVX2_PIXELS * column_size);
    const ml_conv_avx2 conv = {
        x, padding, x_ring, height, width, channels, kernel_h, kernel_w, dilation_h, dilation_w};
    for (int32_t i = 0; i < kernel_w * channels; ++i) {
        padding[i] = (int8_t)x_zero;
    }
    int8_t *to[ML_CONV_AVX2_PIXELS] = {0};
    const int32_t total = (row_end - row_begin) * out_width;
    for (int32_t first = 0; first < total; first += ML_CONV_AVX2_PIXELS) {
        const int32_t pixels = ml_min(total - first, ML_CONV_AVX2_PIXELS);
        for (int32_t p = 0; p < pixels; ++p) {
            const int32_t oy = row_begin + (first + p) / out_width;
            const int32_t ox = (first + p) % out_width;
            to[p] = y + ((ptrdiff_t)ml_ring_row(oy, y_ring) * out_width + ox) * out_channels;
            ml_conv_avx2_gather(
                &conv, columns + p * column_size, oy * stride_h - pad_top, ox * stride_w - pad_left);
        }
        const int8_t *w = weights;
        const int32_t step = (depth + 1) / 2 * ML_AVX2_BYTES;
        for (int32_t o = 0; o < out_channels;) {
            if (out_channels - o > ML_AVX2_LANES) {
                ml_conv_avx2_tile(to, pixels, 2, w, bias, columns, column_size, depth, o, out_channels, how, y_zero,
                    low, high);
                o += 2 * ML_AVX2_LANES;
                w += 2 * step;
            } else {
                ml_conv_avx2_tile(to, pixels, 1, w, bias, columns, column_size, depth, o, out_channels, how, y_zero,
                    low, high);
                o += ML_AVX2_LANES;
                w += step;
            }
        }
    }
}

#endif
