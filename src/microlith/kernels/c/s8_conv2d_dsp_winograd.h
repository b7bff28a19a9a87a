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
 * One accumulator runs through the 16 positions of a tile and channel and is kept after each of them, so each sum is a
 * difference of two; it starts at four times the bias. The positions are visited in the order, and with those of the
 * weights negated, that let the four outputs follow from the fewest kept values: ML_WINOGRAD_VISIT.
 *
 * values: [position][pair of channels][tile], one word each; channels of a quad are paired as 0 with 2 and 1 with 3.
 * weights: [pair of outputs][position][pair of channels][output], likewise. Positions are in the order of visits.
 */
#ifndef ML_S8_CONV2D_DSP_WINOGRAD_H
#define ML_S8_CONV2D_DSP_WINOGRAD_H

#include "ml_dsp.h"

enum { ML_WINOGRAD_TILES = 4, ML_WINOGRAD_POSITIONS = 16, ML_WINOGRAD_SUMS = 2 * ML_WINOGRAD_TILES };

/* When each position, counted by rows, is visited. */
static const uint8_t ML_WINOGRAD_VISIT[ML_WINOGRAD_POSITIONS] = {15, 14, 13, 12, 5, 0, 2, 11, 4, 3, 1, 10, 6, 8, 7, 9};

typedef struct {
    const int8_t *x;
    int32_t x_ring;
    int32_t height;
    int32_t width;
    int32_t channels;
    int32_t place_bytes[ML_WINOGRAD_POSITIONS]; /* from the values to those of each position, counted by rows */
    uint32_t padding;
} ml_winograd;

/* One column of a row of B' d, from two rows of pixels: a - b, even bytes and odd ones. */
#define ML_WINOGRAD_DIFFERENCE(even, odd, spare, at)                                                                  \
    "ldr %[" #even "], [%[a]" at "]\n"                                                                                \
    "ldr %[w], [%[b]" at "]\n"                                                                                        \
    "sxtb16 %[" #odd "], %[" #even "], ror #8\n"                                                                      \
    "sxtb16 %[" #spare "], %[w], ror #8\n"                                                                            \
    "ssub16 %[" #odd "], %[" #odd "], %[" #spare "]\n"                                                                \
    "sxtb16 %[" #even "], %[" #even "]\n"                                                                             \
    "sxtb16 %[w], %[w]\n"                                                                                             \
    "ssub16 %[" #even "], %[" #even "], %[w]\n"

/* Likewise a + b. */
#define ML_WINOGRAD_SUM(even, odd, spare, at)                                                                         \
    "ldr %[" #even "], [%[a]" at "]\n"                                                                                \
    "ldr %[w], [%[b]" at "]\n"                                                                                        \
    "sxtb16 %[" #odd "], %[" #even "], ror #8\n"                                                                      \
    "sxtab16 %[" #odd "], %[" #odd "], %[w], ror #8\n"                                                                \
    "sxtb16 %[" #even "], %[" #even "]\n"                                                                             \
    "sxtab16 %[" #even "], %[" #even "], %[w]\n"

/* A sum or difference of two columns, stored in position j of the row. */
#define ML_WINOGRAD_PUT(what, m, n, j)                                                                                \
    "ldr %[w], [%[places], #" #j "*4]\n"                                                                              \
    what " %[u0], %[" #m "0], %[" #n "0]\n"                                                                           \
    what " %[u1], %[" #m "1], %[" #n "1]\n"                                                                           \
    "add %[w], %[w], %[to]\n"                                                                                         \
    "str %[u0], [%[w]]\n"                                                                                             \
    "str %[u1], [%[w], #16]\n"

/* One row of B' d B for a quad of channels; places is where the row's positions begin. Columns 0 and 2 are in u and t,
 * column 1 in s, column 3 then takes the place of column 2. In assembly, for a compiler keeps too much at once. */
