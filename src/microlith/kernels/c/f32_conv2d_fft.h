/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * float convolution by large windows as products of spectra (overlap-save).
 *
 * Two tiles of one channel are transformed together, one as the real and one as the imaginary part: windows are real,
 * so the parts do not mix. Transforms run over rows, then over rows of the transpose; forward ones leave their
 * frequencies in the order of reversed bits and inverse ones take them so. Source: Cooley, Tukey 1965; Gentleman, Sande
 * 1966.
 */
#ifndef ML_F32_CONV2D_FFT_H
#define ML_F32_CONV2D_FFT_H

#include "f32_block.h"

/* Rows a and b of length n become a + b and (a - b) * w, w = c - i s. */
ML_INLINE void ml_fft_split(float *ML_RESTRICT ar, float *ML_RESTRICT ai, float *ML_RESTRICT br, float *ML_RESTRICT bi,
    int32_t n, float c, float s)
{
    for (int32_t j = 0; j < n; ++j) {
        const float re = ar[j] - br[j];
        const float im = ai[j] - bi[j];
        ar[j] += br[j];
        ai[j] += bi[j];
        br[j] = re * c + im * s;
        bi[j] = im * c - re * s;
    }
}

/* Rows a and b become a + b * w and a - b * w, w = c + i s. */
ML_INLINE void ml_fft_join(float *ML_RESTRICT ar, float *ML_RESTRICT ai, float *ML_RESTRICT br, float *ML_RESTRICT bi,
    int32_t n, float c, float s)
{
    for (int32_t j = 0; j < n; ++j) {
        const float re = br[j] * c - bi[j] * s;
        const float im = bi[j] * c + br[j] * s;
        br[j] = ar[j] - re;
        bi[j] = ai[j] - im;
        ar[j] += re;
        ai[j] += im;
    }
}

/* n transforms of length n, of the columns of an n x n tile; re and im are its planes, twiddles n / 2 cosines, then
 * sines. */
ML_INLINE void ml_fft_columns(float *re, float *im, const float *twiddles, int32_t n, int32_t inverse)
{
    for (int32_t turn = 2; turn <= n; turn *= 2) {
        const int32_t half = inverse ? turn / 2 : n / turn;
        const int32_t stride = n / 2 / half;
        for (int32_t k = 0; k < half; ++k) {
            const float c = twiddles[k * stride];
            const float s = twiddles[n / 2 + k * stride];
            for (int32_t row = k; row < n; row += 2 * half) {
                const int32_t a = row * n;
                const int32_t b = (row + half) * n;
                if (inverse) {
                    ml_fft_join(re + a, im + a, re + b, im + b, n, c, s);
                } else {
                    ml_fft_split(re + a, im + a, re + b, im + b, n, c, s);
                }
            }
        }
    }
}

ML_INLINE void ml_fft_transpose(float *plane, int32_t n)
{
    for (int32_t i = 1; i < n; ++i) {
        for (int32_t j = 0; j < i; ++j) {
            const float held = plane[i * n + j];
            plane[i * n + j] = plane[j * n + i];
            plane[j * n + i] = held;
        }
    }
}

ML_INLINE void ml_fft_tile(float *tile, const float *twiddles, int32_t n, int32_t inverse)
{
    float *im = tile + n * n;
    ml_fft_columns(tile, im, twiddles, n, inverse);
    ml_fft_transpose(tile, n);
    ml_fft_transpose(im, n);
    ml_fft_columns(tile, im, twiddles, n, inverse);
}

/* plane = an n x n tile of one channel of x from (top, left) on; 0 outside. */
ML_INLINE void ml_fft_load(float *plane, const float *x, int32_t height, int32_t width, int32_t channels, int32_t top,
    int32_t left, int32_t n)
{
    for (int32_t i = 0; i < n; ++i) {
        const int32_t row = top + i;
        const int32_t inside = row >= 0 && row < height;
        for (int32_t j = 0; j < n; ++j) {
            const int32_t column = left + j;
            *plane++ = inside && column >= 0 && column < width ? x[(row * width + column) * channels] : 0.0f;
        }
    }
}

/* sum += x * h, planes of real parts followed by planes of imaginary parts. */
ML_INLINE void ml_fft_accumulate(
    float *ML_RESTRICT sum, const float *ML_RESTRICT x, const float *ML_RESTRICT h, int32_t size)
{
    for (int32_t i = 0; i < size; ++i) {
        sum[i] += x[i] * h[i] - x[size + i] * h[size + i];
        sum[size + i] += x[i] * h[size + i] + x[size + i] * h[i];
    }
}

