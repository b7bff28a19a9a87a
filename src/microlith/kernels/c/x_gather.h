/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Elements that are read where indices say, whatever they stand for. */
#ifndef ML_X_GATHER_H
#define ML_X_GATHER_H

#include "ml_index.h"
#include "x_copy.h"

/* A float without its fraction; one that no tensor has as many elements as becomes a number far from all indices. */
ML_INLINE int64_t ml_whole(float value)
{
    return value > -1e9f && value < 1e9f ? (int64_t)value : INT64_MAX;
}

/*
 * For each of outer parts of x, count slices of inner elements; depth indices name a slice, and places holds size and
 * stride of the axes that they count. The indices of the next part begin index_step further, or are the same (0).
 */
#define ML_GATHER(name, type)                                                                                          \
    ML_INLINE void name(type *ML_RESTRICT y, const type *ML_RESTRICT x, const void *indices, const int32_t *places,    \
        int32_t outer, int32_t count, int32_t inner, int32_t data_step, int32_t index_step, int32_t depth,             \
        int32_t wide)                                                                                                  \
    {                                                                                                                  \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t i = 0; i < count; ++i) {                                                                      \
                int32_t offset = o * data_step;                                                                        \
                for (int32_t d = 0; d < depth; ++d) {                                                                  \
                    const int32_t which = o * index_step + i * depth + d;                                              \
                    offset += ml_index(indices, wide, which, places[2 * d]) * places[2 * d + 1];                       \
                }                                                                                                      \
                for (int32_t r = 0; r < inner; ++r) {                                                                  \
                    y[r] = x[offset + r];                                                                              \
                }                                                                                                      \
                y += inner;                                                                                            \
            }                                                                                                          \
        }                                                                                                              \
    }

/* y[p] = x[p, but indices[p] along the axis of that size and stride]; axes: size of y and stride of x, there 0. */
#define ML_GATHER_ELEMENTS(name, type)                                                                                 \
    ML_INLINE void name(type *ML_RESTRICT y, const type *ML_RESTRICT x, const void *indices, const int32_t *axes,      \
        int32_t count, int32_t size, int32_t stride, int32_t rank, int32_t wide)                                       \
    {                                                                                                                  \
        int32_t at[ML_AXES];                                                                                           \
        int32_t offset = 0;                                                                                            \
        ml_first_place(at);                                                                                            \
        for (int32_t i = 0; i < count; ++i) {                                                                          \
            y[i] = x[offset + ml_index(indices, wide, i, size) * stride];                                              \
            offset = ml_next_place(at, axes, rank, offset);                                                            \
        }                                                                                                              \
    }

/* The first lengths[b] steps of sequence b in reverse order, the others as they are; a step has inner elements. */
#define ML_REVERSE_SEQUENCE(name, type)                                                                                \
    ML_INLINE void name(type *ML_RESTRICT y, const type *ML_RESTRICT x, const void *lengths, int32_t batch,            \
        int32_t steps, int32_t inner, int32_t batch_stride, int32_t step_stride, int32_t wide)                         \
    {                                                                                                                  \
        for (int32_t b = 0; b < batch; ++b) {                                                                          \
            const int64_t given = ml_integer(lengths, wide, b);                                                        \
            const int32_t length = given < 0 ? 0 : given < steps ? (int32_t)given : steps;                             \
            for (int32_t s = 0; s < steps; ++s) {                                                                      \
                const type *in = x + b * batch_stride + (s < length ? length - 1 - s : s) * step_stride;               \
                type *out = y + b * batch_stride + s * step_stride;                                                    \
                for (int32_t r = 0; r < inner; ++r) {                                                                  \
                    out[r] = in[r];                                                                                    \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

/* y[o, d, i] = values[1] where indices[o, i] is d, or d - depth, else values[0]; kind 2: the indices are floats. */
#define ML_ONE_HOT(name, type)                                                                                         \
    ML_INLINE void name(type *ML_RESTRICT y, const void *indices, const type *ML_RESTRICT values, int32_t outer,       \
        int32_t depth, int32_t inner, int32_t kind)                                                                    \
    {                                                                                                                  \
        for (int32_t o = 0; o < outer; ++o) {                                                                          \
            for (int32_t d = 0; d < depth; ++d) {                                                                      \
                for (int32_t i = 0; i < inner; ++i) {                                                                  \
                    const int32_t which = o * inner + i;                                                               \
                    const int64_t index =                                                                              \
                        kind == 2 ? ml_whole(((const float *)indices)[which]) : ml_integer(indices, kind, which);      \
                    *y = values[index == d || index == d - depth];                                                     \
                    ++y;                                                                                               \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

ML_GATHER(x8_gather__portable, uint8_t)
ML_GATHER_ELEMENTS(x8_gather_elements__portable, uint8_t)
ML_REVERSE_SEQUENCE(x8_reverse_sequence__portable, uint8_t)
ML_ONE_HOT(x8_one_hot__portable, uint8_t)
ML_GATHER(x16_gather__portable, ml_x16)
ML_GATHER_ELEMENTS(x16_gather_elements__portable, ml_x16)
ML_REVERSE_SEQUENCE(x16_reverse_sequence__portable, ml_x16)
ML_ONE_HOT(x16_one_hot__portable, ml_x16)
ML_GATHER(x32_gather__portable, ml_x32)
ML_GATHER_ELEMENTS(x32_gather_elements__portable, ml_x32)
ML_REVERSE_SEQUENCE(x32_reverse_sequence__portable, ml_x32)
ML_ONE_HOT(x32_one_hot__portable, ml_x32)
ML_GATHER(x64_gather__portable, ml_x64)
ML_GATHER_ELEMENTS(x64_gather_elements__portable, ml_x64)
ML_REVERSE_SEQUENCE(x64_reverse_sequence__portable, ml_x64)
ML_ONE_HOT(x64_one_hot__portable, ml_x64)

#endif
