/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * More functions of floats without a C library.
 *
 * Polynomials are weighted minimax fits made for this file, or series. NaN gives NaN; infinities and numbers outside a
 * function's domain give what IEEE 754 and NumPy give. Relative errors against float64 stay below 4e-7 over all floats,
 * trigonometric functions of large angles included; pow stays below 1e-7; trunc, floor, ceil, round and fmod are exact.
 */
#ifndef ML_MATH_H
#define ML_MATH_H

#include "ml_root.h"

#define ML_HALF_PI 1.57079637f
#define ML_LARGEST 3.40282347e38f

ML_INLINE float ml_magnitude(float x)
{
    return x < 0.0f ? -x : x;
}

/* The integer towards 0; -0 stays -0. */
ML_INLINE float ml_trunc_f32(float x)
{
    if (!(ml_magnitude(x) < 8388608.0f)) { /* has no fraction, or is NaN */
        return x;
    }
    const float whole = (float)(int32_t)x;
    return whole == 0.0f ? x * 0.0f : whole;
}

ML_INLINE float ml_floor_f32(float x)
{
    const float whole = ml_trunc_f32(x);
    return whole > x ? whole - 1.0f : whole;
}

ML_INLINE float ml_ceil_f32(float x)
{
    const float whole = ml_trunc_f32(x);
    return whole < x ? whole + 1.0f : whole;
}

/* The nearest integer, ties to even. */
ML_INLINE float ml_round_even(float x)
{
    const float size = ml_magnitude(x);
    const float magic = 8388608.0f; /* 2^23: the sum has no fraction bits left */
    if (!(size < magic)) {
        return x;
    }
    const float rounded = (size + magic) - magic;
    return x < 0.0f ? -rounded : rounded;
}

/* e^x; NaN of NaN. */
ML_INLINE float ml_exp_any(float x)
{
    return x != x ? x : ml_exp(x);
}

/* e^x - 1. */
ML_INLINE float ml_expm1(float x)
{
    if (x != x) {
        return x;
    }
    const float bounded = ml_clamp_f32(x, -20.0f, 89.0f);
    const int32_t exponent = ml_round_small(bounded * 1.44269504f);
    const float whole = (float)exponent;
    const float r = bounded - whole * 0.693359375f + whole * 2.12194440e-4f;
    float p = 0.0013946424f;
    if (exponent > 64) { /* 2^exponent may not be a float */
        return ml_exp(x);
    }
    p = p * r + 0.00836656988f;
    p = p * r + 0.0416662842f;
    p = p * r + 0.166665435f;
    p = p * r + 0.5f;
    p = p * r * r + r;
    const float scale = ml_power_of_two(exponent);
    return p * scale + (scale - 1.0f);
}

/* ln(1 + x). */
ML_INLINE float ml_log1p(float x)
{
    const float sum = 1.0f + x;
    if (!(x > -1.0f) || x > 1e8f) {
        return ml_ln(sum);
    }
    /* What was lost in the sum, divided by it, is lost of the logarithm. */
    return ml_ln(sum) + (x - (sum - 1.0f)) / sum;
}

/* ---- trigonometry ------------------------------------------------------------------------------------------------ */

/* x less the nearest multiple of pi / 2, within [-pi/4, pi/4], and that multiple modulo 4, for a finite x.
 *
 * x is M * 2^E. Bits of 2 / pi before bit E - 2 give multiples of 4 quarter turns. The 96 bits from there on, times M,
 * modulo 2^96, are the quarter turns modulo 4, times 2^94; the bits left out change the last 24 of these. */
