/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Reductions of integers over one axis; sums and products wrap around. */
#ifndef ML_INT_REDUCE_H
#define ML_INT_REDUCE_H

#include "ml_reduce.h"

/* y[o, i] = function over k of x[o, k, i]. No sum overflows: `unsigned_type` is at least as wide as `type` and int. */
#define ML_INT_REDUCE(name, type, unsigned_type)                                                                       \
    ML_INLINE void name(type *ML_RESTRICT y, const type *ML_RESTRICT x, int32_t function, int32_t outer,               \
        int32_t count, int32_t inner)                                                                                  \
    {                                                                                                                  \
        for (int32_t o = 0; o < outer; ++o, x += count * inner) {                                                      \
            for (int32_t i = 0; i < inner; ++i) {                                                                      \
                type extreme = x[i];                                                                                   \
                unsigned_type total = function == ML_REDUCE_PROD ? 1u : 0u;                                            \
                for (int32_t k = 0; k < count; ++k) {                                                                  \
                    const type value = x[k * inner + i];                                                               \
                    const unsigned_type part = (unsigned_type)value;                                                   \
                    if (function == ML_REDUCE_MAX) {                                                                   \
                        extreme = value > extreme ? value : extreme;                                                   \
                    } else if (function == ML_REDUCE_MIN) {                                                            \
                        extreme = value < extreme ? value : extreme;                                                   \
                    } else if (function == ML_REDUCE_PROD) {                                                           \
                        total *= part;                                                                                 \
                    } else if (function == ML_REDUCE_SUM_SQUARE) {                                                     \
                        total += part * part;                                                                          \
                    } else if (function == ML_REDUCE_L1) {                                                             \
                        total += value < 1 ? (unsigned_type)0 - part : part;                                           \
                    } else {                                                                                           \
                        total += part;                                                                                 \
                    }                                                                                                  \
                }                                                                                                      \
                *y++ = function == ML_REDUCE_MAX || function == ML_REDUCE_MIN ? extreme : (type)total;                 \
            }                                                                                                          \
        }                                                                                                              \
    }

ML_INT_REDUCE(bool_reduce__portable, uint8_t, uint32_t)
ML_INT_REDUCE(s8_reduce__portable, int8_t, uint32_t)
ML_INT_REDUCE(u8_reduce__portable, uint8_t, uint32_t)
ML_INT_REDUCE(s32_reduce__portable, int32_t, uint32_t)
ML_INT_REDUCE(u32_reduce__portable, uint32_t, uint32_t)
ML_INT_REDUCE(s64_reduce__portable, int64_t, uint64_t)
ML_INT_REDUCE(u64_reduce__portable, uint64_t, uint64_t)

#endif
