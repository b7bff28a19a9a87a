/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Loops over results of up to six axes whose operands have strides of their own, in elements; 0 repeats an operand. */
#ifndef ML_STRIDED_H
#define ML_STRIDED_H

#include "ml_common.h"

#define ML_STRIDES(s) int32_t s##0, int32_t s##1, int32_t s##2, int32_t s##3, int32_t s##4, int32_t s##5
#define ML_PLACE(s) (i0 * s##0 + i1 * s##1 + i2 * s##2 + i3 * s##3 + i4 * s##4)

#define ML_FOR_FIVE_AXES                                                                                               \
    for (int32_t i0 = 0; i0 < n0; ++i0)                                                                                \
        for (int32_t i1 = 0; i1 < n1; ++i1)                                                                            \
            for (int32_t i2 = 0; i2 < n2; ++i2)                                                                        \
                for (int32_t i3 = 0; i3 < n3; ++i3)                                                                    \
                    for (int32_t i4 = 0; i4 < n4; ++i4)

/* y = one(a, b, function), where y has no gaps and may lie at or before an operand whose elements lie as its own. */
#define ML_STRIDED_TWO(name, result, type, one)                                                                        \
    ML_INLINE void name(                                                                                               \
        result *y, const type *a, const type *b, ML_STRIDES(n), ML_STRIDES(as), ML_STRIDES(bs), int32_t function)      \
    {                                                                                                                  \
        ML_FOR_FIVE_AXES {                                                                                             \
            const type *a_run = a + ML_PLACE(as);                                                                      \
            const type *b_run = b + ML_PLACE(bs);                                                                      \
            for (int32_t i5 = 0; i5 < n5; ++i5) {                                                                      \
                *y++ = one(a_run[i5 * as5], b_run[i5 * bs5], function);                                                \
            }                                                                                                          \
        }                                                                                                              \
    }

#endif
