/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Indices that are computed at run time, and places in tensors of many axes. */
#ifndef ML_INDEX_H
#define ML_INDEX_H

#include "ml_common.h"

/* Most axes that a place can have. */
#define ML_AXES 8

/* Integer i of an array of 32 or (wide) of 64 bits. */
ML_INLINE int64_t ml_integer(const void *integers, int32_t wide, int32_t i)
{
    return wide ? ((const int64_t *)integers)[i] : (int64_t)((const int32_t *)integers)[i];
}

/*
 * Index i of an array likewise, negative ones from the end. One that lies outside [-size, size) becomes the nearest
 * that does not, so that nothing outside is ever read or written.
 */
ML_INLINE int32_t ml_index(const void *indices, int32_t wide, int32_t i, int32_t size)
{
    int64_t index = ml_integer(indices, wide, i);
    if (index < 0) {
        index += size;
    }
    if (index < 0) {
        return 0;
    }
    return index < size ? (int32_t)index : size - 1;
}

ML_INLINE void ml_first_place(int32_t *at)
{
    for (int32_t axis = 0; axis < ML_AXES; ++axis) {
        at[axis] = 0;
    }
}

/* The offset of the next place in row-major order; axes holds size and stride of each axis. */
ML_INLINE int32_t ml_next_place(int32_t *at, const int32_t *axes, int32_t rank, int32_t offset)
{
    for (int32_t axis = rank - 1; axis >= 0; --axis) {
        offset += axes[2 * axis + 1];
        if (++at[axis] < axes[2 * axis]) {
            return offset;
        }
        offset -= axes[2 * axis] * axes[2 * axis + 1];
        at[axis] = 0;
    }
    return offset;
}

#endif
