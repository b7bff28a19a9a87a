/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Elements moved by tables of offsets, one table for each axis: Pad, Resize by nearest neighbours, constant Gather. */
#ifndef ML_X_REMAP_H
#define ML_X_REMAP_H

#include "x_copy.h"

/*
 * y[i0, i1, i2, i3, r] = x[t0[i0] + t1[i1] + t2[i2] + t3[i3] + r], or the value where one of the offsets is negative.
 * The tables t0 to t3 of n0 to n3 offsets follow one another.
 */
#define ML_REMAP(name, type)                                                                                           \
    ML_INLINE void name(type *ML_RESTRICT y, const type *ML_RESTRICT x, const int32_t *table, int32_t n0, int32_t n1,  \
        int32_t n2, int32_t n3, int32_t run, type value)                                                               \
    {                                                                                                                  \
        const int32_t *t1 = table + n0;                                                                                \
        const int32_t *t2 = t1 + n1;                                                                                   \
        const int32_t *t3 = t2 + n2;                                                                                   \
        for (int32_t i0 = 0; i0 < n0; ++i0) {                                                                          \
            for (int32_t i1 = 0; i1 < n1; ++i1) {                                                                      \
                for (int32_t i2 = 0; i2 < n2; ++i2) {                                                                  \
                    for (int32_t i3 = 0; i3 < n3; ++i3) {                                                              \
                        if (table[i0] < 0 || t1[i1] < 0 || t2[i2] < 0 || t3[i3] < 0) {                                 \
                            for (int32_t r = 0; r < run; ++r) {                                                        \
                                y[r] = value;                                                                          \
                            }                                                                                          \
                        } else {                                                                                       \
                            const type *in = x + (table[i0] + t1[i1] + t2[i2] + t3[i3]);                               \
                            for (int32_t r = 0; r < run; ++r) {                                                        \
                                y[r] = in[r];                                                                          \
                            }                                                                                          \
                        }                                                                                              \
                        y += run;                                                                                      \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

/* One triangle of matrices: y = x where (upper) column - row >= k, or (not upper) column - row <= k, else the value. */
#define ML_TRILU(name, type)                                                                                           \
    ML_INLINE void name(type *ML_RESTRICT y, const type *ML_RESTRICT x, int32_t matrices, int32_t rows,                \
        int32_t columns, int32_t k, int32_t upper, type value)                                                         \
    {                                                                                                                  \
        for (int32_t m = 0; m < matrices; ++m) {                                                                       \
            for (int32_t row = 0; row < rows; ++row) {                                                                 \
                for (int32_t column = 0; column < columns; ++column) {                                                 \
                    if (upper ? column - row >= k : column - row <= k) {                                               \
                        *y = *x;                                                                                       \
                    } else {                                                                                           \
                        *y = value;                                                                                    \
                    }                                                                                                  \
                    ++x;                                                                                               \
                    ++y;                                                                                               \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

ML_REMAP(x8_remap__portable, uint8_t)
ML_REMAP(x16_remap__portable, ml_x16)
ML_REMAP(x32_remap__portable, ml_x32)
ML_REMAP(x64_remap__portable, ml_x64)
ML_TRILU(x8_trilu__portable, uint8_t)
ML_TRILU(x16_trilu__portable, ml_x16)
ML_TRILU(x32_trilu__portable, ml_x32)
ML_TRILU(x64_trilu__portable, ml_x64)

#endif
