/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * What the kernels for Armv6-M (Cortex-M0, M0+) share. Its multiplier gives the low 32 bits of a product, most
 * instructions see the registers r0 to r7 only, and the DSP extension is absent.
 *
 * Two values x0 and x1 of an input make the word x0 + x1 * 2^16, modulo 2^32. Its product with a weight w holds x0 * w
 * in the low half and, that taken off, x1 * w in the high half. Sums of such products stay exact while each of the two
 * sums is an int16.
 */
#ifndef ML_THUMB1_H
#define ML_THUMB1_H

#include "ml_pixels.h"

#if !defined(__arm__) || !defined(__thumb__)
#error "these kernels are written in Thumb instructions: build for cortex-m0plus"
#endif

/* An operand in any register, of which only ADD and MOV are asked. */
#if defined(__clang__)
#define ML_THUMB1_HIGH "h"
#else
#define ML_THUMB1_HIGH "r"
#endif

/* A further kind beside those of ml_common.h: ML_FIXED where accumulators stay below 2^26 and every shift is to the
 * right, by at most ML_THUMB1_MOST_BITS. The two roundings are then one: with nested floors,
 * ((acc * m + 2^30) >> 31) + 2^(bits-1) >> bits is (acc * m + 2^30 + 2^(30+bits)) >> (31 + bits). */
enum { ML_THUMB1_FIXED = 4, ML_THUMB1_MOST_BITS = 18 };

typedef struct {
    int32_t full_range; /* whether low and high are the limits of int8 */
    int32_t zero;
    int32_t low;
    int32_t high;
} ml_thumb1_output;

/* Requantization of one channel. Of ML_THUMB1_FIXED, `offset` is what is added to acc * m / 2^28 before the shift: the
 * halves that round, and the zero point. */
typedef struct {
    int32_t kind;
    float scale;
    int32_t multiplier;
    int32_t shift;
    int32_t low_half;
    int32_t high_half;
    int32_t offset;
} ml_thumb1_scale;

ML_INLINE ml_thumb1_scale ml_thumb1_scale_of(ml_requant how, int32_t channel, ml_thumb1_output out)
{
    const int32_t index = how.per_channel ? channel : 0;
    ml_thumb1_scale one = {how.kind, 0.0f, 0, 0, 0, 0, 0};
    if (how.kind == ML_FLOAT) {
        one.scale = how.scale[index];
        return one;
    }
    one.multiplier = how.multiplier[index];
    one.shift = how.shift[index];
    if (how.kind == ML_THUMB1_FIXED) {
        const uint32_t unit = (uint32_t)1 << -one.shift; /* of the result, in eighths */
        one.low_half = one.multiplier & 0xffff;
        one.high_half = one.multiplier >> 16;
        one.offset = (int32_t)(4u + (unit >> 1 << 3) + (uint32_t)out.zero * (unit << 3));
        one.shift = 3 - one.shift;
    }
    return one;
}

/* acc * (high_half * 2^16 + low_half) / 2^28, plus offset, shifted right: 17 instructions. The accumulator is split
 * into 12 bits and the rest, so that each of the four products fits. */
ML_INLINE int32_t ml_thumb1_multiply(int32_t acc, const ml_thumb1_scale *one)
{
    int32_t t;
    int32_t u;
    int32_t v;
    __asm__(".syntax unified\n"
            "lsls %[t], %[acc], #20\n"
            "lsrs %[t], %[t], #20\n"
            "asrs %[acc], %[acc], #12\n"
            "mov %[u], %[t]\n"
            "muls %[u], %[m0], %[u]\n"
            "lsrs %[u], %[u], #12\n"
            "mov %[v], %[acc]\n"
            "muls %[v], %[m0], %[v]\n"
            "adds %[u], %[u], %[v]\n"
            "asrs %[u], %[u], #4\n"
            "muls %[t], %[m1], %[t]\n"
            "adds %[t], %[t], %[u]\n"
            "asrs %[t], %[t], #12\n"
            "muls %[acc], %[m1], %[acc]\n"
            "adds %[acc], %[acc], %[t]\n"
            "add %[acc], %[offset]\n"
            "asrs %[acc], %[acc], %[shift]"
            : [acc] "+l"(acc), [t] "=&l"(t), [u] "=&l"(u), [v] "=&l"(v)
            : [m0] "l"(one->low_half), [m1] "l"(one->high_half), [shift] "l"(one->shift),
            [offset] ML_THUMB1_HIGH(one->offset)
            : "cc");
    return acc;
}

ML_INLINE int8_t ml_thumb1_requantize(int32_t acc, const ml_thumb1_scale *one, ml_thumb1_output out)
{
    if (one->kind == ML_FLOAT) {
        return (int8_t)ml_round_clamp((float)acc * one->scale, out.zero, out.low, out.high);
    }
    if (one->kind == ML_FIXED) {
        acc = ml_multiply_by_quantized_multiplier(acc, one->multiplier, one->shift);
        return (int8_t)(ml_clamp(acc, out.low - out.zero, out.high - out.zero) + out.zero);
    }
    acc = ml_thumb1_multiply(acc, one);
    if (out.full_range) {
        return (int8_t)((int8_t)acc == acc ? acc : (acc >> 31) ^ 127);
    }
    return (int8_t)ml_clamp(acc, out.low, out.high);
}

#endif
