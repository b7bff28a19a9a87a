/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * What every kernel shares: attributes, clamps, rings of rows and requantization.
 *
 * Requantization turns an int32 accumulator into a narrow integer in one of two ways (`kind`):
 *   ML_FLOAT  clamp(round_half_even((float)acc * scale) + zero, low, high), the product rounded to float first;
 *   ML_FIXED  clamp(multiply_by_quantized_multiplier(acc, multiplier, shift) + zero, low, high).
 *   ML_DIVIDE the kernel divides instead (average pooling that keeps its parameters).
 * `kind` and `per_channel` are compile-time constants at every call that matters, so that one branch is left.
 */
#ifndef ML_COMMON_H
#define ML_COMMON_H

#include <stddef.h>
#include <stdint.h>

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__)
#error "these kernels round by adding and subtracting: build them without -ffast-math and -fassociative-math"
#endif
#if defined(__FLT_EVAL_METHOD__) && (__FLT_EVAL_METHOD__ == 1 || __FLT_EVAL_METHOD__ == 2)
#error "these kernels need float arithmetic without excess precision: build them with SSE, not with the x87 unit"
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ML_INLINE static inline __attribute__((always_inline))
#define ML_NOINLINE __attribute__((noinline, unused)) /* a header may be included for its other functions */
#define ML_UNUSED __attribute__((unused))
#define ML_ALIGN(bytes) __attribute__((aligned(bytes)))
#define ML_RESTRICT __restrict__
#elif defined(_MSC_VER)
#define ML_INLINE static __forceinline
#define ML_NOINLINE __declspec(noinline)
#define ML_UNUSED
#define ML_ALIGN(bytes) __declspec(align(bytes))
#define ML_RESTRICT __restrict
#else
#define ML_INLINE static inline
#define ML_NOINLINE
#define ML_UNUSED
#define ML_ALIGN(bytes)
#define ML_RESTRICT
#endif

/* First statement of a block whose products are rounded before they are added, and whose sums stay in order. */
#if defined(__clang__)
#define ML_NO_CONTRACTION _Pragma("clang fp contract(off)") _Pragma("clang fp reassociate(off)")
#else
#define ML_NO_CONTRACTION
#endif

/* A product that no compiler may fuse with the sum that follows it. Clang is told by ML_NO_CONTRACTION, which does not
 * stop vectorisation; GCC has no such statement, so its value passes through an empty asm where the target can fuse. */
ML_INLINE float ml_rounded(float value)
{
#if defined(__GNUC__) && !defined(__clang__) && defined(__FP_FAST_FMAF)
#if defined(__arm__)
    __asm__("" : "+t"(value));
#elif defined(__aarch64__)
    __asm__("" : "+w"(value));
#elif defined(__x86_64__) || defined(__i386__)
    __asm__("" : "+x"(value));
#elif defined(__riscv)
    __asm__("" : "+f"(value));
#else
    volatile float stored = value;
    value = stored;
#endif
#elif defined(_MSC_VER) && !defined(__clang__)
    volatile float stored = value;
    value = stored;
#endif
    return value;
}

/* Usable in initializers. */
#if defined(__GNUC__) || defined(__clang__)
#define ML_INFINITY __builtin_inff()
#define ML_NAN __builtin_nanf("")
#else
#define ML_INFINITY ((float)(1e300 * 1e300))
#define ML_NAN (ML_INFINITY * 0.0f)
#endif

#if defined(__arm__) && defined(__ARM_FP) && (__ARM_FP & 4) && !defined(__SOFTFP__)
#define ML_ARM_FPU 1
#else
#define ML_ARM_FPU 0
#endif

/* Cores whose multiplier gives 32 bits only; define as 1 to try that path elsewhere. */
#ifndef ML_NARROW_MULTIPLY
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#define ML_NARROW_MULTIPLY 1
#else
#define ML_NARROW_MULTIPLY 0
#endif
#endif

