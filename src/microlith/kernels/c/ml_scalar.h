/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * What the kernels for cores with many registers and a quick multiplication of 32 bits share, where nothing computes
 * several products at once: RISC-V without vectors, Cortex-M3. They are C99.
 */
#ifndef ML_SCALAR_H
#define ML_SCALAR_H

#include "ml_common.h"

/* Loads and stores stay on their side of it. */
#if defined(__GNUC__) || defined(__clang__)
#define ML_SCALAR_FENCE() __asm__ volatile("" ::: "memory")
#else
#define ML_SCALAR_FENCE() ((void)0)
#endif

/* A further kind beside those of ml_common.h: ML_FIXED where every shift is to the right, by 2 to
 * ML_SCALAR_MOST_BITS. The two roundings are then one: with nested floors,
 * ((acc * m + 2^30) >> 31) + 2^(bits-1) >> bits is (((acc * m + 2^30) >> 32) + 2^(bits-2)) >> (bits - 1). */
enum { ML_SCALAR_FIXED = 5, ML_SCALAR_MOST_BITS = 18 };

typedef struct {
    int32_t zero;
    int32_t low;
    int32_t high;
} ml_scalar_output;

/* Requantization of one channel. Of ML_SCALAR_FIXED, `offset` is the half that rounds, and the zero point. */
typedef struct {
    int32_t kind;
    float scale;
    int32_t multiplier;
    int32_t shift;
    int32_t offset;
} ml_scalar_scale;

ML_INLINE ml_scalar_scale ml_scalar_scale_of(ml_requant how, int32_t channel, ml_scalar_output out)
{
    const int32_t index = how.per_channel ? channel : 0;
    ml_scalar_scale one = {how.kind, 0.0f, 0, 0, 0};
    if (how.kind == ML_FLOAT) {
        one.scale = how.scale[index];
        return one;
    }
    one.multiplier = how.multiplier[index];
    one.shift = how.shift[index];
    if (how.kind == ML_SCALAR_FIXED) {
        const int32_t half = -2 - one.shift;
        one.offset = (int32_t)((uint32_t)(2 * out.zero + 1) << half);
        one.shift = half + 1;
    }
    return one;
}

ML_INLINE int8_t ml_scalar_requantize(int32_t acc, const ml_scalar_scale *one, ml_scalar_output out)
{
    if (one->kind == ML_FLOAT) {
        return (int8_t)ml_round_clamp((float)acc * one->scale, out.zero, out.low, out.high);
    }
    if (one->kind == ML_FIXED) {
        acc = ml_multiply_by_quantized_multiplier(acc, one->multiplier, one->shift);
        return (int8_t)(ml_clamp(acc, out.low - out.zero, out.high - out.zero) + out.zero);
    }
    acc = (int32_t)(((int64_t)acc * one->multiplier + (1 << 30)) >> 32);
    return (int8_t)ml_clamp((acc + one->offset) >> one->shift, out.low, out.high);
}

#endif
