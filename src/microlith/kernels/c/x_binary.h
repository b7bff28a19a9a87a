/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * Elementwise operations of two tensors of any type, with broadcasting: arithmetic, bits and comparisons.
 *
 * Integers wrap around, as NumPy's do. Division truncates; by 0 it gives 0, and so does a remainder. A shift by the
 * width of the type or more gives 0. A negative power of an integer is 0, except of 1 and -1.
 */
#ifndef ML_X_BINARY_H
#define ML_X_BINARY_H

#include "ml_math.h"
#include "ml_strided.h"

enum {
    ML_BINARY_ADD = 0,
    ML_BINARY_SUB = 1,
    ML_BINARY_MUL = 2,
    ML_BINARY_DIV = 3,
    ML_BINARY_MOD = 4,  /* sign of the divisor */
    ML_BINARY_FMOD = 5, /* sign of the dividend */
    ML_BINARY_POW = 6,
    ML_BINARY_MIN = 7,
    ML_BINARY_MAX = 8,
    ML_BINARY_AND = 9,
    ML_BINARY_OR = 10,
    ML_BINARY_XOR = 11,
    ML_BINARY_SHIFT_LEFT = 12,
    ML_BINARY_SHIFT_RIGHT = 13,
    ML_BINARY_PRELU = 14 /* a * b below 0, else a */
};

enum {
    ML_COMPARE_EQUAL = 0,
    ML_COMPARE_GREATER = 1,
    ML_COMPARE_GREATER_OR_EQUAL = 2,
    ML_COMPARE_LESS = 3,
    ML_COMPARE_LESS_OR_EQUAL = 4
};

/* `wide` is the unsigned type in which arithmetic wraps; `is_signed` says whether `type` has negative values. */
#define ML_INTEGER_BINARY(prefix, type, wide, is_signed)                                                               \
    ML_INLINE type prefix##_power(type a, type b)                                                                      \
    {                                                                                                                  \
        wide power = 1u;                                                                                               \
        wide base = (wide)a;                                                                                           \
        if ((is_signed) && ml_is_negative((int64_t)b)) {                                                               \
            const int odd = ((wide)b & 1u) != 0u;                                                                      \
            return (type)(a == (type)1 || (a == (type)-1 && !odd) ? 1 : a == (type)-1 ? -1 : 0);                       \
        }                                                                                                              \
        for (wide left = (wide)b; left != 0u; left >>= 1) {                                                            \
            if ((left & 1u) != 0u) {                                                                                   \
                power *= base;                                                                                         \
            }                                                                                                          \
            base *= base;                                                                                              \
        }                                                                                                              \
        return (type)power;                                                                                            \
    }                                                                                                                  \
                                                                                                                       \
    ML_INLINE type prefix##_remainder(type a, type b, int divisor_sign)                                                \
    {                                                                                                                  \
        type rest;                                                                                                     \
        if (b == (type)0 || ((is_signed) && b == (type)-1)) {                                                          \
            return (type)0;                                                                                            \
        }                                                                                                              \
        rest = (type)(a % b);                                                                                          \
        return (is_signed) && divisor_sign && rest != (type)0                                                          \
                && ml_is_negative((int64_t)rest) != ml_is_negative((int64_t)b)                                         \
            ? (type)(rest + b)                                                                                         \
            : rest;                                                                                                    \
    }                                                                                                                  \
                                                                                                                       \
    ML_INLINE type prefix##_binary_one(type a, type b, int32_t function)                                               \
    {                                                                                                                  \
        const wide bits = (wide)(8u * sizeof(type));                                                                   \
        switch (function) {                                                                                            \
        case ML_BINARY_ADD:                                                                                            \
            return (type)((wide)a + (wide)b);                                                                          \
        case ML_BINARY_SUB:                                                                                            \
            return (type)((wide)a - (wide)b);                                                                          \
        case ML_BINARY_MUL:                                                                                            \
            return (type)((wide)a * (wide)b);                                                                          \
        case ML_BINARY_DIV:                                                                                            \
            if ((is_signed) && b == (type)-1) {                                                                        \
                return (type)((wide)0 - (wide)a);                                                                      \
            }                                                                                                          \
            return b == (type)0 ? (type)0 : (type)(a / b);                                                             \
        case ML_BINARY_MOD:                                                                                            \
            return prefix##_remainder(a, b, 1);                                                                        \
        case ML_BINARY_FMOD:                                                                                           \
            return prefix##_remainder(a, b, 0);                                                                        \
        case ML_BINARY_POW:                                                                                            \
            return prefix##_power(a, b);                                                                               \
        case ML_BINARY_MIN:                                                                                            \
            return a < b ? a : b;                                                                                      \
        case ML_BINARY_MAX:                                                                                            \
            return a > b ? a : b;                                                                                      \
        case ML_BINARY_AND:                                                                                            \
            return (type)((wide)a & (wide)b);                                                                          \
        case ML_BINARY_OR:                                                                                             \
            return (type)((wide)a | (wide)b);                                                                          \
        case ML_BINARY_XOR:                                                                                            \
            return (type)((wide)a ^ (wide)b);                                                                          \
        case ML_BINARY_SHIFT_LEFT:                                                                                     \
            return (wide)b < bits ? (type)((wide)a << b) : (type)0;                                                    \
        case ML_BINARY_SHIFT_RIGHT:                                                                                    \
            return (wide)b < bits ? (type)((wide)a >> b) : (type)0;                                                    \
        default:                                                                                                       \
            return (is_signed) && ml_is_negative((int64_t)a) ? (type)((wide)a * (wide)b) : a;                          \
        }                                                                                                              \
    }

