/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 depthwise convolution, any window, one filter a channel: 16 channels at a time, two taps at a time, on AVX2.
 *
 * For each output pixel the address of every tap is kept; a tap in the padding points to bytes of x_zero. weights: for
 * each 16 channels and each two taps the bytes (w[0][t], w[0][t+1], w[1][t], ...) of channels 0-3, 8-11, 4-7, 12-15,
 * the order in which the interleaved inputs come; padded with zeros to 16 channels and to whole pairs. bias: padded
 * to 16 channels, with x_zero times the sum of each channel's weights taken off.
 */
#ifndef ML_S8_DEPTHWISE_CONV2D_AVX2_H
#define ML_S8_DEPTHWISE_CONV2D_AVX2_H

#include "ml_avx2.h"

/* 16 channels of two taps, `count` of them there, times their weights: channels 0-3, 8-11 and 4-7, 12-15. */
ML_INLINE void ml_depthwise_avx2_taps(
    __m256i acc[2], const int8_t *a, const int8_t *b, int32_t count, const int8_t *weights)
{
    const __m256i first = count == ML_AVX2_BYTES ? ml_avx2_widen(a) : ml_avx2_widen_part(a, count);
    const __m256i second = count == ML_AVX2_BYTES ? ml_avx2_widen(b) : ml_avx2_widen_part(b, count);
    acc[0] = ml_avx2_dot(_mm256_unpacklo_epi16(first, second), ml_avx2_widen(weights), acc[0]);
    acc[1] = ml_avx2_dot(_mm256_unpackhi_epi16(first, second), ml_avx2_widen(weights + ML_AVX2_BYTES), acc[1]);
}

/* One output pixel; `taps` addresses, an even number. */
ML_INLINE void ml_depthwise_avx2_pixel(int8_t *y, const int8_t *const *addresses, int32_t taps, const int8_t *weights,
    const int32_t *bias, int32_t channels, ml_requant how, int32_t zero, int32_t low, int32_t high)
{
    for (int32_t c = 0; c < channels; c += ML_AVX2_BYTES) {
        const int32_t count = ml_min(channels - c, ML_AVX2_BYTES);
        __m256i acc[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (int32_t t = 0; t < taps; t += 2, weights += 2 * ML_AVX2_BYTES) {
            ml_depthwise_avx2_taps(acc, addresses[t] + c, addresses[t + 1] + c, count, weights);
        }
        const __m256i low_half = _mm256_permute2x128_si256(acc[0], acc[1], 0x20);
        const __m256i high_half = _mm256_permute2x128_si256(acc[0], acc[1], 0x31);
        ml_avx2_requantize(y + c, _mm256_add_epi32(low_half, ml_avx2_load(bias + c)), ml_min(count, ML_AVX2_LANES),
            how, c, zero, low, high);
        if (count > ML_AVX2_LANES) {
            ml_avx2_requantize(y + c + ML_AVX2_LANES,
                _mm256_add_epi32(high_half, ml_avx2_load(bias + c + ML_AVX2_LANES)), count - ML_AVX2_LANES, how,
                c + ML_AVX2_LANES, zero, low, high);
        }
    }
}

/* scratch: an address for each tap, rounded up to an even number, then a byte for each channel. */
ML_INLINE void s8_depthwise_conv2d__avx2_16(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind,
    const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift,
    int32_t per_channel, int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height,
    int32_t width, int32_t channels, int32_t out_width, int32_t kernel_h, int32_t kernel_w, int32_t stride_h,
    int32_t stride_w, int32_t dilation_h, int32_t dilation_w, int32_t pad_top, int32_t pad_left, int32_t x_zero,
    int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const int32_t taps = (kernel_h * kernel_w + 1) / 2 * 2;
    const int8_t **addresses = (const int8_t **)scratch;
    int8_t *padding = (int8_t *)(addresses + taps);
    for (int32_t c = 0; c < channels; ++c) {
        padding[c] = (int8_t)x_zero;
    }
    addresses[taps - 1] = padding;
    for (int32_t oy = row_begin; oy < row_end; ++oy) {
        int8_t *out = y + (ptrdiff_t)ml_ring_row(oy, y_ring) * out_width * channels;
        for (int32_t ox = 0; ox < out_width; ++ox, out += channels) {
            const int8_t **at = addresses;
            for (int32_t ky = 0; ky < kernel_h; ++ky) {
                const int32_t iy = oy * stride_h - pad_top + ky * dilation_h;
                const int32_t row_inside = iy >= 0 && iy < height;
                const ptrdiff_t row = row_inside ? (ptrdiff_t)ml_ring_row(iy, x_ring) * width : 0;
                for (int32_t kx = 0; kx < kernel_w; ++kx) {
                    const int32_t ix = ox * stride_w - pad_left + kx * dilation_w;
                    *at++ = row_inside && ix >= 0 && ix < width ? x + (row + ix) * channels : padding;
                }
            }
            ml_depthwise_avx2_pixel(out, addresses, taps, weights, bias, channels, how, y_zero, low, high);
        }
    }
}

#endif
