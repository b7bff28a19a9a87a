/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Square root and natural logarithm of floats without a C library. */
#ifndef ML_ROOT_H
#define ML_ROOT_H

#include "ml_float.h"

typedef union {
    uint32_t bits;
    float value;
} ml_float_bits;

/* Square root, within one unit in the last place; NaN below 0. */
ML_INLINE float ml_root(float x)
{
    /* Powers of 4 bring small numbers to where the first guess is good; the root undoes them. */
    const float up = x < 1e-30f ? 1.8446744e19f : 1.0f;
    const float down = x < 1e-30f ? 2.3283064e-10f : 1.0f;
    ml_float_bits guess;
    float inverse;
    float root;
    if (!(x > 0.0f)) {
        return x == 0.0f ? x : ML_NAN;
    }
    if (x > 3.4028234e38f) {
        return x;
    }
    guess.value = x * up;
    x = guess.value;
    guess.bits = 0x5f375a86u - (guess.bits >> 1);
    inverse = guess.value;
    for (int32_t step = 0; step < 3; ++step) {
        inverse = inverse * (1.5f - 0.5f * (x * inverse) * inverse);
    }
    root = x * inverse;
    root = 0.5f * (root + x / root);
    return root * down;
}

/* Natural logarithm, relative error below 3e-7 away from 1; minus infinity of 0, NaN below. */
ML_INLINE float ml_ln(float x)
{
    const float ln2 = 0.693147181f;
    const float bias = x < 1.17549435e-38f ? -24.0f : 0.0f; /* subnormal numbers are first multiplied by 2^24 */
    ml_float_bits parts;
    int32_t exponent;
    float s;
    float square;
    if (!(x > 0.0f)) {
        return x == 0.0f ? -ML_INFINITY : ML_NAN;
    }
    if (x > 3.4028234e38f) {
        return x;
    }
    parts.value = bias < 0.0f ? x * 16777216.0f : x;
    exponent = (int32_t)(parts.bits >> 23) - 127;
    parts.bits = (parts.bits & 0x007fffffu) | 0x3f800000u;
    if (parts.value > 1.41421356f) {
        parts.value *= 0.5f;
        exponent += 1;
    }
    /* ln(m) = 2 * artanh((m - 1) / (m + 1)), of which five terms remain for |s| < 0.172. */
    s = (parts.value - 1.0f) / (parts.value + 1.0f);
    square = s * s;
    square = s * square * (0.666666667f + square * (0.4f + square * (0.285714286f + square * 0.222222222f)));
    return ((float)exponent + bias) * ln2 + (2.0f * s + square);
}

#endif
