/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Between int8 and what the caller of the library has: uint8 and float. */
#ifndef ML_S8_CONVERT_H
#define ML_S8_CONVERT_H

#include "ml_common.h"

/* uint8 to int8 of the same meaning and back: the zero point moves by 128. y may lie at or before x. */
ML_INLINE void x8_flip_sign__portable(uint8_t *y, const uint8_t *x, int32_t row_begin, int32_t row_end, int32_t x_ring,
    int32_t y_ring, int32_t row_elements)
{
    for (int32_t row = row_begin; row < row_end; ++row) {
        const uint8_t *in = x + ml_ring_row(row, x_ring) * row_elements;
        uint8_t *out = y + ml_ring_row(row, y_ring) * row_elements;
        for (int32_t i = 0; i < row_elements; ++i) {
            out[i] = (uint8_t)(in[i] ^ 0x80u);
        }
    }
}

/* y = clamp(round_half_even(x / scale) + zero, low, high). y may lie at or before x: each value is read before its
 * place is written. */
ML_INLINE void f32_quantize_s8__portable(
    int8_t *y, const float *x, int32_t count, float scale, int32_t zero, int32_t low, int32_t high)
{
    for (int32_t i = 0; i < count; ++i) {
        y[i] = (int8_t)ml_round_clamp(x[i] / scale, zero, low, high);
    }
}

/* The same along the middle axis of (outer, channels, inner), with a scale and a zero point for each channel. */
#define ML_QUANTIZE_CHANNELS(name, type)                                                                               \
    ML_INLINE void name(type *ML_RESTRICT y, const float *ML_RESTRICT x, const float *ML_RESTRICT scale,               \
        const int32_t *ML_RESTRICT zero, int32_t outer, int32_t channels, int32_t inner, int32_t low, int32_t high)    \
    {                                                                                                                  \
        int32_t place = 0;                                                                                             \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t c = 0; c < channels; ++c) {                                                                   \
                for (int32_t i = 0; i < inner; ++i, ++place) {                                                         \
                    y[place] = (type)ml_round_clamp(x[place] / scale[c], zero[c], low, high);                          \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

ML_QUANTIZE_CHANNELS(f32_quantize_channels_s8__portable, int8_t)
ML_QUANTIZE_CHANNELS(f32_quantize_channels_u8__portable, uint8_t)
ML_QUANTIZE_CHANNELS(f32_quantize_channels_s16__portable, int16_t)
ML_QUANTIZE_CHANNELS(f32_quantize_channels_u16__portable, uint16_t)

/* y = (x - zero) * scale likewise; the difference of int32 wraps around. */
#define ML_DEQUANTIZE_CHANNELS(name, type)                                                                             \
    ML_INLINE void name(float *ML_RESTRICT y, const type *ML_RESTRICT x, const float *ML_RESTRICT scale,               \
        const int32_t *ML_RESTRICT zero, int32_t outer, int32_t channels, int32_t inner)                               \
    {                                                                                                                  \
        int32_t place = 0;                                                                                             \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t c = 0; c < channels; ++c) {                                                                   \
                for (int32_t i = 0; i < inner; ++i, ++place) {                                                         \
                    y[place] = (float)(int32_t)((uint32_t)x[place] - (uint32_t)zero[c]) * scale[c];                    \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

ML_DEQUANTIZE_CHANNELS(s8_dequantize_channels_f32__portable, int8_t)
ML_DEQUANTIZE_CHANNELS(u8_dequantize_channels_f32__portable, uint8_t)
ML_DEQUANTIZE_CHANNELS(s16_dequantize_channels_f32__portable, int16_t)
ML_DEQUANTIZE_CHANNELS(u16_dequantize_channels_f32__portable, uint16_t)
ML_DEQUANTIZE_CHANNELS(s32_dequantize_channels_f32__portable, int32_t)

/* y = (x - zero) * scale. */
ML_INLINE void s8_dequantize_f32__portable(float *y, const int8_t *x, int32_t count, float scale, int32_t zero)
{
    for (int32_t i = 0; i < count; ++i) {
        y[i] = (float)(x[i] - zero) * scale;
    }
}

#endif