/*
 * y[row, column, o] = clamp(bias[o] + sum over taps and channels of x * w), up to rounding; stride and dilation are 1.
 *
 * weights are the conjugate spectra [o][channels / groups][2][n][n] of the windows by n * n, columns first, frequencies
 * in the order of reversed bits, then n / 2 cosines and n / 2 sines. scratch holds channels / groups + 1 tiles of two
 * planes.
 */
ML_INLINE void ml_f32_conv2d_fft(float *ML_RESTRICT y, const float *ML_RESTRICT x, const float *ML_RESTRICT weights,
    const float *ML_RESTRICT bias, float *ML_RESTRICT scratch, int32_t height, int32_t width, int32_t channels,
    int32_t out_height, int32_t out_width, int32_t out_channels, int32_t groups, int32_t kernel_h, int32_t kernel_w,
    int32_t pad_top, int32_t pad_left, int32_t size, int32_t clamped, float low, float high)
{
    const int32_t depth = channels / groups;
    const int32_t filters = out_channels / groups;
    const int32_t plane = size * size;
    const int32_t tile_h = size - kernel_h + 1;
    const int32_t tile_w = size - kernel_w + 1;
    const int32_t across = ml_ceil_div(out_width, tile_w);
    const int32_t tiles = ml_ceil_div(out_height, tile_h) * across;
    const float *twiddles = weights + out_channels * depth * 2 * plane;
    float *sum = scratch + depth * 2 * plane;
    for (int32_t first = 0; first < tiles; first += 2) {
        for (int32_t o = 0; o < out_channels; ++o) {
            if (o % filters == 0) {
                for (int32_t c = 0; c < depth; ++c) {
                    float *tile = scratch + c * 2 * plane;
                    for (int32_t part = 0; part < 2; ++part) {
                        const int32_t at = ml_min(first + part, tiles - 1);
                        ml_fft_load(tile + part * plane, x + o / filters * depth + c, height, width, channels,
                            at / across * tile_h - pad_top, at % across * tile_w - pad_left, size);
                    }
                    ml_fft_tile(tile, twiddles, size, 0);
                }
            }
            for (int32_t i = 0; i < 2 * plane; ++i) {
                sum[i] = 0.0f;
            }
            for (int32_t c = 0; c < depth; ++c) {
                ml_fft_accumulate(sum, scratch + c * 2 * plane, weights + (o * depth + c) * 2 * plane, plane);
            }
            ml_fft_tile(sum, twiddles, size, 1);
            for (int32_t part = 0; part < 2 && first + part < tiles; ++part) {
                const int32_t top = (first + part) / across * tile_h;
                const int32_t left = (first + part) % across * tile_w;
                for (int32_t i = 0; i < ml_min(tile_h, out_height - top); ++i) {
                    float *out = y + ((top + i) * out_width + left) * out_channels + o;
                    const float *in = sum + part * plane + i * size;
                    for (int32_t j = 0; j < ml_min(tile_w, out_width - left); ++j) {
                        out[j * out_channels] = ml_f32_finish(in[j] + bias[o], clamped, low, high);
                    }
                }
            }
        }
    }
}

ML_INLINE void f32_conv2d__fft(float *y, const float *x, const float *weights, const float *bias, float *scratch,
    int32_t height, int32_t width, int32_t channels, int32_t out_height, int32_t out_width, int32_t out_channels,
    int32_t groups, int32_t kernel_h, int32_t kernel_w, int32_t pad_top, int32_t pad_left, int32_t size,
    int32_t clamped, float low, float high)
{
    ml_f32_conv2d_fft(y, x, weights, bias, scratch, height, width, channels, out_height, out_width, out_channels,
        groups, kernel_h, kernel_w, pad_top, pad_left, size, clamped, low, high);
}

ML_INLINE void f32_depthwise_conv2d__fft(float *y, const float *x, const float *weights, const float *bias,
    float *scratch, int32_t height, int32_t width, int32_t channels, int32_t out_height, int32_t out_width,
    int32_t out_channels, int32_t groups, int32_t kernel_h, int32_t kernel_w, int32_t pad_top, int32_t pad_left,
    int32_t size, int32_t clamped, float low, float high)
{
    ml_f32_conv2d_fft(y, x, weights, bias, scratch, height, width, channels, out_height, out_width, out_channels,
        groups, kernel_h, kernel_w, pad_top, pad_left, size, clamped, low, high);
}

#endif
