/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 fully connected: 4 outputs at a time, on AVX2.
 *
 * A row of x is widened to 16 bits once. weights: O,K padded with zeros to a multiple of 16 in K and of 4 in O; the
 * bias has had x_zero times the sum of each output's weights taken off.
 */
#ifndef ML_S8_FULLY_CONNECTED_AVX2_H
#define ML_S8_FULLY_CONNECTED_AVX2_H

#include "ml_avx2.h"

enum { ML_FULLY_CONNECTED_AVX2_LANES = 4 };

/* Sums of the eight lanes of each of four vectors. */
ML_INLINE __m128i ml_fully_connected_avx2_sums(const __m256i acc[ML_FULLY_CONNECTED_AVX2_LANES])
{
    const __m256i quarters = _mm256_hadd_epi32(_mm256_hadd_epi32(acc[0], acc[1]), _mm256_hadd_epi32(acc[2], acc[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(quarters), _mm256_extracti128_si256(quarters, 1));
}

/* scratch: 2 bytes for each element of depth rounded up to 16. */
ML_INLINE void s8_fully_connected__avx2_1x4(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind,
    const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift,
    int32_t per_channel, int32_t rows, int32_t depth, int32_t out_channels, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const int32_t padded = (depth + ML_AVX2_BYTES - 1) / ML_AVX2_BYTES * ML_AVX2_BYTES;
    int16_t *wide = (int16_t *)scratch;
    for (int32_t row = 0; row < rows; ++row, x += depth, y += out_channels) {
        const int8_t *w = weights;
        ml_avx2_widen_all(wide, x, depth);
        for (int32_t o = 0; o < out_channels; o += ML_FULLY_CONNECTED_AVX2_LANES) {
            __m256i acc[ML_FULLY_CONNECTED_AVX2_LANES] = {
                _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
            for (int32_t k = 0; k < padded; k += ML_AVX2_BYTES) {
                const __m256i at = ml_avx2_load(wide + k);
                for (int32_t lane = 0; lane < ML_FULLY_CONNECTED_AVX2_LANES; ++lane) {
                    acc[lane] = ml_avx2_dot(at, ml_avx2_widen(w + (ptrdiff_t)lane * padded + k), acc[lane]);
                }
            }
            w += (ptrdiff_t)ML_FULLY_CONNECTED_AVX2_LANES * padded;
            int32_t sums[ML_FULLY_CONNECTED_AVX2_LANES];
            _mm_storeu_si128((__m128i *)(void *)sums, ml_fully_connected_avx2_sums(acc));
            for (int32_t lane = 0; lane < ML_FULLY_CONNECTED_AVX2_LANES && o + lane < out_channels; ++lane) {
                y[o + lane] =
                    (int8_t)ml_requantize(sums[lane] + bias[o + lane], how, o + lane, y_zero, low, high);
            }
        }
    }
}

#endif