/* NaN passes through MIN and MAX. */
ML_INLINE float ml_plain_f32_binary_one(float a, float b, int32_t function)
{
    switch (function) {
    case ML_BINARY_ADD:
        return a + b;
    case ML_BINARY_SUB:
        return a - b;
    case ML_BINARY_MUL:
        return a * b;
    case ML_BINARY_DIV:
        return a / b;
    case ML_BINARY_FMOD:
        return ml_fmod(a, b);
    case ML_BINARY_POW:
        return ml_pow(a, b);
    case ML_BINARY_MIN:
        return a < b || a != a ? a : b;
    case ML_BINARY_MAX:
        return a > b || a != a ? a : b;
    default:
        return a < 0.0f ? a * b : a;
    }
}

#define ML_COMPARE(prefix, type)                                                                                       \
    ML_INLINE uint8_t prefix##_compare_one(type a, type b, int32_t function)                                           \
    {                                                                                                                  \
        switch (function) {                                                                                            \
        case ML_COMPARE_EQUAL:                                                                                         \
            return a == b;                                                                                             \
        case ML_COMPARE_GREATER:                                                                                       \
            return a > b;                                                                                              \
        case ML_COMPARE_GREATER_OR_EQUAL:                                                                              \
            return a >= b;                                                                                             \
        case ML_COMPARE_LESS:                                                                                          \
            return a < b;                                                                                              \
        default:                                                                                                       \
            return a <= b;                                                                                             \
        }                                                                                                              \
    }

#define ML_INTEGER(prefix, type, wide, is_signed)                                                                      \
    ML_INTEGER_BINARY(prefix, type, wide, is_signed)                                                                   \
    ML_COMPARE(prefix, type)

ML_INTEGER(ml_plain_s8, int8_t, uint32_t, 1)
ML_INTEGER(ml_plain_u8, uint8_t, uint32_t, 0)
ML_INTEGER(ml_plain_s16, int16_t, uint32_t, 1)
ML_INTEGER(ml_plain_u16, uint16_t, uint32_t, 0)
ML_INTEGER(ml_plain_s32, int32_t, uint32_t, 1)
ML_INTEGER(ml_plain_u32, uint32_t, uint32_t, 0)
ML_INTEGER(ml_plain_s64, int64_t, uint64_t, 1)
ML_INTEGER(ml_plain_u64, uint64_t, uint64_t, 0)
ML_COMPARE(ml_plain_f32, float)

ML_STRIDED_TWO(s8_binary__portable, int8_t, int8_t, ml_plain_s8_binary_one)
ML_STRIDED_TWO(u8_binary__portable, uint8_t, uint8_t, ml_plain_u8_binary_one)
ML_STRIDED_TWO(s16_binary__portable, int16_t, int16_t, ml_plain_s16_binary_one)
ML_STRIDED_TWO(u16_binary__portable, uint16_t, uint16_t, ml_plain_u16_binary_one)
ML_STRIDED_TWO(s32_binary__portable, int32_t, int32_t, ml_plain_s32_binary_one)
ML_STRIDED_TWO(u32_binary__portable, uint32_t, uint32_t, ml_plain_u32_binary_one)
ML_STRIDED_TWO(s64_binary__portable, int64_t, int64_t, ml_plain_s64_binary_one)
ML_STRIDED_TWO(u64_binary__portable, uint64_t, uint64_t, ml_plain_u64_binary_one)
ML_STRIDED_TWO(f32_binary__portable, float, float, ml_plain_f32_binary_one)
ML_STRIDED_TWO(s8_compare__portable, uint8_t, int8_t, ml_plain_s8_compare_one)
ML_STRIDED_TWO(u8_compare__portable, uint8_t, uint8_t, ml_plain_u8_compare_one)
ML_STRIDED_TWO(s16_compare__portable, uint8_t, int16_t, ml_plain_s16_compare_one)
ML_STRIDED_TWO(u16_compare__portable, uint8_t, uint16_t, ml_plain_u16_compare_one)
ML_STRIDED_TWO(s32_compare__portable, uint8_t, int32_t, ml_plain_s32_compare_one)
ML_STRIDED_TWO(u32_compare__portable, uint8_t, uint32_t, ml_plain_u32_compare_one)
ML_STRIDED_TWO(s64_compare__portable, uint8_t, int64_t, ml_plain_s64_compare_one)
ML_STRIDED_TWO(u64_compare__portable, uint8_t, uint64_t, ml_plain_u64_compare_one)
ML_STRIDED_TWO(f32_compare__portable, uint8_t, float, ml_plain_f32_compare_one)

#endif
