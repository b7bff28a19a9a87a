/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 convolution, one group, any window, for cores without products of pairs: two output channels by four output pixels
 * at a time, two products a multiplication.
 *
 * The receptive fields of pixels p, q, r and s are gathered as words p + q * 2^16 and r + s * 2^16 (`columns`), and
 * stay there for all output channels. Weights are O,KH,KW,I, each channel padded with zeros to a multiple of 4. The sum
 * of two products of a word holds the sum of p in its low half and, that taken off, the one of q in its high half. It
 * is exact while both are an int16: of neighbouring weights, the first of which has an even place, no two may both be
 * -128. The bias has had x_zero times the sum of each channel's weights taken off, and padding reads as x_zero.
 */
#ifndef ML_S8_CONV2D_SCALAR_H
#define ML_S8_CONV2D_SCALAR_H

#include "ml_pixels.h"
#include "ml_scalar.h"

enum { ML_CONV_SCALAR_LANES = 2, ML_CONV_SCALAR_WORDS = ML_PIXELS / 2 };

/* Two words by a weight each; gcc warns of conversions where this stands in place. */
ML_INLINE uint32_t ml_conv_scalar_pair(uint32_t first, uint32_t second, int32_t w0, int32_t w1)
{
    return first * (uint32_t)w0 + second * (uint32_t)w1;
}

/* acc[lane][j] = bias[lane] + sum of the products of pixel j by the weights of a channel, for a multiple of four
 * weights. The high halves are summed, rounded to the nearest; the words are summed as they are, modulo 2^32, so that
 * what lies above the low halves is known in the end. */
static ML_NOINLINE void ml_conv_scalar_multiply(int32_t acc[ML_CONV_SCALAR_LANES][ML_PIXELS],
    const int8_t *const rows[ML_CONV_SCALAR_LANES], const uint32_t *columns, const uint32_t *end,
    const int32_t bias[ML_CONV_SCALAR_LANES])
{
    const int8_t *w0 = rows[0];
    const int8_t *w1 = rows[1];
    uint32_t words[ML_CONV_SCALAR_LANES][ML_CONV_SCALAR_WORDS] = {{0u, 0u}, {0u, 0u}};
    int32_t highs[ML_CONV_SCALAR_LANES][ML_CONV_SCALAR_WORDS] = {{0, 0}, {0, 0}};
    for (; columns != end; w0 += 4, w1 += 4) {
        for (int32_t i = 0; i < 4; i += 2, columns += 2 * ML_CONV_SCALAR_WORDS) {
            for (int32_t j = 0; j < ML_CONV_SCALAR_WORDS; ++j) {
                const uint32_t first = columns[j];
                const uint32_t second = columns[ML_CONV_SCALAR_WORDS + j];
                const uint32_t sum0 = ml_conv_scalar_pair(first, second, w0[i], w0[i + 1]);
                const uint32_t sum1 = ml_conv_scalar_pair(first, second, w1[i], w1[i + 1]);
                words[0][j] += sum0;
                highs[0][j] += (int32_t)(sum0 + 0x8000u) >> 16;
                words[1][j] += sum1;
                highs[1][j] += (int32_t)(sum1 + 0x8000u) >> 16;
            }
            ML_SCALAR_FENCE(); /* or all is loaded first, and does not fit the registers */
        }
    }
    for (int32_t lane = 0; lane < ML_CONV_SCALAR_LANES; ++lane) {
        for (int32_t j = 0; j < ML_CONV_SCALAR_WORDS; ++j) {
            acc[lane][2 * j] = bias[lane] + (int32_t)(words[lane][j] - ((uint32_t)highs[lane][j] << 16));
            acc[lane][2 * j + 1] = bias[lane] + highs[lane][j];
        }
    }
}

/* y = requantize(bias + sum over taps of x * w). scratch: columns of 8 bytes for each weight of a channel, padding
 * included, and `channels` bytes. Where fewer than four pixels or two channels are left, the last stands for those that
 * lack. */
ML_INLINE void s8_conv2d__scalar_2x4(int8_t *y, const int8_t *x, const int8_t *ML_RESTRICT weights,
    const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind, const float *ML_RESTRICT scale,
    const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t row_begin,
    int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t out_channels, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w,
    int32_t dilation_h, int32_t dilation_w, int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero,
    int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_scalar_output out = {y_zero, low, high};
    const int32_t depth = (kernel_h * kernel_w * channels + 3) & ~3;
    uint32_t *const columns = (uint32_t *)scratch;
    uint32_t *const end = columns + 2 * depth;
    const ml_pixels_window conv = {x, (int8_t *)end, x_ring, height, width, channels, width * channels,
        (kernel_h - 1) * dilation_h, (kernel_w - 1) * dilation_w, dilation_h, dilation_w};
    ml_pixel at[ML_PIXELS];
    int32_t row = row_begin;
    int32_t column = 0;
    for (int32_t c = 0; c < channels; ++c) {
        conv.zeros[c] = (int8_t)x_zero;
    }
    while (row < row_end) {
        ml_pixels_next(
            at, &row, &column, row_end, out_width, stride_h, stride_w, pad_top, pad_left, y, y_ring, out_channels);
        ml_pixels_gather(&conv, columns, at);
        for (int32_t o = 0; o < out_channels; o += ML_CONV_SCALAR_LANES) {
            const int32_t next = ml_min(o + 1, out_channels - 1);
            const int8_t *const rows[ML_CONV_SCALAR_LANES] = {weights + o * depth, weights + next * depth};
            const int32_t biases[ML_CONV_SCALAR_LANES] = {bias[o], bias[next]};
            const ml_scalar_scale one = ml_scalar_scale_of(how, o, out);
            const ml_scalar_scale other = ml_scalar_scale_of(how, next, out);
            int32_t acc[ML_CONV_SCALAR_LANES][ML_PIXELS];
            ml_conv_scalar_multiply(acc, rows, columns, end, biases);
            for (int32_t j = 0; j < ML_PIXELS; ++j) {
                at[j].to[o] = ml_scalar_requantize(acc[0][j], &one, out);
                at[j].to[next] = ml_scalar_requantize(acc[1][j], &other, out);
            }
        }
    }
}

#endif
