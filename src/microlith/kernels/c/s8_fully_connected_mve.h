/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 fully connected layer on MVE: four outputs at a time; the layouts are those of ml_mve.h. */
#ifndef ML_S8_FULLY_CONNECTED_MVE_H
#define ML_S8_FULLY_CONNECTED_MVE_H

#include "ml_mve.h"

ML_INLINE void s8_fully_connected__mve_1x4(int8_t *ML_RESTRICT y, const int8_t *ML_RESTRICT x,
    const int8_t *ML_RESTRICT weights, const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind,
    const float *ML_RESTRICT scale, const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift,
    int32_t per_channel, int32_t rows, int32_t depth, int32_t out_channels, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_mve_output out = {y_zero, low, high};
    (void)scratch;
    for (int32_t row = 0; row < rows; ++row) {
        ml_mve_row(y, x, weights, bias, depth, out_channels, how, out);
        x += depth;
        y += out_channels;
    }
}

#endif
