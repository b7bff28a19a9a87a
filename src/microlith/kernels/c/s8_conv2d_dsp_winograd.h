/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 convolution with a 3x3 window, strides and dilations of 1, one group: exact integer Winograd F(2x2,3x3) on SMLAD.
 *
 * Four tiles of 2x2 outputs at a time. The 4x4 inputs d of a tile become V = B' d B by sums and differences alone, at
 * most 512 in magnitude; weights were transformed ahead of time with twice the usual G, so that U = G g G' holds
 * integers of at most 1152. A' (sum over channels of U * V) A is then 4 times the accumulator of the convolution: all
 * arithmetic is modulo 2^32, and exact wherever four times the accumulator fits in 32 bits. Of the 9 products of each
 * output 4 are left. The bias has had x_zero times the sum of each channel's weights taken off, and padding reads as
 * x_zero. Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016), section 4.1.
 *
 * Positions are counted by rows, 0 to 15. values: [position][pair of channels][tile], one word each; channels of a
 * quad are paired as 0 with 2 and 1 with 3. weights: [pair of outputs][position][pair of channels][output], likewise.
 */
#ifndef ML_S8_CONV2D_DSP_WINOGRAD_H
#define ML_S8_CONV2D_DSP_WINOGRAD_H

#include "ml_dsp.h"

enum { ML_WINOGRAD_TILES = 4, ML_WINOGRAD_POSITIONS = 16, ML_WINOGRAD_SUMS = 2 * ML_WINOGRAD_TILES };

/* Two sums or differences of 16 bits. */
ML_INLINE uint32_t ml_winograd_add(uint32_t a, uint32_t b)
{
    uint32_t sum;
    __asm__("sadd16 %0, %1, %2" : "=r"(sum) : "r"(a), "r"(b));
    return sum;
}

ML_INLINE uint32_t ml_winograd_sub(uint32_t a, uint32_t b)
{
    uint32_t difference;
    __asm__("ssub16 %0, %1, %2" : "=r"(difference) : "r"(a), "r"(b));
    return difference;
}

typedef struct {
    const int8_t *x;
    int32_t x_ring;
    int32_t height;
    int32_t width;
    int32_t channels;
    int32_t plane; /* words of one position */
    uint32_t padding;
} ml_winograd;

/* One row of B' d B of two channels, from that row of B' d. */
ML_INLINE void ml_winograd_row(uint32_t *to, int32_t plane, const uint32_t t[4])
{
    to[0] = ml_winograd_sub(t[0], t[2]);
    to[plane] = ml_winograd_add(t[1], t[2]);
    to[2 * plane] = ml_winograd_sub(t[2], t[1]);
    to[3 * plane] = ml_winograd_sub(t[1], t[3]);
}

/* One column of B' d of two channels. */
ML_INLINE void ml_winograd_column(uint32_t t[4][4], int32_t j, uint32_t d0, uint32_t d1, uint32_t d2, uint32_t d3)
{
    t[0][j] = ml_winograd_sub(d0, d2);
    t[1][j] = ml_winograd_add(d1, d2);
    t[2][j] = ml_winograd_sub(d2, d1);
    t[3][j] = ml_winograd_sub(d1, d3);
}

/* All of B' d B for four channels; d[i] is row i of the pixels, `step` bytes apart. */
ML_INLINE void ml_winograd_turn(uint32_t *to, int32_t plane, const int8_t *const d[4], int32_t step)
{
    uint32_t even[4][4];
    uint32_t odd[4][4];
    for (int32_t j = 0; j < 4; ++j) {
        const uint32_t d0 = ml_dsp_load(d[0] + j * step);
        const uint32_t d1 = ml_dsp_load(d[1] + j * step);
        const uint32_t d2 = ml_dsp_load(d[2] + j * step);
        const uint32_t d3 = ml_dsp_load(d[3] + j * step);
        ml_winograd_column(even, j, ml_dsp_widen_even(d0), ml_dsp_widen_even(d1), ml_dsp_widen_even(d2),
            ml_dsp_widen_even(d3));
        ml_winograd_column(
            odd, j, ml_dsp_widen_odd(d0), ml_dsp_widen_odd(d1), ml_dsp_widen_odd(d2), ml_dsp_widen_odd(d3));
    }
    for (int32_t i = 0; i < 4; ++i) {
        ml_winograd_row(to + 4 * i * plane, plane, even[i]);
        ml_winograd_row(to + 4 * i * plane + ML_WINOGRAD_TILES, plane, odd[i]);
    }
}

