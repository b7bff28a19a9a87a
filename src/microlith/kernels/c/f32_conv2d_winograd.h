/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * float convolution by a 3x3 window by the minimal algorithms F(2x2, 3x3) and F(4x4, 3x3).
 *
 * Source: Lavin, Gray: Fast Algorithms for Convolutional Neural Networks, 2016. A tile of m x m outputs takes
 * (m + 2) x (m + 2) products a channel instead of 9 m x m, of transformed inputs by transformed weights.
 */
#ifndef ML_F32_CONV2D_WINOGRAD_H
#define ML_F32_CONV2D_WINOGRAD_H

#include "f32_block.h"

enum { ML_WINOGRAD_MOST = 6 };

/* B' d for the `size` values of one line of a tile: 4 for F(2x2), 6 for F(4x4). */
ML_INLINE void ml_winograd_in(float *d, int32_t size)
{
    if (size == 4) {
        const float d1 = d[1];
        d[0] = d[0] - d[2];
        d[1] = d1 + d[2];
        d[3] = d1 - d[3];
        d[2] = d[2] - d1;
    } else {
        const float even = d[4] - 4.0f * d[2];
        const float odd = d[3] - 4.0f * d[1];
        const float even_half = d[4] - d[2];
        const float odd_half = 2.0f * (d[3] - d[1]);
        d[0] = 4.0f * d[0] - 5.0f * d[2] + d[4];
        d[5] = 4.0f * d[1] - 5.0f * d[3] + d[5];
        d[1] = even + odd;
        d[2] = even - odd;
        d[3] = even_half + odd_half;
        d[4] = even_half - odd_half;
    }
}

/* A' m: 2 outputs of 4 products, or 4 of 6. */
ML_INLINE void ml_winograd_out(float *m, int32_t size)
{
    const float sum = m[1] + m[2];
    const float difference = m[1] - m[2];
    if (size == 4) {
        m[0] = m[0] + sum;
        m[1] = difference - m[3];
    } else {
        const float outer_sum = m[3] + m[4];
        const float outer_difference = m[3] - m[4];
        m[0] = m[0] + sum + outer_sum;
        m[1] = difference + 2.0f * outer_difference;
        m[2] = sum + 4.0f * outer_sum;
        m[3] = difference + 8.0f * outer_difference + m[5];
    }
}

/* One line of a tile for `lanes` neighbouring channels: to[k * step] from the values at from[k]. */
ML_INLINE void ml_winograd_line(
    float *ML_RESTRICT to, int32_t step, const float *const *from, int32_t channel, int32_t size, int32_t lanes)
{
    float d[ML_F32_LANES][ML_WINOGRAD_MOST];
    for (int32_t lane = 0; lane < lanes; ++lane) {
        for (int32_t k = 0; k < size; ++k) {
            d[lane][k] = from[k][channel + lane];
        }
        ml_winograd_in(d[lane], size);
    }
    for (int32_t k = 0; k < size; ++k) {
        for (int32_t lane = 0; lane < lanes; ++lane) {
            to[k * step + channel + lane] = d[lane][k];
        }
    }
}

ML_INLINE void ml_winograd_lines(
    float *ML_RESTRICT to, int32_t step, const float *const *from, int32_t channels, int32_t size)
{
    int32_t channel = 0;
    for (; channel + ML_F32_LANES <= channels; channel += ML_F32_LANES) {
        ml_winograd_line(to, step, from, channel, size, ML_F32_LANES);
    }
    for (; channel < channels; ++channel) {
        ml_winograd_line(to, step, from, channel, size, 1);
    }
}

/* values[i * size + j][.][channels] = B' d B of the tile whose first input is (top, left); zero has `channels` zeros,
 * lines room for a tile. */
ML_INLINE void ml_winograd_tile(float *ML_RESTRICT values, int32_t step, float *ML_RESTRICT lines, const float *zero,
    const float *x, int32_t height, int32_t width, int32_t channels, int32_t top, int32_t left, int32_t size)
{
    const float *from[ML_WINOGRAD_MOST];
    for (int32_t j = 0; j < size; ++j) {
        for (int32_t i = 0; i < size; ++i) {
            const int32_t row = top + i;
            const int32_t column = left + j;
            const int32_t inside = row >= 0 && row < height && column >= 0 && column < width;
            from[i] = inside ? x + (row * width + column) * channels : zero;
        }
        ml_winograd_lines(lines + j * channels, size * channels, from, channels, size);
    }
    for (int32_t i = 0; i < size; ++i) {
        for (int32_t j = 0; j < size; ++j) {
            from[j] = lines + (i * size + j) * channels;
        }
        ml_winograd_lines(values + i * size * step, step, from, channels, size);
    }
}

