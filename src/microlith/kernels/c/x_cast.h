/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * Between any two element types. Integers wrap around; a float is truncated and saturates, NaN gives 0; every number
 * but 0 gives true.
 */
#ifndef ML_X_CAST_H
#define ML_X_CAST_H

#include "ml_common.h"

enum {
    ML_TYPE_S8 = 0,
    ML_TYPE_U8 = 1,
    ML_TYPE_S16 = 2,
    ML_TYPE_U16 = 3,
    ML_TYPE_S32 = 4,
    ML_TYPE_U32 = 5,
    ML_TYPE_S64 = 6,
    ML_TYPE_U64 = 7,
    ML_TYPE_F32 = 8,
    ML_TYPE_BOOL = 9
};

/* Element i as 64 bits; signed ones are sign-extended. */
ML_INLINE uint64_t ml_load_integer(const void *x, int32_t i, int32_t type)
{
    switch (type) {
    case ML_TYPE_S8:
        return (uint64_t)((const int8_t *)x)[i];
    case ML_TYPE_S16:
        return (uint64_t)((const int16_t *)x)[i];
    case ML_TYPE_U16:
        return ((const uint16_t *)x)[i];
    case ML_TYPE_S32:
        return (uint64_t)((const int32_t *)x)[i];
    case ML_TYPE_U32:
        return ((const uint32_t *)x)[i];
    case ML_TYPE_S64:
    case ML_TYPE_U64:
        return ((const uint64_t *)x)[i];
    default:
        return ((const uint8_t *)x)[i];
    }
}

ML_INLINE void ml_store_integer(void *y, int32_t i, int32_t type, uint64_t value)
{
    switch (type) {
    case ML_TYPE_S16:
    case ML_TYPE_U16:
        ((uint16_t *)y)[i] = (uint16_t)value;
        break;
    case ML_TYPE_S32:
    case ML_TYPE_U32:
        ((uint32_t *)y)[i] = (uint32_t)value;
        break;
    case ML_TYPE_S64:
    case ML_TYPE_U64:
        ((uint64_t *)y)[i] = value;
        break;
    case ML_TYPE_BOOL:
        ((uint8_t *)y)[i] = value != 0u;
        break;
    default:
        ((uint8_t *)y)[i] = (uint8_t)value;
        break;
    }
}

/* `low` and `high` are powers of two beyond the least and the greatest value: -2^31 and 2^31 for int32. */
#define ML_SATURATED(type, bits, least, greatest, low, high)                                                           \
    (value >= (high) ? (uint64_t)(greatest) : value <= (low) ? (uint64_t)(least) : (uint64_t)(type)value)

ML_INLINE uint64_t ml_truncate(float value, int32_t type)
{
    if (value != value) {
        return type == ML_TYPE_BOOL;
    }
    switch (type) {
    case ML_TYPE_S8:
        return ML_SATURATED(int32_t, 8, INT8_MIN, INT8_MAX, -128.0f, 128.0f);
    case ML_TYPE_U8:
        return ML_SATURATED(int32_t, 8, 0, UINT8_MAX, 0.0f, 256.0f);
    case ML_TYPE_S16:
        return ML_SATURATED(int32_t, 16, INT16_MIN, INT16_MAX, -32768.0f, 32768.0f);
    case ML_TYPE_U16:
        return ML_SATURATED(int32_t, 16, 0, UINT16_MAX, 0.0f, 65536.0f);
    case ML_TYPE_S32:
        return ML_SATURATED(int32_t, 32, INT32_MIN, INT32_MAX, -2147483648.0f, 2147483648.0f);
    case ML_TYPE_U32:
        return ML_SATURATED(uint32_t, 32, 0, UINT32_MAX, 0.0f, 4294967296.0f);
    case ML_TYPE_S64:
        return ML_SATURATED(int64_t, 64, INT64_MIN, INT64_MAX, -9223372036854775808.0f, 9223372036854775808.0f);
    case ML_TYPE_U64:
        return ML_SATURATED(uint64_t, 64, 0, UINT64_MAX, 0.0f, 18446744073709551616.0f);
    default:
        return value != 0.0f;
    }
}

ML_INLINE float ml_load_float(const void *x, int32_t i, int32_t type)
{
    switch (type) {
    case ML_TYPE_F32:
        return ((const float *)x)[i];
    case ML_TYPE_U32:
        return (float)((const uint32_t *)x)[i];
    case ML_TYPE_S64:
        return (float)((const int64_t *)x)[i];
    case ML_TYPE_U64:
        return (float)((const uint64_t *)x)[i];
    default:
        return (float)(int32_t)ml_load_integer(x, i, type);
    }
}

/* y[i] of type `to` = x[i] of type `from`. y may lie at or before x where its elements are no wider. */
ML_INLINE void x_cast__portable(void *y, const void *x, int32_t count, int32_t to, int32_t from)
{
    for (int32_t i = 0; i < count; ++i) {
        if (to == ML_TYPE_F32) {
            ((float *)y)[i] = ml_load_float(x, i, from);
        } else if (from == ML_TYPE_F32) {
            ml_store_integer(y, i, to, ml_truncate(((const float *)x)[i], to));
        } else {
            ml_store_integer(y, i, to, ml_load_integer(x, i, from));
        }
    }
}

#endif
