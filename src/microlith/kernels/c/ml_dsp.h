/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * Instructions of the Arm DSP extension (Cortex-M4, M7, M33) that compilers do not form by themselves, and what the
 * kernels built on them share.
 *
 * A word of four bytes (b0, b1, b2, b3) is widened to two pairs of 16 bits: SXTB16 gives (b0, b2), SXTB16 of the word
 * rotated by 8 gives (b1, b3). Operands that are widened in the same way keep their order against each other, so
 * bytes stay as they are in memory and nothing is shuffled. Such a group of four is called a quad.
 */
#ifndef ML_DSP_H
#define ML_DSP_H

#include "ml_common.h"

#if !defined(__ARM_FEATURE_DSP) || !defined(__thumb2__)
#error "these kernels need a core with the DSP extension: build for cortex-m4, cortex-m7 or cortex-m33"
#endif

/* A word that may lie at any address and may alias anything. */
typedef struct __attribute__((packed, may_alias)) {
    uint32_t value;
} ml_dsp_word;

ML_INLINE uint32_t ml_dsp_load(const int8_t *from)
{
    return ((const ml_dsp_word *)(const void *)from)->value;
}

ML_INLINE void ml_dsp_store(int8_t *to, uint32_t word)
{
    ((ml_dsp_word *)(void *)to)->value = word;
}

/* (b0, b2) */
ML_INLINE uint32_t ml_dsp_widen_even(uint32_t word)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
}

/* (b1, b3) */
ML_INLINE uint32_t ml_dsp_widen_odd(uint32_t word)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

/* (low half of a, low half of b) */
ML_INLINE uint32_t ml_dsp_pack_low(uint32_t a, uint32_t b)
{
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

/* (low half of a, high half of b) */
ML_INLINE uint32_t ml_dsp_pack_outer(uint32_t a, uint32_t b)
{
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

/* (high half of a, high half of b) */
ML_INLINE uint32_t ml_dsp_pack_high(uint32_t a, uint32_t b)
{
    uint32_t pair;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(b), "r"(a));
    return pair;
}

/* acc + a.low * b.low + a.high * b.high */
ML_INLINE int32_t ml_dsp_dot(uint32_t a, uint32_t b, int32_t acc)
{
    __asm__("smlad %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
}

/* acc + a.low * b.high */
ML_INLINE int32_t ml_dsp_low_high(uint32_t a, uint32_t b, int32_t acc)
{
    __asm__("smlabt %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
}

/* sum + (b0, b2) of a word, each half by itself */
ML_INLINE uint32_t ml_dsp_add_even(uint32_t sum, uint32_t word)
{
    __asm__("sxtab16 %0, %0, %1" : "+r"(sum) : "r"(word));
    return sum;
}

/* sum + (b1, b3) */
ML_INLINE uint32_t ml_dsp_add_odd(uint32_t sum, uint32_t word)
{
    __asm__("sxtab16 %0, %0, %1, ror #8" : "+r"(sum) : "r"(word));
    return sum;
}

/* The greater of each of four signed bytes: SSUB8 sets a flag for each, by which SEL takes. */
ML_INLINE uint32_t ml_dsp_max(uint32_t a, uint32_t b)
{
    uint32_t greater;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(greater) : "r"(a), "r"(b));
    return greater;
}

ML_INLINE uint32_t ml_dsp_min(uint32_t a, uint32_t b)
{
    uint32_t less;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(less) : "r"(a), "r"(b));
    return less;
}

ML_INLINE int32_t ml_dsp_saturating_add(int32_t a, int32_t b)
{
    int32_t sum;
    __asm__("qadd %0, %1, %2" : "=r"(sum) : "r"(a), "r"(b));
    return sum;
}

ML_INLINE int32_t ml_dsp_saturate_s8(int32_t value)
{
    int32_t narrow;
    __asm__("ssat %0, #8, %1" : "=r"(narrow) : "r"(value));
    return narrow;
}

/* acc * multiplier / 2^31, ties up, plus offset, where twice is 2 * multiplier modulo 2^32 and multiplier >= 2^30: as a
 * signed number it is 2^32 too small, which adding acc to the high word makes up for. */
ML_INLINE int32_t ml_dsp_high_multiply(int32_t acc, int32_t twice, int32_t offset)
{
    int32_t high;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(high) : "r"(acc), "r"(twice), "r"(acc + offset));
    return high;
}

/* A third kind beside those of ml_common.h: ML_FIXED where every multiplier is doubled (see above), every shift is to
 * the right and stored as a positive number of at most 22 bits, and accumulators stay below 2^30. The zero point then
 * enters before the shift, with the half that rounds: (2 * zero + 1) * 2^bits / 2, which is zero for no bits. */
enum { ML_DSP_FIXED = 3 };

/* What is done to scaled accumulators; full_range promises that low and high are the limits of int8. */
typedef struct {
    int32_t full_range;
    int32_t zero;
    int32_t low;
    int32_t high;
} ml_dsp_output;

/* Requantization of one channel, loaded once for several accumulators. */
typedef struct {
    int32_t kind;
    float scale;
    int32_t multiplier;
    int32_t shift;
    int32_t offset;
} ml_dsp_scale;

ML_INLINE ml_dsp_scale ml_dsp_scale_of(ml_requant how, int32_t channel, ml_dsp_output out)
{
    const int32_t index = how.per_channel ? channel : 0;
    ml_dsp_scale one = {how.kind, 0.0f, 0, 0, 0};
    if (how.kind == ML_FLOAT) {
        one.scale = how.scale[index];
    } else {
        one.multiplier = how.multiplier[index];
        one.shift = how.shift[index];
        one.offset = (int32_t)((uint32_t)(2 * out.zero + 1) << (one.shift & 31)) >> 1;
    }
    return one;
}

ML_INLINE int8_t ml_dsp_requantize(int32_t acc, ml_dsp_scale one, ml_dsp_output out)
{
    int32_t scaled;
    if (one.kind == ML_DSP_FIXED) {
        scaled = ml_dsp_high_multiply(acc, one.multiplier, one.offset) >> one.shift;
        return (int8_t)(out.full_range ? ml_dsp_saturate_s8(scaled) : ml_clamp(scaled, out.low, out.high));
    }
    if (one.kind == ML_FIXED) {
        scaled = ml_multiply_by_quantized_multiplier(acc, one.multiplier, one.shift);
    } else {
#if ML_ARM_FPU
        __asm__("vcvtr.s32.f32 %0, %1" : "=t"(scaled) : "t"((float)acc * one.scale)); /* saturates */
#else
        scaled = ml_round_clamp((float)acc * one.scale, 0, -32768, 32767);
#endif
    }
    scaled = ml_dsp_saturating_add(scaled, out.zero);
    return (int8_t)(out.full_range ? ml_dsp_saturate_s8(scaled) : ml_clamp(scaled, out.low, out.high));
}

#endif