/* Outputs of one tile, `valid` of 8 channels, from products[position * step][lane], as far as they lie in y. */
ML_INLINE void ml_winograd_store(float *y, const float *products, int32_t step, const float *bias, int32_t valid,
    int32_t rows, int32_t columns, int32_t row_step, int32_t column_step, int32_t size, int32_t clamped, float low,
    float high)
{
    float m[ML_WINOGRAD_MOST - 2][ML_WINOGRAD_MOST][ML_F32_LANES];
    for (int32_t j = 0; j < size; ++j) {
        for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
            float line[ML_WINOGRAD_MOST];
            for (int32_t i = 0; i < size; ++i) {
                line[i] = products[(i * size + j) * step + lane];
            }
            ml_winograd_out(line, size);
            for (int32_t i = 0; i < size - 2; ++i) {
                m[i][j][lane] = line[i];
            }
        }
    }
    for (int32_t i = 0; i < rows; ++i) {
        float out[ML_WINOGRAD_MOST - 2][ML_F32_LANES];
        for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
            float line[ML_WINOGRAD_MOST];
            for (int32_t j = 0; j < size; ++j) {
                line[j] = m[i][j][lane];
            }
            ml_winograd_out(line, size);
            for (int32_t j = 0; j < size - 2; ++j) {
                out[j][lane] = line[j];
            }
        }
        for (int32_t j = 0; j < columns; ++j) {
            float *at = y + i * row_step + j * column_step;
            for (int32_t lane = 0; lane < ml_min(valid, ML_F32_LANES); ++lane) {
                at[lane] = ml_f32_finish(out[j][lane] + bias[lane], clamped, low, high);
            }
        }
    }
}

/*
 * y[row, column, o] = clamp(bias[o] + sum over a 3x3 window and channels of x * w), up to rounding.
 *
 * weights are G g G' as [filters / 8, rounded up][size * size][channels][8], filled up with zeros. `tiles`, a multiple
 * of 4, are computed at a time; what is missing of them at the end is the last one again. scratch holds their values,
 * size * size * tiles * channels, their products with eight filters, size * size * tiles * 8, a tile of lines, size *
 * size * channels, and `channels` zeros.
 */
ML_INLINE void ml_f32_winograd(float *ML_RESTRICT y, const float *ML_RESTRICT x, const float *ML_RESTRICT weights,
    const float *ML_RESTRICT bias, float *ML_RESTRICT scratch, int32_t height, int32_t width, int32_t channels,
    int32_t out_height, int32_t out_width, int32_t out_channels, int32_t pad_top, int32_t pad_left, int32_t tiles,
    int32_t clamped, float low, float high, int32_t size)
{
    const int32_t step = size - 2;
    const int32_t across = ml_ceil_div(out_width, step);
    const int32_t count = ml_ceil_div(out_height, step) * across;
    float *products = scratch + size * size * tiles * channels;
    float *lines = products + size * size * tiles * ML_F32_LANES;
    float *zero = lines + size * size * channels;
    for (int32_t channel = 0; channel < channels; ++channel) {
        zero[channel] = 0.0f;
    }
    for (int32_t first = 0; first < count; first += tiles) {
        const float *w = weights;
        for (int32_t tile = 0; tile < tiles; ++tile) {
            const int32_t at = ml_min(first + tile, count - 1);
            ml_winograd_tile(scratch + tile * channels, tiles * channels, lines, zero, x, height, width, channels,
                at / across * step - pad_top, at % across * step - pad_left, size);
        }
        for (int32_t o = 0; o < out_channels; o += ML_F32_LANES) {
            const float *values = scratch;
            float *to = products;
            for (int32_t position = 0; position < size * size; ++position, w += channels * ML_F32_LANES) {
                for (int32_t tile = 0; tile < tiles; tile += ML_F32_ROWS) {
                    float acc[ML_F32_ROWS][ML_F32_LANES];
                    ml_f32_start(acc, (const float *)0, 0, ML_F32_ROWS);
                    ml_f32_block(acc, values, channels, w, ML_F32_LANES, channels, ML_F32_ROWS, ML_F32_LANES);
                    ml_f32_store(to, ML_F32_LANES, acc, ML_F32_LANES, ML_F32_ROWS, 0, 0.0f, 0.0f);
                    values += ML_F32_ROWS * channels;
                    to += ML_F32_ROWS * ML_F32_LANES;
                }
            }
            for (int32_t tile = 0; tile < tiles && first + tile < count; ++tile) {
                const int32_t row = (first + tile) / across * step;
                const int32_t column = (first + tile) % across * step;
                ml_winograd_store(y + (row * out_width + column) * out_channels + o, products + tile * ML_F32_LANES,
                    tiles * ML_F32_LANES, bias + o, out_channels - o, ml_min(step, out_height - row),
                    ml_min(step, out_width - column), out_width * out_channels, out_channels, size, clamped, low,
                    high);
            }
        }
    }
}

ML_INLINE void f32_conv2d__winograd_2x2(float *y, const float *x, const float *weights, const float *bias,
    float *scratch, int32_t height, int32_t width, int32_t channels, int32_t out_height, int32_t out_width,
    int32_t out_channels, int32_t pad_top, int32_t pad_left, int32_t tiles, int32_t clamped, float low, float high)
{
    ml_f32_winograd(y, x, weights, bias, scratch, height, width, channels, out_height, out_width, out_channels, pad_top,
        pad_left, tiles, clamped, low, high, 4);
}

ML_INLINE void f32_conv2d__winograd_4x4(float *y, const float *x, const float *weights, const float *bias,
    float *scratch, int32_t height, int32_t width, int32_t channels, int32_t out_height, int32_t out_width,
    int32_t out_channels, int32_t pad_top, int32_t pad_left, int32_t tiles, int32_t clamped, float low, float high)
{
    ml_f32_winograd(y, x, weights, bias, scratch, height, width, channels, out_height, out_width, out_channels, pad_top,
        pad_left, tiles, clamped, low, high, 6);
}

#endif