/* The values of a tile whose first input is (iy, ix), as tile `to` of each position. */
static ML_NOINLINE void ml_winograd_tile(const ml_winograd *conv, uint32_t *to, int32_t iy, int32_t ix)
{
    const int8_t *row[4];
    const int32_t channels = conv->channels;
    int32_t inside = ix >= 0 && ix + 4 <= conv->width;
    for (int32_t i = 0; i < 4; ++i) {
        const int32_t valid = iy + i >= 0 && iy + i < conv->height;
        row[i] = valid ? conv->x + (ml_ring_row(iy + i, conv->x_ring) * conv->width + ix) * channels : NULL;
        inside = inside && valid;
    }
    for (int32_t c = 0; c < channels; c += 4, to += 2 * ML_WINOGRAD_TILES) {
        if (inside) {
            const int8_t *const d[4] = {row[0] + c, row[1] + c, row[2] + c, row[3] + c};
            ml_winograd_turn(to, conv->plane, d, channels);
            continue;
        }
        uint32_t pixels[4][4];
        for (int32_t i = 0; i < 4; ++i) {
            for (int32_t j = 0; j < 4; ++j) {
                const int32_t valid = row[i] != NULL && ix + j >= 0 && ix + j < conv->width;
                pixels[i][j] = valid ? ml_dsp_load(row[i] + j * channels + c) : conv->padding;
            }
        }
        const int8_t *const d[4] = {(const int8_t *)pixels[0], (const int8_t *)pixels[1], (const int8_t *)pixels[2],
            (const int8_t *)pixels[3]};
        ml_winograd_turn(to, conv->plane, d, 4);
    }
}

/* A pair of products of 2 outputs (r0) and 4 tiles (r1): 14 instructions of 4 bytes. */
#define ML_WINOGRAD_PAIR                                                                                              \
    "ldr r11, [r0], #4\n"                                                                                             \
    "ldr lr, [r0], #4\n"                                                                                              \
    "ldr r7, [r1], #4\n"                                                                                              \
    "ldr r12, [r1], #4\n"                                                                                             \
    "smlad r2, r7, r11, r2\n"                                                                                         \
    "smlad r3, r7, lr, r3\n"                                                                                          \
    "smlad r4, r12, r11, r4\n"                                                                                        \
    "smlad r5, r12, lr, r5\n"                                                                                         \
    "ldr r7, [r1], #4\n"                                                                                              \
    "ldr r12, [r1], #4\n"                                                                                             \
    "smlad r6, r7, r11, r6\n"                                                                                         \
    "smlad r8, r7, lr, r8\n"                                                                                          \
    "smlad r9, r12, r11, r9\n"                                                                                        \
    "smlad r10, r12, lr, r10\n"

/* Sums over channels of two outputs and four tiles at every position: sums[position][tile][output]. Returns the weights
 * of the next two outputs. All registers but sp are named, r7 is saved, for a compiler may keep its frame there. Eight
 * pairs of channels a turn; the first turn is entered in its middle where their number is no multiple of eight. */
