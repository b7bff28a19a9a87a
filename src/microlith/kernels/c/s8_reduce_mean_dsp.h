/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 mean over the middle axis, four neighbours at a time, in sums of 16 bits of at most 255 values each. */
#ifndef ML_S8_REDUCE_MEAN_DSP_H
#define ML_S8_REDUCE_MEAN_DSP_H

#include "ml_dsp.h"

enum { ML_MEAN_DSP_VALUES = 255 };

/* Sums of `count` words, `step` bytes apart. */
ML_INLINE void ml_mean_dsp_sums(int32_t sums[4], const int8_t *x, int32_t count, int32_t step)
{
    while (count > 0) {
        const int32_t some = ml_min(count, ML_MEAN_DSP_VALUES);
        const int8_t *const end = x + some * step;
        const int8_t *const fours = x + (some & ~3) * step;
        uint32_t even = 0;
        uint32_t odd = 0;
        while (x != fours) {
            const uint32_t word0 = ml_dsp_load(x);
            const uint32_t word1 = ml_dsp_load(x + step);
            const uint32_t word2 = ml_dsp_load(x + 2 * step);
            const uint32_t word3 = ml_dsp_load(x + 3 * step);
            even = ml_dsp_add_even(ml_dsp_add_even(even, word0), word1);
            odd = ml_dsp_add_odd(ml_dsp_add_odd(odd, word0), word1);
            even = ml_dsp_add_even(ml_dsp_add_even(even, word2), word3);
            odd = ml_dsp_add_odd(ml_dsp_add_odd(odd, word2), word3);
            x += 4 * step;
        }
        for (; x != end; x += step) {
            const uint32_t word = ml_dsp_load(x);
            even = ml_dsp_add_even(even, word);
            odd = ml_dsp_add_odd(odd, word);
        }
        sums[0] += (int16_t)(uint16_t)even;
        sums[1] += (int16_t)(uint16_t)odd;
        sums[2] += (int32_t)even >> 16;
        sums[3] += (int32_t)odd >> 16;
        count -= some;
    }
}

/* As s8_reduce_mean__portable. */
ML_INLINE void s8_reduce_mean__dsp_1x4(int8_t *y, const int8_t *x, int32_t kind, const float *scale,
    const int32_t *multiplier, const int8_t *shift, int32_t outer, int32_t count, int32_t inner, int32_t channels,
    int32_t up, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, 0);
    const int32_t offset = -x_zero * count;
    int32_t channel = 0;
    for (int32_t o = 0; o < outer; ++o, x += count * inner) {
        int32_t lanes;
        for (int32_t i = 0; i < inner; i += lanes) {
            int32_t sums[4] = {0, 0, 0, 0};
            lanes = inner - i >= 4 ? 4 : 1;
            if (lanes == 4) {
                ml_mean_dsp_sums(sums, x + i, count, inner);
            } else {
                for (int32_t k = 0; k < count; ++k) {
                    sums[0] += x[k * inner + i];
                }
            }
            for (int32_t lane = 0; lane < lanes; ++lane) {
                const int32_t acc = sums[lane] + offset;
                *y++ = (int8_t)(channel < up ? ml_requantize(acc, how, 0, y_zero, low, high)
                                             : ml_requantize_away(acc, how, y_zero, low, high));
                channel = channel + 1 == channels ? 0 : channel + 1;
            }
        }
    }
}

#endif
