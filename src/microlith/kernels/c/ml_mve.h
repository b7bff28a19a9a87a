/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * What the kernels on the vector extension of Armv8.1-M (MVE, "Helium": Cortex-M55) share.
 *
 * A block is four output channels. Its inner products are accumulated in four core registers (VMLADAVA reads 16 bytes
 * of x once for four rows of weights), then they are the lanes of one vector, which is requantized and stored.
 *
 * weights of a block: for each whole 16 values of a row the 16 bytes of row 0, 1, 2, 3; then what is left of row 0, 1,
 * 2, 3. bias, and multiplier, shift and scale where they have an element a channel, are padded to whole blocks.
 */
#ifndef ML_MVE_H
#define ML_MVE_H

#include "ml_common.h"

#if !defined(__ARM_FEATURE_MVE) || !(__ARM_FEATURE_MVE & 2)
#error "these kernels need MVE for integers and floats: build for cortex-m55"
#endif

#include <arm_mve.h>

enum { ML_MVE_LANES = 4, ML_MVE_BYTES = 16 };

typedef struct {
    int32_t zero;
    int32_t low;
    int32_t high;
} ml_mve_output;

/* Four accumulators of the channels from `channel` on as clamped integers. VQRDMULH is (a * b + 2^30) >> 31 for a
 * multiplier of at least 0, VRSHL to the right rounds ties up: the two roundings of ML_FIXED. */
ML_INLINE int32x4_t ml_mve_requantize(int32x4_t acc, ml_requant how, int32_t channel, ml_mve_output out)
{
    if (how.kind == ML_FLOAT) {
        const float32x4_t scale = how.per_channel ? vldrwq_f32(how.scale + channel) : vdupq_n_f32(how.scale[0]);
        acc = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(acc), scale)); /* ties to even; saturates */
        acc = vminq_s32(vmaxq_s32(acc, vdupq_n_s32(out.low - out.zero)), vdupq_n_s32(out.high - out.zero));
        return vaddq_n_s32(acc, out.zero);
    }
    if (how.per_channel) {
        const int32x4_t shift = vldrbq_s32(how.shift + channel);
        acc = vshlq_s32(acc, vmaxq_s32(shift, vdupq_n_s32(0)));
        acc = vqrdmulhq_s32(acc, vldrwq_s32(how.multiplier + channel));
        acc = vrshlq_s32(acc, vminq_s32(shift, vdupq_n_s32(0)));
    } else {
        acc = vshlq_r_s32(acc, ml_max(how.shift[0], 0));
        acc = vqrdmulhq_n_s32(acc, how.multiplier[0]);
        acc = vrshlq_n_s32(acc, ml_min(how.shift[0], 0));
    }
    acc = vminq_s32(vmaxq_s32(acc, vdupq_n_s32(out.low - out.zero)), vdupq_n_s32(out.high - out.zero));
    return vaddq_n_s32(acc, out.zero);
}

/* The first `lanes` of four results. */
ML_INLINE void ml_mve_store(int8_t *y, int32x4_t result, int32_t lanes)
{
    if (lanes >= ML_MVE_LANES) {
        vstrbq_s32(y, result);
    } else {
        vstrbq_p_s32(y, result, vctp32q((uint32_t)lanes));
    }
}

/* Inner products of `depth` values of x with the four rows of a block, as the lanes of a vector. */
ML_INLINE int32x4_t ml_mve_dot(const int8_t *x, const int8_t *w, int32_t depth)
{
    int32_t acc0 = 0;
    int32_t acc1 = 0;
    int32_t acc2 = 0;
    int32_t acc3 = 0;
    const int32_t left = depth & (ML_MVE_BYTES - 1);
    for (int32_t vectors = depth >> 4; vectors > 0; --vectors) {
        const int8x16_t values = vldrbq_s8(x);
        acc0 = vmladavaq_s8(acc0, values, vldrbq_s8(w));
        acc1 = vmladavaq_s8(acc1, values, vldrbq_s8(w + ML_MVE_BYTES));
        acc2 = vmladavaq_s8(acc2, values, vldrbq_s8(w + 2 * ML_MVE_BYTES));
        acc3 = vmladavaq_s8(acc3, values, vldrbq_s8(w + 3 * ML_MVE_BYTES));
        x += ML_MVE_BYTES;
        w += ML_MVE_LANES * ML_MVE_BYTES;
    }
    if (left != 0) { /* lanes beyond are loaded as zeros, and their memory is not read */
        const mve_pred16_t valid = vctp8q((uint32_t)left);
        const int8x16_t values = vldrbq_z_s8(x, valid);
        acc0 = vmladavaq_s8(acc0, values, vldrbq_z_s8(w, valid));
        acc1 = vmladavaq_s8(acc1, values, vldrbq_z_s8(w + left, valid));
        acc2 = vmladavaq_s8(acc2, values, vldrbq_z_s8(w + 2 * left, valid));
        acc3 = vmladavaq_s8(acc3, values, vldrbq_z_s8(w + 3 * left, valid));
    }
    int32x4_t acc = vdupq_n_s32(acc0);
    acc = vsetq_lane_s32(acc1, acc, 1);
    acc = vsetq_lane_s32(acc2, acc, 2);
    return vsetq_lane_s32(acc3, acc, 3);
}

/* All outputs of one row of x. */
ML_INLINE void ml_mve_row(int8_t *y, const int8_t *x, const int8_t *w, const int32_t *bias, int32_t depth,
    int32_t out_channels, ml_requant how, ml_mve_output out)
{
    for (int32_t o = 0; o < out_channels; o += ML_MVE_LANES) {
        const int32x4_t acc = vaddq_s32(ml_mve_dot(x, w, depth), vldrwq_s32(bias + o));
        ml_mve_store(y + o, ml_mve_requantize(acc, how, o, out), out_channels - o);
        w += ML_MVE_LANES * depth;
    }
}

#endif