#define ML_WINOGRAD_ROW(column)                                                                                       \
    __asm__ volatile(                                                                                                 \
        column(t0, t1, u0, ", %[step], lsl #1")                                                                       \
        column(u0, u1, s0, "")                                                                                        \
        ML_WINOGRAD_PUT("ssub16", u, t, 0)                                                                            \
        column(s0, s1, u0, ", %[step]")                                                                               \
        ML_WINOGRAD_PUT("sadd16", s, t, 1)                                                                            \
        ML_WINOGRAD_PUT("ssub16", t, s, 2)                                                                            \
        "add %[a], %[a], %[step]\n"                                                                                   \
        "add %[b], %[b], %[step]\n"                                                                                   \
        column(t0, t1, u0, ", %[step], lsl #1")                                                                       \
        ML_WINOGRAD_PUT("ssub16", s, t, 3)                                                                            \
        : [a] "+r"(a), [b] "+r"(b), [s0] "=&r"(s0), [s1] "=&r"(s1), [t0] "=&r"(t0), [t1] "=&r"(t1), [u0] "=&r"(u0),   \
        [u1] "=&r"(u1), [w] "=&r"(w)                                                                                  \
        : [step] "r"(step), [to] "r"(to), [places] "r"(places)                                                        \
        : "memory")

/* One row of B' d B for a quad of channels, from rows of pixels `step` bytes apart: from a + b or a - b. */
ML_INLINE void ml_winograd_row(
    uint32_t *to, const int32_t *places, const int8_t *a, const int8_t *b, int32_t step, int32_t add)
{
    uint32_t s0, s1, t0, t1, u0, u1, w;
    if (add) {
        ML_WINOGRAD_ROW(ML_WINOGRAD_SUM);
    } else {
        ML_WINOGRAD_ROW(ML_WINOGRAD_DIFFERENCE);
    }
}

/* All of B' d B for quads of channels; row i of the pixels is at d[i], one pixel `step` bytes from the next. */
static ML_NOINLINE void ml_winograd_turn(
    uint32_t *to, const int32_t *places, const int8_t *const d[4], int32_t step, int32_t quads)
{
    for (int32_t c = 0; c < 4 * quads; c += 4, to += 2 * ML_WINOGRAD_TILES) {
        ml_winograd_row(to, places, d[0] + c, d[2] + c, step, 0);
        ml_winograd_row(to, places + 4, d[1] + c, d[2] + c, step, 1);
        ml_winograd_row(to, places + 8, d[2] + c, d[1] + c, step, 0);
        ml_winograd_row(to, places + 12, d[1] + c, d[3] + c, step, 0);
    }
}

