/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Moving and setting elements of 8, 16, 32 and 64 bits, whatever they stand for. */
#ifndef ML_X_COPY_H
#define ML_X_COPY_H

#include "ml_common.h"

/* Bits that may be signed, unsigned or a float. */
#if defined(__GNUC__) || defined(__clang__)
typedef uint16_t __attribute__((may_alias)) ml_x16;
typedef uint32_t __attribute__((may_alias)) ml_x32;
typedef uint64_t __attribute__((may_alias)) ml_x64;
#else
typedef uint16_t ml_x16;
typedef uint32_t ml_x32;
typedef uint64_t ml_x64;
#endif

/* y[y_offset + sum of i_k * ys_k] = x[x_offset + sum of i_k * xs_k] for all i_k in [0, n_k). */
#define ML_COPY(name, type)                                                                                            \
    ML_INLINE void name(type *ML_RESTRICT y, const type *ML_RESTRICT x, int32_t n0, int32_t n1, int32_t n2,            \
        int32_t n3, int32_t n4, int32_t n5, int32_t x_offset, int32_t xs0, int32_t xs1, int32_t xs2, int32_t xs3,      \
        int32_t xs4, int32_t xs5, int32_t y_offset, int32_t ys0, int32_t ys1, int32_t ys2, int32_t ys3, int32_t ys4,   \
        int32_t ys5)                                                                                                   \
    {                                                                                                                  \
        for (int32_t i0 = 0; i0 < n0; ++i0) {                                                                          \
            for (int32_t i1 = 0; i1 < n1; ++i1) {                                                                      \
                for (int32_t i2 = 0; i2 < n2; ++i2) {                                                                  \
                    for (int32_t i3 = 0; i3 < n3; ++i3) {                                                              \
                        for (int32_t i4 = 0; i4 < n4; ++i4) {                                                          \
                            const type *in = x + (x_offset + i0 * xs0 + i1 * xs1 + i2 * xs2 + i3 * xs3 + i4 * xs4);    \
                            type *out = y + (y_offset + i0 * ys0 + i1 * ys1 + i2 * ys2 + i3 * ys3 + i4 * ys4);         \
                            for (int32_t i5 = 0; i5 < n5; ++i5) {                                                      \
                                out[i5 * ys5] = in[i5 * xs5];                                                          \
                            }                                                                                          \
                        }                                                                                              \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

#define ML_FILL(name, type)                                                                                            \
    ML_INLINE void name(type *y, int32_t count, type value)                                                            \
    {                                                                                                                  \
        for (int32_t i = 0; i < count; ++i) {                                                                          \
            y[i] = value;                                                                                              \
        }                                                                                                              \
    }

ML_COPY(x8_copy__portable, uint8_t)
ML_COPY(x16_copy__portable, ml_x16)
ML_COPY(x32_copy__portable, ml_x32)
ML_COPY(x64_copy__portable, ml_x64)
ML_FILL(x8_fill__portable, uint8_t)
ML_FILL(x16_fill__portable, ml_x16)
ML_FILL(x32_fill__portable, ml_x32)
ML_FILL(x64_fill__portable, ml_x64)

#endif
