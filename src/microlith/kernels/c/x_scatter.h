/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Elements that are written, or combined with what is there, where indices say; y holds its first values already. */
#ifndef ML_X_SCATTER_H
#define ML_X_SCATTER_H

#include "ml_index.h"
#include "x_copy.h"

#define ML_PUT(type, a, b) (b)
#define ML_ADD_FLOAT(type, a, b) ((a) + (b))
#define ML_MUL_FLOAT(type, a, b) ((a) * (b))
/* Integers wrap around; unsigned arithmetic of 64 bits defines that for every width. */
#define ML_ADD_WRAP(type, a, b) ((type)((uint64_t)(a) + (uint64_t)(b)))
#define ML_MUL_WRAP(type, a, b) ((type)((uint64_t)(a) * (uint64_t)(b)))
#define ML_LEAST(type, a, b) ((b) < (a) ? (b) : (a))
#define ML_GREATEST(type, a, b) ((b) > (a) ? (b) : (a))

/* Slice i of inner elements goes where depth indices say; places: size and stride of the axes that they count. */
#define ML_SCATTER(name, type, combine)                                                                                \
    ML_INLINE void name(type *ML_RESTRICT y, const void *indices, const type *ML_RESTRICT updates,                     \
        const int32_t *places, int32_t count, int32_t inner, int32_t depth, int32_t wide)                              \
    {                                                                                                                  \
        for (int32_t i = 0; i < count; ++i) {                                                                          \
            int32_t offset = 0;                                                                                        \
            for (int32_t d = 0; d < depth; ++d) {                                                                      \
                offset += ml_index(indices, wide, i * depth + d, places[2 * d]) * places[2 * d + 1];                   \
            }                                                                                                          \
            for (int32_t r = 0; r < inner; ++r) {                                                                      \
                const type update = updates[i * inner + r];                                                            \
                y[offset + r] = combine(type, y[offset + r], update);                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }

/* updates[p] goes to p, but indices[p] along the axis of that size and stride; axes: size of updates, stride of y. */
#define ML_SCATTER_ELEMENTS(name, type, combine)                                                                       \
    ML_INLINE void name(type *ML_RESTRICT y, const void *indices, const type *ML_RESTRICT updates,                     \
        const int32_t *axes, int32_t count, int32_t size, int32_t stride, int32_t rank, int32_t wide)                  \
    {                                                                                                                  \
        int32_t at[ML_AXES];                                                                                           \
        int32_t offset = 0;                                                                                            \
        ml_first_place(at);                                                                                            \
        for (int32_t i = 0; i < count; ++i) {                                                                          \
            const type update = updates[i];                                                                            \
            type *out = y + (offset + ml_index(indices, wide, i, size) * stride);                                      \
            *out = combine(type, *out, update);                                                                        \
            offset = ml_next_place(at, axes, rank, offset);                                                            \
        }                                                                                                              \
    }

ML_SCATTER(x8_scatter__portable, uint8_t, ML_PUT)
ML_SCATTER_ELEMENTS(x8_scatter_elements__portable, uint8_t, ML_PUT)
ML_SCATTER(x16_scatter__portable, ml_x16, ML_PUT)
ML_SCATTER_ELEMENTS(x16_scatter_elements__portable, ml_x16, ML_PUT)
ML_SCATTER(x32_scatter__portable, ml_x32, ML_PUT)
ML_SCATTER_ELEMENTS(x32_scatter_elements__portable, ml_x32, ML_PUT)
ML_SCATTER(x64_scatter__portable, ml_x64, ML_PUT)
ML_SCATTER_ELEMENTS(x64_scatter_elements__portable, ml_x64, ML_PUT)
ML_SCATTER(f32_scatter_add__portable, float, ML_ADD_FLOAT)
ML_SCATTER_ELEMENTS(f32_scatter_elements_add__portable, float, ML_ADD_FLOAT)
ML_SCATTER(f32_scatter_mul__portable, float, ML_MUL_FLOAT)
ML_SCATTER_ELEMENTS(f32_scatter_elements_mul__portable, float, ML_MUL_FLOAT)
ML_SCATTER(f32_scatter_min__portable, float, ML_LEAST)
ML_SCATTER_ELEMENTS(f32_scatter_elements_min__portable, float, ML_LEAST)
ML_SCATTER(f32_scatter_max__portable, float, ML_GREATEST)
ML_SCATTER_ELEMENTS(f32_scatter_elements_max__portable, float, ML_GREATEST)
ML_SCATTER(s32_scatter_add__portable, int32_t, ML_ADD_WRAP)
ML_SCATTER_ELEMENTS(s32_scatter_elements_add__portable, int32_t, ML_ADD_WRAP)
ML_SCATTER(s32_scatter_mul__portable, int32_t, ML_MUL_WRAP)
ML_SCATTER_ELEMENTS(s32_scatter_elements_mul__portable, int32_t, ML_MUL_WRAP)
ML_SCATTER(s32_scatter_min__portable, int32_t, ML_LEAST)
ML_SCATTER_ELEMENTS(s32_scatter_elements_min__portable, int32_t, ML_LEAST)
ML_SCATTER(s32_scatter_max__portable, int32_t, ML_GREATEST)
ML_SCATTER_ELEMENTS(s32_scatter_elements_max__portable, int32_t, ML_GREATEST)
ML_SCATTER(s64_scatter_add__portable, int64_t, ML_ADD_WRAP)
ML_SCATTER_ELEMENTS(s64_scatter_elements_add__portable, int64_t, ML_ADD_WRAP)
ML_SCATTER(s64_scatter_mul__portable, int64_t, ML_MUL_WRAP)
ML_SCATTER_ELEMENTS(s64_scatter_elements_mul__portable, int64_t, ML_MUL_WRAP)
ML_SCATTER(s64_scatter_min__portable, int64_t, ML_LEAST)
ML_SCATTER_ELEMENTS(s64_scatter_elements_min__portable, int64_t, ML_LEAST)
ML_SCATTER(s64_scatter_max__portable, int64_t, ML_GREATEST)
ML_SCATTER_ELEMENTS(s64_scatter_elements_max__portable, int64_t, ML_GREATEST)

#endif