/* The values of a tile whose first input is (iy, ix), as tile `to` of each position. */
static ML_NOINLINE void ml_winograd_tile(const ml_winograd *conv, uint32_t *to, int32_t iy, int32_t ix)
{
    const int32_t channels = conv->channels;
    const int32_t left = ml_max(-ix, 0);
    const int32_t right = ml_min(conv->width - ix, 4);
    const int32_t top = ml_max(-iy, 0);
    const int32_t bottom = ml_min(conv->height - iy, 4);
    const int8_t *row[4];
    for (int32_t i = top; i < bottom; ++i) {
        row[i] = conv->x + (ml_ring_row(iy + i, conv->x_ring) * conv->width + ix) * channels;
    }
    if (left == 0 && right == 4 && top == 0 && bottom == 4) {
        ml_winograd_turn(to, conv->place_bytes, row, channels, channels >> 2);
        return;
    }
    uint32_t pixels[4][4];
    const int8_t *d[4];
    for (int32_t i = 0; i < 4; ++i) {
        d[i] = (const int8_t *)pixels[i];
        for (int32_t j = 0; j < 4; ++j) {
            pixels[i][j] = conv->padding;
        }
    }
    for (int32_t c = 0; c < channels; c += 4, to += 2 * ML_WINOGRAD_TILES) {
        for (int32_t i = top; i < bottom; ++i) {
            const int8_t *from = row[i] + left * channels + c;
            for (int32_t j = left; j < right; ++j, from += channels) {
                pixels[i][j] = ml_dsp_load(from);
            }
        }
        ml_winograd_turn(to, conv->place_bytes, d, 4, 1);
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

/* Accumulators of two outputs and four tiles after every position: sums[position][tile][output]; they start at the two
 * of `start`. Returns the weights of the next two outputs. All registers but sp are named, r7 is saved, for a compiler
 * may keep its frame there. Eight pairs of channels a turn; the first turn of a position is entered in its middle where
 * their number is no multiple of eight. On the stack: the end of the position's values, where its sums go, the bytes of
 * its values, the end of the sums, and where its first turn is entered. */
ML_INLINE const int16_t *ml_winograd_multiply(
    int32_t *sums, const int16_t *weights, const uint32_t *values, int32_t pairs, const int32_t start[2])
{
    register const int16_t *w __asm__("r0") = weights;
    register const uint32_t *v __asm__("r1") = values;
    register int32_t first __asm__("r2") = start[0];
    register int32_t second __asm__("r3") = start[1];
    register int32_t plane_bytes __asm__("r4") = 4 * ML_WINOGRAD_TILES * pairs;
    register int32_t skipped_bytes __asm__("r5") = 14 * 4 * (-pairs & 7);
    register int32_t *to __asm__("r6") = sums;
    __asm__ volatile(
        "adr r12, 2f\n"
        "add r12, r12, r5\n"
        "orr r12, r12, #1\n"
        "add r11, r6, #512\n"
        "add r5, r1, r4\n"
        "push {r7, r12}\n"
        "push {r4, r11}\n"
        "push {r5, r6}\n"
        "mov r4, r2\n"
        "mov r5, r3\n"
        "mov r6, r2\n"
        "mov r8, r3\n"
        "mov r9, r2\n"
        "mov r10, r3\n"
        "bx r12\n"
        ".balign 4\n"
        "2:\n" ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR
            ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR ML_WINOGRAD_PAIR
        "ldr r7, [sp]\n"
        "ldr r12, [sp, #4]\n"
        "cmp r1, r7\n"
        "bne 2b\n"
        "stm r12!, {r2, r3, r4, r5, r6, r8, r9, r10}\n"
        "str r12, [sp, #4]\n"
        "ldr r11, [sp, #8]\n"
        "ldr lr, [sp, #12]\n"
        "add r7, r7, r11\n"
        "cmp r12, lr\n"
        "beq 3f\n"
        "str r7, [sp]\n"
        "ldr pc, [sp, #20]\n"
        "3:\n"
        "ldr r7, [sp, #16]\n"
        "add sp, #24"
        : "+r"(w), "+r"(v), "+r"(first), "+r"(second), "+r"(plane_bytes), "+r"(skipped_bytes), "+r"(to)
        :
        : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
    return w;
}

#define ML_WINOGRAD_LOAD(to, visit) "ldr %[" #to "], [%[sums], #" #visit "*32]\n"

/* The accumulators of the 2x2 outputs of one tile and channel from what ml_winograd_multiply kept, c0 to c15:
 * c15 + 2 c4 - c5 - c12, 2 c0 - 2 c2 + c3 + c9 - 2 c13 + c14, 2 c0 - 2 c1 + 2 c2 - 2 c7 + c8 and
 * 2 c1 - c3 - c6 + 2 c10 - c11 are four times of them. Loads in a row take one cycle each but for the first. */
ML_INLINE void ml_winograd_outputs(int32_t y[4], const int32_t *sums)
{
    int32_t y0, y1, y2, y3, a, b, c, d;
    __asm__(ML_WINOGRAD_LOAD(a, 0) ML_WINOGRAD_LOAD(b, 1) ML_WINOGRAD_LOAD(c, 2) ML_WINOGRAD_LOAD(y3, 3)
        "sub %[y1], %[y3], %[c], lsl #1\n"
        "add %[y1], %[y1], %[a], lsl #1\n"
        "sub %[a], %[a], %[b]\n"
        "add %[a], %[a], %[c]\n"
        "rsb %[y3], %[y3], %[b], lsl #1\n"
        ML_WINOGRAD_LOAD(b, 4) ML_WINOGRAD_LOAD(c, 5) ML_WINOGRAD_LOAD(y0, 15) ML_WINOGRAD_LOAD(d, 7)
        ML_WINOGRAD_LOAD(y2, 8)
        "add %[y0], %[y0], %[b], lsl #1\n"
        "sub %[y0], %[y0], %[c]\n"
        "sub %[a], %[a], %[d]\n"
        "add %[y2], %[y2], %[a], lsl #1\n"
        ML_WINOGRAD_LOAD(a, 12) ML_WINOGRAD_LOAD(b, 6) ML_WINOGRAD_LOAD(c, 9) ML_WINOGRAD_LOAD(d, 10)
        "sub %[y0], %[y0], %[a]\n"
        "sub %[y3], %[y3], %[b]\n"
        "add %[y1], %[y1], %[c]\n"
        "add %[y3], %[y3], %[d], lsl #1\n"
        ML_WINOGRAD_LOAD(a, 11) ML_WINOGRAD_LOAD(b, 13) ML_WINOGRAD_LOAD(c, 14)
        "sub %[y3], %[y3], %[a]\n"
        "sub %[y1], %[y1], %[b], lsl #1\n"
        "add %[y1], %[y1], %[c]\n"
        : [y0] "=&r"(y0), [y1] "=&r"(y1), [y2] "=&r"(y2), [y3] "=&r"(y3), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c),
        [d] "=&r"(d)
        : [sums] "r"(sums)
        : "memory");
    y[0] = y0 >> 2;
    y[1] = y1 >> 2;
    y[2] = y2 >> 2;
    y[3] = y3 >> 2;
}

/* Where the outputs of a tile go, by rows; one that is not there has the address of the one before it. */
typedef struct {
    int8_t *y[4];
} ml_winograd_place;

/* One output channel of all four tiles. Stored from the last to the first, so that what is not wanted is stored where a
 * wanted result follows. */
ML_INLINE void ml_winograd_store(const ml_winograd_place place[ML_WINOGRAD_TILES], const int32_t *sums, int32_t channel,
    ml_dsp_scale one, ml_dsp_output out)
{
    for (int32_t tile = ML_WINOGRAD_TILES - 1; tile >= 0; --tile) {
        int32_t y[4];
        ml_winograd_outputs(y, sums + 2 * tile);
        for (int32_t i = 3; i >= 0; --i) {
            place[tile].y[i][channel] = ml_dsp_requantize(y[i], one, out);
        }
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
    ml_winograd conv = {x, x_ring, height, width, channels, {0}, ((uint32_t)x_zero & 0xffu) * 0x01010101u};
    for (int32_t position = 0; position < ML_WINOGRAD_POSITIONS; ++position) {
        conv.place_bytes[position] = ML_WINOGRAD_VISIT[position] * 4 * ML_WINOGRAD_TILES * pairs;
    }
    ml_winograd_place place[ML_WINOGRAD_TILES];
    int32_t count = 0;
    for (int32_t oy = row_begin; oy < row_end; oy += 2) {
        int8_t *top = y + ml_ring_row(oy, y_ring) * out_width * out_channels;
        int8_t *bottom = oy + 1 < row_end ? y + ml_ring_row(oy + 1, y_ring) * out_width * out_channels : top;
        for (int32_t ox = 0; ox < out_width; ox += 2) {
            ml_winograd_tile(&conv, values + count, oy - pad_top, ox - pad_left);
            const int32_t first = ox * out_channels;
            const int32_t last = ml_min(ox + 1, out_width - 1) * out_channels;
            const ml_winograd_place one = {{top + first, top + last, bottom + first, bottom + last}};
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
                    const int32_t start[2] = {
                        (int32_t)((uint32_t)bias[o] << 2), (int32_t)((uint32_t)bias[second] << 2)};
                    w = ml_winograd_multiply(sums, w, values, pairs, start);
                    ml_winograd_store(place, sums + 1, second, ml_dsp_scale_of(how, second, out), out);
                    ml_winograd_store(place, sums, o, ml_dsp_scale_of(how, o, out), out);
                }
                count = 0;
            }
        }
    }
}

#endif
