/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * What the int8 kernels on AVX2 share. Bytes are widened to 16 bits and multiplied in pairs (VPMADDWD), which is exact:
 * no intermediate value saturates.
 */
#ifndef ML_AVX2_H
#define ML_AVX2_H

#include "ml_common.h"

#if !defined(__AVX2__)
#error "these kernels need AVX2: build with -mavx2"
#endif

#include <immintrin.h>

enum { ML_AVX2_LANES = 8, ML_AVX2_BYTES = 16 };

/* 16 bytes from any address, widened. */
ML_INLINE __m256i ml_avx2_widen(const int8_t *from)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)from));
}

/* The first `count` (below 16) bytes at `from`, widened; the other lanes are 0. */
ML_INLINE __m256i ml_avx2_widen_part(const int8_t *from, int32_t count)
{
    int8_t bytes[ML_AVX2_BYTES] = {0};
    for (int32_t i = 0; i < count; ++i) {
        bytes[i] = from[i];
    }
    return ml_avx2_widen(bytes);
}

/* Widen `count` bytes; 16 bits beyond them, up to a multiple of 16, are set to 0. */
ML_INLINE void ml_avx2_widen_all(int16_t *to, const int8_t *from, int32_t count)
{
    int32_t i = 0;
    for (; i + ML_AVX2_BYTES <= count; i += ML_AVX2_BYTES) {
        _mm256_storeu_si256((__m256i *)(void *)(to + i), ml_avx2_widen(from + i));
    }
    if (i < count) {
        _mm256_storeu_si256((__m256i *)(void *)(to + i), ml_avx2_widen_part(from + i, count - i));
    }
}

ML_INLINE __m256i ml_avx2_load(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

/* acc + pairwise products. */
ML_INLINE __m256i ml_avx2_dot(__m256i a, __m256i b, __m256i acc)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}

/* Requantize the accumulators of 8 channels from `channel` on, and store the first `count` (at most 8). */
ML_INLINE void ml_avx2_requantize(int8_t *y, __m256i acc, int32_t count, ml_requant how, int32_t channel,
    int32_t zero, int32_t low, int32_t high)
{
    if (how.kind == ML_FLOAT && count == ML_AVX2_LANES) {
        const __m256 scale = how.per_channel ? _mm256_loadu_ps(how.scale + channel) : _mm256_set1_ps(how.scale[0]);
        __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), scale);
        /* clamping to integers commutes with rounding; the conversion rounds ties to even */
        scaled = _mm256_max_ps(scaled, _mm256_set1_ps((float)(low - zero)));
        scaled = _mm256_min_ps(scaled, _mm256_set1_ps((float)(high - zero)));
        const __m256i rounded = _mm256_add_epi32(_mm256_cvtps_epi32(scaled), _mm256_set1_epi32(zero));
        const __m128i words =
            _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
        _mm_storel_epi64((__m128i *)(void *)y, _mm_packs_epi16(words, words));
    } else {
        int32_t one[ML_AVX2_LANES];
        _mm256_storeu_si256((__m256i *)(void *)one, acc);
        for (int32_t i = 0; i < count; ++i) {
            y[i] = (int8_t)ml_requantize(one[i], how, channel + i, zero, low, high);
        }
    }
}

#endif
