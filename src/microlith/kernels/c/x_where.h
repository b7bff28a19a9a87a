/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* A choice between the elements of two tensors, by the width of an element, with broadcasting. */
#ifndef ML_X_WHERE_H
#define ML_X_WHERE_H

#include "ml_strided.h"
#include "x_copy.h"

/* y = a ? b : c, where y has no gaps and may lie at or before an operand whose elements lie as its own. */
#define ML_WHERE(name, type)                                                                                           \
    ML_INLINE void name(type *y, const uint8_t *a, const type *b, const type *c, ML_STRIDES(n), ML_STRIDES(as),        \
        ML_STRIDES(bs), ML_STRIDES(cs))                                                                                \
    {                                                                                                                  \
        ML_FOR_FIVE_AXES {                                                                                             \
            const uint8_t *a_run = a + ML_PLACE(as);                                                                   \
            const type *b_run = b + ML_PLACE(bs);                                                                      \
            const type *c_run = c + ML_PLACE(cs);                                                                      \
            for (int32_t i5 = 0; i5 < n5; ++i5) {                                                                      \
                *y++ = a_run[i5 * as5] != 0u ? b_run[i5 * bs5] : c_run[i5 * cs5];                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

ML_WHERE(x8_where__portable, uint8_t)
ML_WHERE(x16_where__portable, ml_x16)
ML_WHERE(x32_where__portable, ml_x32)
ML_WHERE(x64_where__portable, ml_x64)

#endif