ML_INLINE float ml_reduce_angle(float x, int32_t *quadrant)
{
    static const uint32_t two_over_pi[8] = {
        0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu, 0xdebbc561u};
    ml_float_bits parts;
    uint32_t word[3];
    parts.value = ml_magnitude(x);
    *quadrant = 0;
    if (parts.value <= 0.785398185f) {
        return x;
    }
    const uint64_t mantissa = (parts.bits & 0x007fffffu) | 0x00800000u;
    const int32_t begin = (int32_t)(parts.bits >> 23) - 150 - 2;
    for (int32_t i = 0; i < 3; ++i) {
        const int32_t first = begin + 32 * i; /* may lie before the first bit, where there are zeros */
        const int32_t at = (first + 32) / 32 - 1;
        const int32_t offset = first - 32 * at;
        const uint32_t high = at < 0 ? 0u : two_over_pi[at];
        const uint32_t low = two_over_pi[at + 1];
        word[i] = offset == 0 ? high : (high << offset) | (low >> (32 - offset));
    }
    const uint64_t middle = mantissa * word[1] + ((mantissa * word[2]) >> 32);
    const uint32_t top = (uint32_t)(mantissa * word[0]) + (uint32_t)(middle >> 32);
    const uint64_t turns = ((uint64_t)top << 32) | (uint32_t)middle; /* times 2^62 */
    const uint64_t rounded = turns + ((uint64_t)1 << 61);
    const int64_t rest = (int64_t)(rounded & (((uint64_t)1 << 62) - 1u)) - ((int64_t)1 << 61);
    const float angle = (float)rest * (ML_HALF_PI / 4611686018427387904.0f);
    *quadrant = (int32_t)(rounded >> 62);
    if (x < 0.0f) {
        *quadrant = -*quadrant & 3;
        return -angle;
    }
    return angle;
}

/* Sine of a reduced angle. */
ML_INLINE float ml_sin_reduced(float x)
{
    const float square = x * x;
    float p = -0.000195166853f;
    p = p * square + 0.00833217427f;
    p = p * square - 0.166666552f;
    return x + x * square * p;
}

/* Cosine of a reduced angle. */
ML_INLINE float ml_cos_reduced(float x)
{
    const float square = x * x;
    float p = 2.44377406e-05f;
    p = p * square - 0.00138873619f;
    p = p * square + 0.0416666456f;
    return 1.0f - 0.5f * square + square * square * p;
}

/* sin(x + quarters * pi / 2). */
ML_INLINE float ml_sin_turned(float x, int32_t quarters)
{
    int32_t quadrant;
    if (!(ml_magnitude(x) <= ML_LARGEST)) {
        return ML_NAN;
    }
    const float reduced = ml_reduce_angle(x, &quadrant);
    quadrant = (quadrant + quarters) & 3;
    const float value = (quadrant & 1) != 0 ? ml_cos_reduced(reduced) : ml_sin_reduced(reduced);
    return (quadrant & 2) != 0 ? -value : value;
}

ML_INLINE float ml_tan(float x)
{
    int32_t quadrant;
    if (!(ml_magnitude(x) <= ML_LARGEST)) {
        return ML_NAN;
    }
    const float reduced = ml_reduce_angle(x, &quadrant);
    const float sine = ml_sin_reduced(reduced);
    const float cosine = ml_cos_reduced(reduced);
    return (quadrant & 1) != 0 ? -cosine / sine : sine / cosine;
}

ML_INLINE float ml_atan(float x)
{
    const float size = ml_magnitude(x);
    float reduced = size;
    float start = 0.0f;
    float p = 0.0805643275f;
    if (x != x) {
        return x;
    }
    if (size > 2.41421366f) { /* tan(3 pi / 8) */
        reduced = -1.0f / size;
        start = ML_HALF_PI;
    } else if (size > 0.414213568f) { /* tan(pi / 8) */
        reduced = (size - 1.0f) / (size + 1.0f);
        start = 0.5f * ML_HALF_PI;
    }
    const float square = reduced * reduced;
    p = p * square - 0.138788015f;
    p = p * square + 0.199778453f;
    p = p * square - 0.333329529f;
    const float value = start + (reduced + reduced * square * p);
    return x < 0.0f ? -value : value;
}

/* Inverse sine within [-1/2, 1/2]. */
ML_INLINE float ml_asin_small(float x)
{
    const float square = x * x;
    float p = 0.0422712974f;
    p = p * square + 0.0241192095f;
    p = p * square + 0.0454822443f;
    p = p * square + 0.0749520659f;
    p = p * square + 0.166667551f;
    return x + x * square * p;
}

ML_INLINE float ml_asin(float x)
{
    const float size = ml_magnitude(x);
    if (size <= 0.5f) {
        return ml_asin_small(x);
    }
    const float value = ML_HALF_PI - 2.0f * ml_asin_small(ml_root(0.5f * (1.0f - size))); /* NaN beyond 1 */
    return x < 0.0f ? -value : value;
}

