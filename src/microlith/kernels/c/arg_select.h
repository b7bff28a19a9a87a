/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Where the greatest or least elements of an axis are; running sums along an axis. */
#ifndef ML_ARG_SELECT_H
#define ML_ARG_SELECT_H

#include "ml_common.h"

/*
 * The places along the middle axis of (outer, count, inner) of the k greatest (or least) elements in order; of equal
 * ones the first, or (last) the last, comes first. Each turn looks for the best of those that come after the one
 * before, so that no memory is needed.
 */
#define ML_ARG_SELECT(name, type)                                                                                      \
    ML_INLINE void name(int64_t *ML_RESTRICT y, const type *ML_RESTRICT x, int32_t outer, int32_t count,               \
        int32_t inner, int32_t k, int32_t largest, int32_t last)                                                       \
    {                                                                                                                  \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t i = 0; i < inner; ++i) {                                                                      \
                const type *line = x + (o * count * inner + i);                                                        \
                int32_t before = -1;                                                                                   \
                for (int32_t turn = 0; turn < k; ++turn) {                                                             \
                    int32_t best = -1;                                                                                 \
                    for (int32_t c = 0; c < count; ++c) {                                                              \
                        const type value = line[c * inner];                                                            \
                        if (before >= 0) {                                                                             \
                            const type bound = line[before * inner];                                                   \
                            const int32_t inside = largest ? value < bound : value > bound;                            \
                            const int32_t later = last ? c < before : c > before;                                      \
                            if (!inside && !(value == bound && later)) {                                               \
                                continue;                                                                              \
                            }                                                                                          \
                        }                                                                                              \
                        if (best >= 0) {                                                                               \
                            const type rival = line[best * inner];                                                     \
                            const int32_t better = largest ? value > rival : value < rival;                            \
                            if (!better && !(last && value == rival)) {                                                \
                                continue;                                                                              \
                            }                                                                                          \
                        }                                                                                              \
                        best = c;                                                                                      \
                    }                                                                                                  \
                    before = best < 0 ? 0 : best; /* none is left only where some are NaN */                           \
                    y[(o * k + turn) * inner + i] = before;                                                            \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

/* Sums of the elements up to each along the middle axis; without its own (exclusive); from the end (reverse). */
#define ML_CUMULATIVE_SUM(name, type, sum, add)                                                                        \
    ML_INLINE void name(type *ML_RESTRICT y, const type *ML_RESTRICT x, int32_t outer, int32_t count, int32_t inner,   \
        int32_t exclusive, int32_t reverse)                                                                            \
    {                                                                                                                  \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t i = 0; i < inner; ++i) {                                                                      \
                sum total = 0;                                                                                         \
                for (int32_t c = 0; c < count; ++c) {                                                                  \
                    const int32_t place = (o * count + (reverse ? count - 1 - c : c)) * inner + i;                     \
                    const sum value = (sum)x[place];                                                                   \
                    if (exclusive) {                                                                                   \
                        y[place] = (type)total;                                                                        \
                        total = add(total, value);                                                                     \
                    } else {                                                                                           \
                        total = add(total, value);                                                                     \
                        y[place] = (type)total;                                                                        \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

#define ML_SUM(a, b) ((a) + (b))

ML_ARG_SELECT(f32_arg_select__portable, float)
ML_ARG_SELECT(s8_arg_select__portable, int8_t)
ML_ARG_SELECT(u8_arg_select__portable, uint8_t)
ML_ARG_SELECT(s16_arg_select__portable, int16_t)
ML_ARG_SELECT(u16_arg_select__portable, uint16_t)
ML_ARG_SELECT(s32_arg_select__portable, int32_t)
ML_ARG_SELECT(u32_arg_select__portable, uint32_t)
ML_ARG_SELECT(s64_arg_select__portable, int64_t)
ML_ARG_SELECT(u64_arg_select__portable, uint64_t)
ML_CUMULATIVE_SUM(f32_cumulative_sum__portable, float, float, ML_SUM)
ML_CUMULATIVE_SUM(s32_cumulative_sum__portable, int32_t, uint32_t, ML_SUM)
ML_CUMULATIVE_SUM(s64_cumulative_sum__portable, int64_t, uint64_t, ML_SUM)

#endif
