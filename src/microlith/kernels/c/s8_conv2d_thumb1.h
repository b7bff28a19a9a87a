/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 convolution, one group, any window, for Armv6-M: one output channel by 4 output pixels at a time, two products a
 * multiplication.
 *
 * The receptive fields of pixels p, q, r and s are gathered as words p + q * 2^16 and r + s * 2^16 (`columns`), and
 * stay there for all output channels. Weights are O,KH,KW,I, each channel padded with zeros to a multiple of 4. Each
 * two products are added as they are, then both halves go to 32-bit sums: of neighbouring weights, the first of
 * which has an even place, no two may both be -128, so that the sum of two products is an int16. The bias has had
 * x_zero times the sum of each channel's weights taken off, and padding reads as x_zero.
 */
#ifndef ML_S8_CONV2D_THUMB1_H
#define ML_S8_CONV2D_THUMB1_H

#include "ml_thumb1.h"

/* The first of two products by the weight r4, the second, and both halves of both sums moved to r8 to r11. */
#define ML_CONV_THUMB1_FIRST                                                                                          \
    "ldmia r0!, {r5, r6}\n"                                                                                           \
    "muls r5, r4, r5\n"                                                                                               \
    "muls r6, r4, r6\n"

#define ML_CONV_THUMB1_SECOND                                                                                         \
    "ldmia r0!, {r2, r3}\n"                                                                                           \
    "muls r2, r4, r2\n"                                                                                               \
    "muls r3, r4, r3\n"                                                                                               \
    "adds r5, r5, r2\n"                                                                                               \
    "adds r6, r6, r3\n"                                                                                               \
    "sxth r2, r5\n"                                                                                                   \
    "subs r5, r5, r2\n"                                                                                               \
    "asrs r5, r5, #16\n"                                                                                              \
    "add r8, r2\n"                                                                                                    \
    "add r9, r5\n"                                                                                                    \
    "sxth r3, r6\n"                                                                                                   \
    "subs r6, r6, r3\n"                                                                                               \
    "asrs r6, r6, #16\n"                                                                                              \
    "add r10, r3\n"                                                                                                   \
    "add r11, r6\n"

/* acc[j] = bias + sum of the products of pixel j, for a multiple of four weights. r7 is saved, for a compiler may keep
 * its frame there. Returns the weights of the next channel. */
ML_INLINE const int8_t *ml_conv_thumb1_multiply(
    int32_t acc[ML_PIXELS], const int8_t *weights, const uint32_t *columns, const uint32_t *end, int32_t bias)
{
    register const uint32_t *a __asm__("r0") = columns;
    register const int8_t *w __asm__("r1") = weights;
    register int32_t sum __asm__("r2") = bias;
    register int32_t *to __asm__("r3") = acc;
    register const uint32_t *last __asm__("r4") = end;
    __asm__ volatile(
        ".syntax unified\n"
        "push {r3, r7}\n"
        "mov r12, r4\n"
        "mov r8, r2\n"
        "mov r9, r2\n"
        "mov r10, r2\n"
        "mov r11, r2\n"
        "1:\n"
        "ldmia r1!, {r7}\n"
        "sxtb r4, r7\n" ML_CONV_THUMB1_FIRST
        "asrs r7, r7, #8\n"
        "sxtb r4, r7\n" ML_CONV_THUMB1_SECOND
        "asrs r7, r7, #8\n"
        "sxtb r4, r7\n" ML_CONV_THUMB1_FIRST
        "asrs r4, r7, #8\n" ML_CONV_THUMB1_SECOND
        "cmp r0, r12\n"
        "bne 1b\n"
        "pop {r3, r7}\n"
        "mov r4, r8\n"
        "mov r5, r9\n"
        "mov r6, r10\n"
        "stmia r3!, {r4, r5, r6}\n"
        "mov r4, r11\n"
        "stmia r3!, {r4}"
        : "+r"(a), "+r"(w), "+r"(sum), "+r"(to), "+r"(last)
        :
        : "r5", "r6", "r8", "r9", "r10", "r11", "r12", "cc", "memory");
    return w;
}

/* Every output channel of four pixels. */
ML_INLINE void ml_conv_thumb1_channels(const ml_pixel *at, const int8_t *weights, const int32_t *bias,
    const uint32_t *columns, const uint32_t *end, ml_requant how, int32_t out_channels, ml_thumb1_output out)
{
    int32_t acc[ML_PIXELS];
    for (int32_t o = 0; o < out_channels; ++o) {
        weights = ml_conv_thumb1_multiply(acc, weights, columns, end, bias[o]);
        const ml_thumb1_scale one = ml_thumb1_scale_of(how, o, out);
        at[0].to[o] = ml_thumb1_requantize(acc[0], &one, out);
        at[1].to[o] = ml_thumb1_requantize(acc[1], &one, out);
        at[2].to[o] = ml_thumb1_requantize(acc[2], &one, out);
        at[3].to[o] = ml_thumb1_requantize(acc[3], &one, out);
    }
}

/* y = requantize(bias + sum over taps of x * w). scratch: columns of 8 bytes for each weight of a channel, padding
 * included, and `channels` bytes. Where fewer than four pixels are left, the last stands for those that lack. */
ML_INLINE void s8_conv2d__thumb1_1x4(int8_t *y, const int8_t *x, const int8_t *ML_RESTRICT weights,
    const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind, const float *ML_RESTRICT scale,
    const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t full_range,
    int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t out_channels, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w,
    int32_t dilation_h, int32_t dilation_w, int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero,
    int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_thumb1_output out = {full_range, y_zero, low, high};
    uint32_t *const columns = (uint32_t *)scratch;
    uint32_t *const end = columns + 2 * ((kernel_h * kernel_w * channels + 3) & ~3);
    const ml_pixels_window conv = {x, (int8_t *)end, x_ring, height, width, channels, width * channels,
        (kernel_h - 1) * dilation_h, (kernel_w - 1) * dilation_w, dilation_h, dilation_w};
    ml_pixel at[ML_PIXELS];
    int32_t row = row_begin;
    int32_t column = 0;
    for (int32_t c = 0; c < channels; ++c) {
        conv.zeros[c] = (int8_t)x_zero;
    }
    while (row < row_end) {
        ml_pixels_next(
            at, &row, &column, row_end, out_width, stride_h, stride_w, pad_top, pad_left, y, y_ring, out_channels);
        ml_pixels_gather(&conv, columns, at);
        ml_conv_thumb1_channels(at, weights, bias, columns, end, how, out_channels, out);
    }
}

#endif
