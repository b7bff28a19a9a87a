/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Functions of one integer or boolean, and tests of floats. Integers wrap around, as NumPy's do. */
#ifndef ML_X_UNARY_H
#define ML_X_UNARY_H

#include "ml_common.h"

enum {
    ML_INTEGER_ABS = 0,
    ML_INTEGER_NEGATE = 1,
    ML_INTEGER_SIGN = 2,
    ML_INTEGER_COMPLEMENT = 3, /* of every bit */
    ML_INTEGER_NOT = 4,        /* of a boolean */
    ML_INTEGER_CLAMP = 5       /* to [low, high], high where they cross */
};

enum { ML_TEST_NAN = 0, ML_TEST_INFINITY = 1, ML_TEST_POSITIVE_INFINITY = 2, ML_TEST_NEGATIVE_INFINITY = 3 };

#define ML_INTEGER_UNARY(name, type, wide, is_signed)                                                                  \
    ML_INLINE void name(type *y, const type *x, int32_t count, int32_t function, type low, type high)                  \
    {                                                                                                                  \
        for (int32_t i = 0; i < count; ++i) {                                                                          \
            const type value = x[i];                                                                                   \
            const int negative = (is_signed) && ml_is_negative((int64_t)value);                                        \
            const type opposite = (type)((wide)0 - (wide)value);                                                       \
            const type raised = value > low ? value : low;                                                             \
            switch (function) {                                                                                        \
            case ML_INTEGER_ABS:                                                                                       \
                y[i] = negative ? opposite : value;                                                                    \
                break;                                                                                                 \
            case ML_INTEGER_NEGATE:                                                                                    \
                y[i] = opposite;                                                                                       \
                break;                                                                                                 \
            case ML_INTEGER_SIGN:                                                                                      \
                y[i] = (type)(negative ? -1 : value != (type)0);                                                       \
                break;                                                                                                 \
            case ML_INTEGER_COMPLEMENT:                                                                                \
                y[i] = (type) ~(wide)value;                                                                            \
                break;                                                                                                 \
            case ML_INTEGER_NOT:                                                                                       \
                y[i] = value == (type)0;                                                                               \
                break;                                                                                                 \
            default:                                                                                                   \
                y[i] = raised < high ? raised : high;                                                                  \
                break;                                                                                                 \
            }                                                                                                          \
        }                                                                                                              \
    }

ML_INTEGER_UNARY(s8_unary__portable, int8_t, uint32_t, 1)
ML_INTEGER_UNARY(u8_unary__portable, uint8_t, uint32_t, 0)
ML_INTEGER_UNARY(s16_unary__portable, int16_t, uint32_t, 1)
ML_INTEGER_UNARY(u16_unary__portable, uint16_t, uint32_t, 0)
ML_INTEGER_UNARY(s32_unary__portable, int32_t, uint32_t, 1)
ML_INTEGER_UNARY(u32_unary__portable, uint32_t, uint32_t, 0)
ML_INTEGER_UNARY(s64_unary__portable, int64_t, uint64_t, 1)
ML_INTEGER_UNARY(u64_unary__portable, uint64_t, uint64_t, 0)

/* y may lie at or before x. */
ML_INLINE void f32_test__portable(uint8_t *y, const float *x, int32_t count, int32_t function)
{
    for (int32_t i = 0; i < count; ++i) {
        const float value = x[i];
        const int positive = value > 3.402823466e38f;
        const int negative = value < -3.402823466e38f;
        const int result = function == ML_TEST_NAN ? value != value
            : function == ML_TEST_INFINITY         ? positive || negative
            : function == ML_TEST_POSITIVE_INFINITY ? positive
                                                    : negative;
        y[i] = (uint8_t)result;
    }
}

#endif