ML_INLINE const int16_t *ml_winograd_multiply(
    int32_t *sums, const int16_t *weights, const uint32_t *values, int32_t pairs)
{
    register const int16_t *w __asm__("r0") = weights;
    register const uint32_t *v __asm__("r1") = values;
    register int32_t *to __asm__("r2") = sums;
    register int32_t *end __asm__("r3") = sums + ML_WINOGRAD_POSITIONS * ML_WINOGRAD_SUMS;
    register int32_t plane_bytes __asm__("r4") = 4 * ML_WINOGRAD_TILES * pairs;
    register int32_t skipped_bytes __asm__("r5") = 14 * 4 * (-pairs & 7);
    __asm__ volatile(
        "push {r3, r4, r5, r7}\n"
        "sub sp, #8\n"
        "1:\n"
        "ldr r12, [sp, #12]\n"
        "ldr r11, [sp, #16]\n"
        "str r2, [sp]\n"
        "add r12, r12, r1\n"
        "str r12, [sp, #4]\n"
        "mov r2, #0\n"
        "mov r3, #0\n"
        "mov r4, #0\n"
        "mov r5, #0\n"
        "mov r6, #0\n"
        "mov r8, #0\n"
        "mov r9, #0\n"
        "mov r10, #0\n"
        "add pc, r11\n" /* pc reads as the address of this instruction plus 4 */
        "nop\n"
        "2:\n" ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR
            ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR
        "ldr r7, [sp, #4]\n"
        "cmp r1, r7\n"
        "bne 2b\n"
        "ldr r7, [sp]\n"
        "ldr r12, [sp, #8]\n"
        "stm r7!, {r2, r3, r4, r5, r6, r8, r9, r10}\n"
        "mov r2, r7\n"
        "cmp r2, r12\n"
        "bne 1b\n"
        "add sp, #8\n"
        "pop {r3, r4, r5, r7}"
        : "+r"(w), "+r"(v), "+r"(to)
        : "r"(end), "r"(plane_bytes), "r"(skipped_bytes)
        : "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
    return w;
}

/* Column `j` of A' M: m0 + m1 + m2 in r8, m1 - m2 - m3 in r12. */
#define ML_WINOGRAD_COLUMN(j)                                                                                         \
    "ldr r8, [%[sums], #" #j "*32]\n"                                                                                 \
    "ldr r9, [%[sums], #" #j "*32+128]\n"                                                                             \
    "ldr r12, [%[sums], #" #j "*32+256]\n"                                                                            \
    "ldr lr, [%[sums], #" #j "*32+384]\n"                                                                             \
    "add r8, r8, r9\n"                                                                                                \
    "add r8, r8, r12\n"                                                                                               \
    "sub r12, r9, r12\n"                                                                                              \
    "sub r12, r12, lr\n"

/* The accumulators of the 2x2 outputs of one tile and channel from its sums, of which one position is 8 words from the
 * next; start is four times the bias. */
ML_INLINE void ml_winograd_outputs(int32_t y[4], const int32_t *sums, int32_t start)
{
    int32_t top = start;
    int32_t top_right = start;
    int32_t bottom = start;
    int32_t bottom_right = start;
    __asm__(ML_WINOGRAD_COLUMN(0)
        "add %[top], %[top], r8\n"
        "add %[bottom], %[bottom], r12\n" ML_WINOGRAD_COLUMN(1)
        "add %[top], %[top], r8\n"
        "add %[top_right], %[top_right], r8\n"
        "add %[bottom], %[bottom], r12\n"
        "add %[bottom_right], %[bottom_right], r12\n" ML_WINOGRAD_COLUMN(2)
        "add %[top], %[top], r8\n"
        "sub %[top_right], %[top_right], r8\n"
        "add %[bottom], %[bottom], r12\n"
        "sub %[bottom_right], %[bottom_right], r12\n" ML_WINOGRAD_COLUMN(3)
        "sub %[top_right], %[top_right], r8\n"
        "sub %[bottom_right], %[bottom_right], r12"
        : [top] "+r"(top), [top_right] "+r"(top_right), [bottom] "+r"(bottom), [bottom_right] "+r"(bottom_right)
        : [sums] "r"(sums)
        : "r8", "r9", "r12", "lr", "memory");
    y[0] = top >> 2;
    y[1] = top_right >> 2;
    y[2] = bottom >> 2;
    y[3] = bottom_right >> 2;
}

/* Where the outputs of a tile go; a row or column that is not there has the address of the one before. */
typedef struct {
    int8_t *top;
    int8_t *bottom;
    int32_t right; /* bytes from the first column to the second */
} ml_winograd_place;

/* One output channel of all four tiles. Stored from the last to the first, so that what is not wanted is stored where a
 * wanted result follows. */
ML_INLINE void ml_winograd_store(const ml_winograd_place place[ML_WINOGRAD_TILES], const int32_t *sums, int32_t channel,
    int32_t bias, ml_dsp_scale one, ml_dsp_output out)
{
    const int32_t start = (int32_t)((uint32_t)bias << 2);
    for (int32_t tile = ML_WINOGRAD_TILES - 1; tile >= 0; --tile) {
        int32_t y[4];
        const ml_winograd_place at = place[tile];
        ml_winograd_outputs(y, sums + 2 * tile, start);
        at.bottom[at.right + channel] = ml_dsp_requantize(y[3], one, out);
        at.bottom[channel] = ml_dsp_requantize(y[2], one, out);
        at.top[at.right + channel] = ml_dsp_requantize(y[1], one, out);
        at.top[channel] = ml_dsp_requantize(y[0], one, out);
    }
}

/* scratch: 128 bytes for each input channel, then 512 bytes. channels is a multiple of 4. */
ML_INLINE void s8_conv2d__dsp_winograd_2x2(int8_t *y, const int8_t *x, const int16_t *weights, const int32_t *bias,
    void *scratch, int32_t kind, const float *scale, const int32_t *multiplier, const int8_t *shift,
    int32_t per_channel, int32_t full_range, int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring,
    int32_t height, int32_t width, int32_t channels, int32_t out_width, int32_t out_channels, int32_t pad_top,
    int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, per_channel);
    const ml_dsp_output out = {full_range, y_zero, low, high};
    const int32_t pairs = channels >> 1;
    uint32_t *values = (uint32_t *)scratch;
    int32_t *sums = (int32_t *)(values + ML_WINOGRAD_POSITIONS * ML_WINOGRAD_TILES * pairs);
    const ml_winograd conv = {x, x_ring, height, width, channels, ML_WINOGRAD_TILES * pairs,
        ((uint32_t)x_zero & 0xffu) * 0x01010101u};
    ml_winograd_place place[ML_WINOGRAD_TILES];
    int32_t count = 0;
    for (int32_t oy = row_begin; oy < row_end; oy += 2) {
        int8_t *top = y + ml_ring_row(oy, y_ring) * out_width * out_channels;
        int8_t *bottom = oy + 1 < row_end ? y + ml_ring_row(oy + 1, y_ring) * out_width * out_channels : top;
        for (int32_t ox = 0; ox < out_width; ox += 2) {
            ml_winograd_tile(&conv, values + count, oy - pad_top, ox - pad_left);
            const ml_winograd_place one = {
                top + ox * out_channels, bottom + ox * out_channels, ox + 1 < out_width ? out_channels : 0};
            place[count++] = one;
            if (oy + 2 >= row_end && ox + 2 >= out_width) {
                for (; count < ML_WINOGRAD_TILES; ++count) {
                    place[count] = place[0]; /* stored before tile 0, from values of an earlier turn */
                }
            }
            if (count == ML_WINOGRAD_TILES) {
                const int16_t *w = weights;
                for (int32_t o = 0; o < out_channels; o += 2) {
                    const int32_t second = ml_min(o + 1, out_channels - 1);
                    w = ml_winograd_multiply(sums, w, values, pairs);
                    ml_winograd_store(place, sums + 1, second, bias[second], ml_dsp_scale_of(how, second, out), out);
                    ml_winograd_store(place, sums, o, bias[o], ml_dsp_scale_of(how, o, out), out);
                }
                count = 0;
            }
        }
    }
}

#endif
