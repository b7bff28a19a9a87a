/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 depthwise convolution with one filter a channel, any window, for Armv6-M: one channel of 4 output pixels at a
 * time.
 *
 * The addresses of the taps of four pixels are listed once (`taps`), and serve all channels; taps in the padding lie in
 * a row of x_zero. Weights are KH,KW,C. The bias has had x_zero times the sum of each channel's weights taken off.
 */
#ifndef ML_S8_DEPTHWISE_CONV2D_THUMB1_H
#define ML_S8_DEPTHWISE_CONV2D_THUMB1_H

#include "ml_thumb1.h"

/* acc[j] = bias + sum over taps of x * w of pixel j. r7 is saved, for a compiler may keep its frame there. */
ML_INLINE void ml_depthwise_thumb1_multiply(int32_t acc[ML_PIXELS], const int8_t *const *taps,
    const int8_t *const *end, const int8_t *weights, int32_t channel, int32_t channels, int32_t bias)
{
    register const int8_t *const *tap __asm__("r0") = taps;
    register const int8_t *w __asm__("r1") = weights;
    register int32_t c __asm__("r2") = channel;
    register int32_t *to __asm__("r3") = acc;
    register const int8_t *const *last __asm__("r4") = end;
    register int32_t step __asm__("r5") = channels;
    register int32_t sum __asm__("r6") = bias;
    __asm__ volatile(".syntax unified\n"
                     "push {r3, r7}\n"
                     "mov r12, r5\n"
                     "mov lr, r4\n"
                     "mov r8, r6\n"
                     "mov r9, r6\n"
                     "mov r10, r6\n"
                     "mov r11, r6\n"
                     "1:\n"
                     "ldrsb r3, [r1, r2]\n"
                     "ldmia r0!, {r4, r5, r6, r7}\n"
                     "ldrsb r4, [r4, r2]\n"
                     "muls r4, r3, r4\n"
                     "add r8, r4\n"
                     "ldrsb r5, [r5, r2]\n"
                     "muls r5, r3, r5\n"
                     "add r9, r5\n"
                     "ldrsb r6, [r6, r2]\n"
                     "muls r6, r3, r6\n"
                     "add r10, r6\n"
                     "ldrsb r7, [r7, r2]\n"
                     "muls r7, r3, r7\n"
                     "add r11, r7\n"
                     "add r1, r12\n"
                     "cmp r0, lr\n"
                     "bne 1b\n"
                     "pop {r3, r7}\n"
                     "mov r4, r8\n"
                     "mov r5, r9\n"
                     "mov r6, r10\n"
                     "stmia r3!, {r4, r5, r6}\n"
                     "mov r4, r11\n"
                     "stmia r3!, {r4}"
                     : "+r"(tap), "+r"(w), "+r"(c), "+r"(to), "+r"(last), "+r"(step), "+r"(sum)
                     :
                     : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* y = requantize(bias + sum over taps of x * w). scratch: four addresses for each tap, and `channels` bytes. */
ML_INLINE void s8_depthwise_conv2d__thumb1_1x4(int8_t *y, const int8_t *x, const int8_t *ML_RESTRICT weights,
    const int32_t *ML_RESTRICT bias, void *ML_RESTRICT scratch, int32_t kind, const float *ML_RESTRICT scale,
    const int32_t *ML_RESTRICT multiplier, const int8_t *ML_RESTRICT shift, int32_t per_channel, int32_t full_range,
    int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h,
    int32_t dilation_w, int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_thumb1_output out = {full_range, y_zero, low, high};
    const int8_t **const taps = (const int8_t **)scratch;
    const int8_t **const end = taps + ML_PIXELS * kernel_h * kernel_w;
    const ml_pixels_window window = {x, (int8_t *)end, x_ring, height, width, channels, width * channels,
        (kernel_h - 1) * dilation_h, (kernel_w - 1) * dilation_w, dilation_h, dilation_w};
    ml_pixel at[ML_PIXELS];
    int32_t acc[ML_PIXELS];
    int32_t row = row_begin;
    int32_t column = 0;
    for (int32_t c = 0; c < channels; ++c) {
        window.zeros[c] = (int8_t)x_zero;
    }
    while (row < row_end) {
        ml_pixels_next(
            at, &row, &column, row_end, out_width, stride_h, stride_w, pad_top, pad_left, y, y_ring, channels);
        ml_pixels_list(&window, taps, at);
        for (int32_t c = 0; c < channels; ++c) {
            ml_depthwise_thumb1_multiply(acc, taps, end, weights, c, channels, bias[c]);
            const ml_thumb1_scale one = ml_thumb1_scale_of(how, c, out);
            for (int32_t j = 0; j < ML_PIXELS; ++j) {
                at[j].to[c] = ml_thumb1_requantize(acc[j], &one, out);
            }
        }
    }
}

#endif