ML_INLINE float ml_acos(float x)
{
    const float size = ml_magnitude(x);
    if (size <= 0.5f) {
        return ML_HALF_PI - ml_asin_small(x);
    }
    const float value = 2.0f * ml_asin_small(ml_root(0.5f * (1.0f - size)));
    return x < 0.0f ? 2.0f * ML_HALF_PI - value : value;
}

/* ---- hyperbolic functions ---------------------------------------------------------------------------------------- */

ML_INLINE float ml_sinh(float x)
{
    const float size = ml_magnitude(x);
    float value;
    if (size > 85.0f) { /* e^x may not be a float where the result is one */
        const float half = ml_exp(0.5f * size);
        value = 0.5f * half * half;
    } else {
        const float less = ml_expm1(size);
        value = 0.5f * (less + less / (less + 1.0f));
    }
    return x < 0.0f ? -value : value;
}

ML_INLINE float ml_cosh(float x)
{
    const float half = ml_exp_any(0.5f * ml_magnitude(x));
    return 0.5f * half * half + 0.5f / half / half;
}

ML_INLINE float ml_asinh(float x)
{
    const float size = ml_magnitude(x);
    const float square = size * size;
    const float value = size > 1e9f ? ml_ln(size) + 0.693147181f
                                    : ml_log1p(size + square / (1.0f + ml_root(1.0f + square)));
    return x < 0.0f ? -value : value;
}

ML_INLINE float ml_acosh(float x)
{
    const float above = x - 1.0f;
    if (!(x >= 1.0f)) {
        return ML_NAN;
    }
    return x > 1e9f ? ml_ln(x) + 0.693147181f : ml_log1p(above + ml_root(above * (above + 2.0f)));
}

ML_INLINE float ml_atanh(float x)
{
    const float size = ml_magnitude(x);
    const float value = size > 1.0f ? ML_NAN : 0.5f * ml_log1p(2.0f * size / (1.0f - size));
    return x < 0.0f ? -value : value;
}

/* ---- others ------------------------------------------------------------------------------------------------------ */

/* The error function. */
ML_INLINE float ml_erf(float x)
{
    const float size = ml_magnitude(x);
    const float square = x * x;
    float p;
    if (x != x) {
        return x;
    }
    if (size < 1.0f) {
        p = 7.85388402e-05f;
        p = p * square - 0.000801020127f;
        p = p * square + 0.00518832868f;
        p = p * square - 0.0268538129f;
        p = p * square + 0.112835854f;
        p = p * square - 0.37612626f;
        return x * (p * square + 1.12837911f);
    }
    const float bounded = size < 4.0f ? size : 4.0f; /* where it is 1 already */
    p = 1.72473179e-07f; /* of the logarithm of 1 - erf */
    p = p * bounded - 2.41712678e-05f;
    p = p * bounded + 0.000456676498f;
    p = p * bounded - 0.00425760541f;
    p = p * bounded + 0.0253206398f;
    p = p * bounded - 0.108568035f;
    p = p * bounded - 0.633098006f;
    p = p * bounded - 1.12963414f;
    p = p * bounded + 0.000199006536f;
    const float value = 1.0f - ml_exp(p);
    return x < 0.0f ? -value : value;
}

/* Remainder of the division that truncates, exact, with the sign of x. */
ML_INLINE float ml_fmod(float x, float y)
{
    ml_float_bits dividend;
    ml_float_bits divisor;
    dividend.value = x;
    divisor.value = y;
    dividend.bits &= 0x7fffffffu; /* of -0, too */
    divisor.bits &= 0x7fffffffu;
    if (!(dividend.value <= ML_LARGEST) || !(divisor.value > 0.0f)) {
        return ML_NAN;
    }
    if (!(divisor.value <= ML_LARGEST)) {
        return y != y ? y : x;
    }
    int32_t exponent = (int32_t)(dividend.bits >> 23);
    const int32_t least = (int32_t)(divisor.bits >> 23);
    uint32_t rest = (dividend.bits & 0x007fffffu) | (exponent > 0 ? 0x00800000u : 0u);
    const uint32_t unit = (divisor.bits & 0x007fffffu) | (least > 0 ? 0x00800000u : 0u);
    const int32_t lowest = ml_max(least, 1); /* subnormal numbers have the exponent of 1 */
    exponent = ml_max(exponent, 1);
    if (exponent < lowest) {
        return x;
    }
    for (rest %= unit; exponent > lowest; --exponent) {
        rest = (rest << 1) % unit;
    }
    float scaled = (float)(int32_t)rest; /* rest * 2^(lowest - 150), in two steps that are floats */
    scaled = scaled * ml_power_of_two(ml_max(lowest - 150, -126)) * ml_power_of_two(ml_min(lowest - 150 + 126, 0));
    return x < 0.0f ? -scaled : scaled;
}