ML_INLINE int32_t ml_min(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

ML_INLINE int32_t ml_max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

ML_INLINE int32_t ml_clamp(int32_t value, int32_t low, int32_t high)
{
    return ml_min(ml_max(value, low), high);
}

ML_INLINE float ml_clamp_f32(float value, float low, float high)
{
    value = value > low ? value : low;
    return value < high ? value : high;
}

/* For code that is written once for signed and unsigned types: a comparison by itself draws a warning in the latter. */
ML_INLINE int ml_is_negative(int64_t value)
{
    return value < 0;
}

/* Place of row `row` in a buffer that holds `ring` rows; 0 where the buffer holds the whole tensor. */
ML_INLINE int32_t ml_ring_row(int32_t row, int32_t ring)
{
    return ring == 0 || row < ring ? row : row % ring;
}

/* (numerator + denominator - 1) / denominator for positive denominators and any numerator above -denominator. */
ML_INLINE int32_t ml_ceil_div(int32_t numerator, int32_t denominator)
{
    return numerator <= 0 ? 0 : (numerator + denominator - 1) / denominator;
}

/* ---- rounding ---------------------------------------------------------------------------------------------------- */

/* Nearest integer of a float of magnitude below 2^22, ties to even. */
ML_INLINE int32_t ml_round_small(float value)
{
    ML_NO_CONTRACTION
    const float magic = 12582912.0f; /* 1.5 * 2^23: the sum has no fraction bits left */
    const float shifted = ml_rounded(value) + magic;
    return (int32_t)(shifted - magic);
}

/* clamp(round_half_even(value) + zero, low, high) for every finite or infinite value; low and high within 16 bits.
 * Clamping to integers commutes with rounding, so either may come first. */
ML_INLINE int32_t ml_round_clamp(float value, int32_t zero, int32_t low, int32_t high)
{
#if ML_ARM_FPU
    int32_t rounded;
    __asm__("vcvtr.s32.f32 %0, %1" : "=t"(rounded) : "t"(value)); /* saturates */
    return ml_clamp(rounded, low - zero, high - zero) + zero;
#else
    return ml_round_small(ml_clamp_f32(value, (float)(low - zero), (float)(high - zero))) + zero;
#endif
}

/* (value * multiplier + 2^30) >> 31 for a multiplier in [0, 2^31). */
ML_INLINE int32_t ml_rounding_doubling_high_multiply(int32_t value, int32_t multiplier)
{
#if ML_NARROW_MULTIPLY
    const int32_t value_high = value >> 16;
    const uint32_t value_low = (uint32_t)value & 0xffffu;
    const int32_t multiplier_high = multiplier >> 16;
    const uint32_t multiplier_low = (uint32_t)multiplier & 0xffffu;
    const uint32_t low_low = value_low * multiplier_low;
    const int32_t high_low = value_high * (int32_t)multiplier_low;
    const uint32_t middle = value_low * (uint32_t)multiplier_high + ((uint32_t)high_low & 0xffffu) + (low_low >> 16);
    const uint32_t low = (middle << 16) | (low_low & 0xffffu);
    const uint32_t low_rounded = low + 0x40000000u;
    const uint32_t high = (uint32_t)(value_high * multiplier_high + (high_low >> 16)) + (middle >> 16) +
                          (low_rounded < low ? 1u : 0u);
    return (int32_t)((high << 1) | (low_rounded >> 31));
#else
    return (int32_t)(((int64_t)value * multiplier + ((int64_t)1 << 30)) >> 31);
#endif
}

/* value / 2^exponent for an exponent in [0, 31], ties towards plus infinity. */
ML_INLINE int32_t ml_rounding_shift_right(int32_t value, int32_t exponent)
{
    return exponent == 0 ? value : (value >> exponent) + ((value >> (exponent - 1)) & 1);
}

/* The same with ties away from zero. */
ML_INLINE int32_t ml_rounding_shift_right_away(int32_t value, int32_t exponent)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1u);
    const int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
    return (value >> exponent) + ((value & mask) > threshold ? 1 : 0);
}

/* acc * 2^max(shift, 0) * multiplier / 2^31, rounded once. */
ML_INLINE int32_t ml_scale_high(int32_t acc, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    return ml_rounding_doubling_high_multiply((int32_t)((uint32_t)acc << left), multiplier);
}

/* acc * multiplier * 2^(shift - 31), rounded twice, for accumulators of one tensor. */
ML_INLINE int32_t ml_multiply_by_quantized_multiplier(int32_t acc, int32_t multiplier, int32_t shift)
{
    return ml_rounding_shift_right(ml_scale_high(acc, multiplier, shift), shift > 0 ? 0 : -shift);
}

/* The same for sums and products of two tensors. */
ML_INLINE int32_t ml_multiply_by_quantized_multiplier_away(int32_t acc, int32_t multiplier, int32_t shift)
{
    return ml_rounding_shift_right_away(ml_scale_high(acc, multiplier, shift), shift > 0 ? 0 : -shift);
}

/* ---- requantization ---------------------------------------------------------------------------------------------- */

enum { ML_FLOAT = 0, ML_FIXED = 1, ML_DIVIDE = 2 };

/* How accumulators become integers: `scale` is read where kind is ML_FLOAT, `multiplier` and `shift` where it is
 * ML_FIXED. The arrays have one element, or one for each channel where per_channel is not 0. */
typedef struct {
    int32_t kind;
    const float *scale;
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t per_channel;
} ml_requant;

ML_INLINE ml_requant ml_make_requant(
    int32_t kind, const float *scale, const int32_t *multiplier, const int8_t *shift, int32_t per_channel)
{
    ml_requant how;
    how.kind = kind;
    how.scale = scale;
    how.multiplier = multiplier;
    how.shift = shift;
    how.per_channel = per_channel;
    return how;
}

/* clamp(scaled accumulator of `channel` + zero, low, high). */
ML_INLINE int32_t ml_requantize(
    int32_t acc, ml_requant how, int32_t channel, int32_t zero, int32_t low, int32_t high)
{
    const int32_t index = how.per_channel ? channel : 0;
    if (how.kind == ML_FLOAT) {
        return ml_round_clamp((float)acc * how.scale[index], zero, low, high);
    }
    acc = ml_multiply_by_quantized_multiplier(acc, how.multiplier[index], how.shift[index]);
    return ml_clamp(acc, low - zero, high - zero) + zero;
}

/* The same of one factor, the second rounding of ML_FIXED with ties away from zero. */
ML_INLINE int32_t ml_requantize_away(int32_t acc, ml_requant how, int32_t zero, int32_t low, int32_t high)
{
    if (how.kind == ML_FLOAT) {
        return ml_round_clamp((float)acc * how.scale[0], zero, low, high);
    }
    acc = ml_multiply_by_quantized_multiplier_away(acc, how.multiplier[0], how.shift[0]);
    return ml_clamp(acc, low - zero, high - zero) + zero;
}

/* sum / count for a positive count, ties away from zero. */
ML_INLINE int32_t ml_rounding_divide(int32_t sum, int32_t count)
{
    return sum < 0 ? -((count / 2 - sum) / count) : (sum + count / 2) / count;
}

#endif
