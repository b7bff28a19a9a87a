/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* int8 functions of one variable, by table. */
#ifndef ML_S8_LUT_H
#define ML_S8_LUT_H

#include "ml_common.h"

/* y[row, i] = table[x[row, i] + 128] of channel i % tables; tables is 1 or the number of channels. y may be x. */
ML_INLINE void s8_lut__portable(int8_t *y, const int8_t *x, const int8_t *ML_RESTRICT table, int32_t row_begin,
    int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t row_elements, int32_t tables)
{
    for (int32_t row = row_begin; row < row_end; ++row) {
        const int8_t *in = x + ml_ring_row(row, x_ring) * row_elements;
        int8_t *out = y + ml_ring_row(row, y_ring) * row_elements;
        for (int32_t i = 0; i < row_elements; i += tables) {
            for (int32_t channel = 0; channel < tables; ++channel) {
                *out++ = table[channel * 256 + *in++ + 128];
            }
        }
    }
}

#endif