/* log2 of a positive normal number in double, relative error below 1e-11 away from 1 and around it. */
ML_INLINE double ml_log2_double(double x)
{
    union {
        uint64_t bits;
        double value;
    } parts;
    parts.value = x;
    int32_t exponent = (int32_t)(parts.bits >> 52) - 1023;
    parts.bits = (parts.bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
    if (parts.value > 1.4142135623730951) {
        parts.value *= 0.5;
        exponent += 1;
    }
    const double s = (parts.value - 1.0) / (parts.value + 1.0);
    const double square = s * s;
    double p = 1.0 / 13.0;
    p = p * square + 1.0 / 11.0;
    p = p * square + 1.0 / 9.0;
    p = p * square + 1.0 / 7.0;
    p = p * square + 1.0 / 5.0;
    p = p * square + 1.0 / 3.0;
    p = p * square + 1.0;
    return (double)exponent + s * p * 2.8853900817779268;
}

/* 2^x in double, rounded to float. */
ML_INLINE float ml_exp2_double(double x)
{
    const double bounded = x > 1000.0 ? 1000.0 : x < -1000.0 ? -1000.0 : x;
    const int32_t exponent = (int32_t)(bounded < 0.0 ? bounded - 0.5 : bounded + 0.5);
    const double r = bounded - (double)exponent;
    union {
        uint64_t bits;
        double value;
    } power;
    double p = 1.3175889565530431e-06;
    p = p * r + 1.5309738422437588e-05;
    p = p * r + 0.00015403851622286177;
    p = p * r + 0.0013333452058500242;
    p = p * r + 0.0096181285430084335;
    p = p * r + 0.055504109393456527;
    p = p * r + 0.24022650698879972;
    p = p * r + 0.69314718054651348;
    p = p * r + 0.99999999999976186;
    power.bits = (uint64_t)(1023 + exponent) << 52;
    p *= power.value;
    return p > 3.4028235677973366e38 ? ML_INFINITY : (float)p;
}

/* x to the power of an integer, exact where every partial product is. */
ML_INLINE float ml_power_integer(float x, int32_t exponent)
{
    float power = 1.0f;
    for (; exponent != 0; exponent >>= 1) {
        if ((exponent & 1) != 0) {
            power *= x;
        }
        x *= x;
    }
    return power;
}

/* x^y, as C99 has it. Doubles, because an error of the logarithm counts as often as y says. */
ML_INLINE float ml_pow(float x, float y)
{
    const float size = ml_magnitude(x);
    const int whole = ml_trunc_f32(y) == y;
    const int odd = whole && ml_magnitude(y) < 16777216.0f && ((int32_t)y & 1) != 0;
    float value;
    if (y == 0.0f || x == 1.0f) {
        return 1.0f;
    }
    if (x != x || y != y) {
        return ML_NAN;
    }
    if (!(ml_magnitude(y) <= ML_LARGEST)) {
        return size == 1.0f ? 1.0f : (size > 1.0f) == (y > 0.0f) ? ML_INFINITY : 0.0f;
    }
    if (whole && y > 0.0f && y <= 16.0f) {
        return ml_power_integer(x, (int32_t)y);
    }
    if (x < 0.0f && !whole && size <= ML_LARGEST) {
        return ML_NAN;
    }
    if (size == 0.0f || !(size <= ML_LARGEST)) {
        value = (size == 0.0f) == (y > 0.0f) ? 0.0f : ML_INFINITY;
    } else {
        value = ml_exp2_double((double)y * ml_log2_double((double)size));
    }
    if (odd && (x < 0.0f || (x == 0.0f && 1.0f / x < 0.0f))) {
        return -value;
    }
    return value;
}

#endif
