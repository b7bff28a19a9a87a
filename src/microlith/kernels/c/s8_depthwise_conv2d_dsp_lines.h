/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 depthwise convolution with any window, a stride of 1 or 2 along its lines, on SMLAD.
 *
 * Four channels at a time, the input is turned into lines of 16 bits as for the 3x3 window. Lines run along rows, or,
 * where `upright` is not 0, along columns: a window of one column then has its taps in one line. Along a line a word of
 * x holds two neighbours (x0, x1), and the taps w of one row of the window are held twice: as (w0, w1), (w2, w3), ...
 * for an output that starts at x0, and as (0, w0), (w1, w2), ... for the one that starts at x1. A turn of the inner
 * loop multiplies one word of both by the words of two or three pairs of outputs. Weights have 16 bits in the scratch
 * only, where those of one channel are written before its rows.
 *
 * A dilation along the lines splits them into as many lines of every so many columns, each without dilation.
 *
 * lines: [row or column of the block][pair][channel], one word each.
 */
#ifndef ML_S8_DEPTHWISE_CONV2D_DSP_LINES_H
#define ML_S8_DEPTHWISE_CONV2D_DSP_LINES_H

#include "s8_depthwise_conv2d_dsp_turn.h"

/* Outputs of a turn: four, or, at a stride of 1, the most. */
enum { ML_DEPTHWISE_LINES_ALONE = 4, ML_DEPTHWISE_LINES_MOST = 6 };

/* Where the columns of the input lie along the lines; `every` is the dilation. */
typedef struct {
    int32_t first; /* of every so many, that of the first pair */
    int32_t count;
    int32_t offset; /* of the first of them all */
    int32_t every;
    int32_t ring;
    int32_t step; /* bytes */
} ml_depthwise_lines_along;

ML_INLINE uint32_t ml_depthwise_lines_pixel(
    const ml_depthwise_dsp *conv, const ml_depthwise_lines_along *along, const int8_t *x, int32_t at)
{
    if (at < 0 || at >= along->count) {
        return conv->padding;
    }
    return ml_dsp_load(x + ml_ring_row(along->offset + at * along->every, along->ring) * along->step);
}

/* Write one column of the input, or padding, into a line; x is the first of four channels of the first row. */
ML_INLINE void ml_depthwise_lines_upright(const ml_depthwise_dsp *conv, const ml_depthwise_lines_along *along,
    uint32_t *to, const int8_t *x, int32_t column)
{
    if (column < 0 || column >= conv->height) {
        (void)ml_depthwise_dsp_pad(conv, to, conv->pairs);
        return;
    }
    x += column * conv->row_step;
    for (int32_t pair = 0, at = along->first; pair < conv->pairs; ++pair, at += 2, to += ML_DEPTHWISE_DSP_LANES) {
        ml_depthwise_dsp_turn(to, ml_depthwise_lines_pixel(conv, along, x, at),
            ml_depthwise_lines_pixel(conv, along, x, at + 1));
    }
}

/* Widen the taps of one channel: for each row of them the words for outputs at even places, those at odd ones between
 * them where both is not 0. */
ML_INLINE void ml_depthwise_lines_widen(
    uint32_t *to, const int8_t *weights, int32_t rows, int32_t taps, int32_t words, int32_t both)
{
    for (; rows > 0; --rows, weights += taps) {
        uint32_t before = 0;
        for (int32_t j = 0; j < words; ++j) {
            const uint32_t left = 2 * j < taps ? (uint32_t)weights[2 * j] : 0;
            const uint32_t right = 2 * j + 1 < taps ? (uint32_t)weights[2 * j + 1] : 0;
            *to++ = ml_dsp_pack_low(left, right);
            if (both) {
                *to++ = ml_dsp_pack_low(before, left);
            }
            before = right;
        }
    }
}

/* One channel of one line of outputs. */
typedef struct {
    const uint32_t *weights;
    int32_t rows;      /* of taps */
    int32_t words;     /* of a row of taps */
    int32_t tap_step;  /* words from the line of one row of taps to the next */
    int32_t count;     /* outputs */
    int32_t step;      /* bytes from one output to the next */
    int32_t bias;
    ml_dsp_scale scale;
    ml_dsp_output out;
} ml_depthwise_lines_channel;

#if ML_ARM_FPU
/*
 * Sums in registers: r0 is the line, r1 the weights, r3-r6, r8 and r9 the sums, r2, r10 and r11 the words of x in turn,
 * r12 and lr those of the weights. What the end of a row of taps needs lies in FPU registers. r7 is left alone, for a
 * compiler may keep its frame there.
 */
#define ML_DEPTHWISE_LINES_FIRST                                                                                      \
    "1:\n"                                                                                                            \
    "ldr r2, [r0]\n"                                                                                                  \
    "ldr r10, [r0, #16]\n"
#define ML_DEPTHWISE_LINES_BOTH                                                                                       \
    "ldr r12, [r1], #4\n"                                                                                             \
    "ldr lr, [r1], #4\n"
#define ML_DEPTHWISE_LINES_LAST                                                                                       \
    "vmov r2, %[step]\n"                                                                                              \
    "add r0, r0, r2\n"                                                                                                \
    "vmov r2, %[end]\n"                                                                                               \
    "cmp r1, r2\n"                                                                                                    \
    "bne 1b"
#define ML_DEPTHWISE_LINES_WORD(x, offset) "ldr " x ", [r0, " offset "]\n"

#define ML_DEPTHWISE_LINES_TIMES_2(x0, x1)                                                                            \
    "smlad r3, " x0 ", r12, r3\n"                                                                                     \
    "smlad r4, " x0 ", lr, r4\n"                                                                                      \
    "smlad r5, " x1 ", r12, r5\n"                                                                                     \
    "smlad r6, " x1 ", lr, r6\n"
#define ML_DEPTHWISE_LINES_NEXT_2(x0, x1, offset)                                                                     \
    ML_DEPTHWISE_LINES_BOTH ML_DEPTHWISE_LINES_WORD(x1, offset) ML_DEPTHWISE_LINES_TIMES_2(x0, x1)
#define ML_DEPTHWISE_LINES_2_1                                                                                        \
    ML_DEPTHWISE_LINES_FIRST ML_DEPTHWISE_LINES_BOTH ML_DEPTHWISE_LINES_TIMES_2("r2", "r10")
#define ML_DEPTHWISE_LINES_2_2 ML_DEPTHWISE_LINES_2_1 ML_DEPTHWISE_LINES_NEXT_2("r10", "r2", "#32")
#define ML_DEPTHWISE_LINES_2_3 ML_DEPTHWISE_LINES_2_2 ML_DEPTHWISE_LINES_NEXT_2("r2", "r10", "#48")
#define ML_DEPTHWISE_LINES_2_4 ML_DEPTHWISE_LINES_2_3 ML_DEPTHWISE_LINES_NEXT_2("r10", "r2", "#64")
#define ML_DEPTHWISE_LINES_2_5 ML_DEPTHWISE_LINES_2_4 ML_DEPTHWISE_LINES_NEXT_2("r2", "r10", "#80")

#define ML_DEPTHWISE_LINES_TIMES_3(x0, x1, x2)                                                                        \
    ML_DEPTHWISE_LINES_TIMES_2(x0, x1)                                                                                \
    "smlad r8, " x2 ", r12, r8\n"                                                                                     \
    "smlad r9, " x2 ", lr, r9\n"
#define ML_DEPTHWISE_LINES_NEXT_3(x0, x1, x2, offset)                                                                 \
    ML_DEPTHWISE_LINES_BOTH ML_DEPTHWISE_LINES_WORD(x2, offset) ML_DEPTHWISE_LINES_TIMES_3(x0, x1, x2)
#define ML_DEPTHWISE_LINES_3_1 ML_DEPTHWISE_LINES_FIRST ML_DEPTHWISE_LINES_NEXT_3("r2", "r10", "r11", "#32")
#define ML_DEPTHWISE_LINES_3_2 ML_DEPTHWISE_LINES_3_1 ML_DEPTHWISE_LINES_NEXT_3("r10", "r11", "r2", "#48")
#define ML_DEPTHWISE_LINES_3_3 ML_DEPTHWISE_LINES_3_2 ML_DEPTHWISE_LINES_NEXT_3("r11", "r2", "r10", "#64")
#define ML_DEPTHWISE_LINES_3_4 ML_DEPTHWISE_LINES_3_3 ML_DEPTHWISE_LINES_NEXT_3("r2", "r10", "r11", "#80")
#define ML_DEPTHWISE_LINES_3_5 ML_DEPTHWISE_LINES_3_4 ML_DEPTHWISE_LINES_NEXT_3("r10", "r11", "r2", "#96")

#define ML_DEPTHWISE_LINES_NEXT_4(x0, x1, x2, x3, offset)                                                             \
    "ldr lr, [r1], #4\n" ML_DEPTHWISE_LINES_WORD(x3, offset)                                                          \
    "smlad r3, " x0 ", lr, r3\n"                                                                                      \
    "smlad r4, " x1 ", lr, r4\n"                                                                                      \
    "smlad r5, " x2 ", lr, r5\n"                                                                                      \
    "smlad r6, " x3 ", lr, r6\n"
#define ML_DEPTHWISE_LINES_4_1                                                                                        \
    ML_DEPTHWISE_LINES_FIRST ML_DEPTHWISE_LINES_WORD("r11", "#32")                                                    \
        ML_DEPTHWISE_LINES_NEXT_4("r2", "r10", "r11", "r12", "#48")
#define ML_DEPTHWISE_LINES_4_2 ML_DEPTHWISE_LINES_4_1 ML_DEPTHWISE_LINES_NEXT_4("r10", "r11", "r12", "r2", "#64")
#define ML_DEPTHWISE_LINES_4_3 ML_DEPTHWISE_LINES_4_2 ML_DEPTHWISE_LINES_NEXT_4("r11", "r12", "r2", "r10", "#80")
#define ML_DEPTHWISE_LINES_4_4 ML_DEPTHWISE_LINES_4_3 ML_DEPTHWISE_LINES_NEXT_4("r12", "r2", "r10", "r11", "#96")
#define ML_DEPTHWISE_LINES_4_5 ML_DEPTHWISE_LINES_4_4 ML_DEPTHWISE_LINES_NEXT_4("r2", "r10", "r11", "r12", "#112")

#define ML_DEPTHWISE_LINES_ROWS(text)                                                                                 \
    __asm__ volatile(text ML_DEPTHWISE_LINES_LAST                                                                     \
        : "+r"(at), "+r"(w), "+r"(acc0), "+r"(acc1), "+r"(acc2), "+r"(acc3), "+r"(acc4), "+r"(acc5)                   \
        : [step] "t"(4 * one->tap_step), [end] "t"(end)                                                               \
        : "r2", "r10", "r11", "r12", "lr", "cc", "memory")

#define ML_DEPTHWISE_LINES_BY_WORDS(outputs)                                                                          \
    switch (one->words) {                                                                                             \
    case 1: ML_DEPTHWISE_LINES_ROWS(ML_DEPTHWISE_LINES_##outputs##_1); break;                                         \
    case 2: ML_DEPTHWISE_LINES_ROWS(ML_DEPTHWISE_LINES_##outputs##_2); break;                                         \
    case 3: ML_DEPTHWISE_LINES_ROWS(ML_DEPTHWISE_LINES_##outputs##_3); break;                                         \
    case 4: ML_DEPTHWISE_LINES_ROWS(ML_DEPTHWISE_LINES_##outputs##_4); break;                                         \
    default: ML_DEPTHWISE_LINES_ROWS(ML_DEPTHWISE_LINES_##outputs##_5); break;                                        \
    }

/* Add to the sums of so many words of x: two or three pairs of neighbouring outputs at a stride of 1, or four outputs
 * at a stride of 2. At most 5 words of taps. */
ML_INLINE void ml_depthwise_lines_sums(int32_t *acc, const uint32_t *line, const ml_depthwise_lines_channel *one,
    int32_t stride, int32_t pairs)
{
    register const uint32_t *at __asm__("r0") = line;
    register const uint32_t *w __asm__("r1") = one->weights;
    register int32_t acc0 __asm__("r3") = acc[0];
    register int32_t acc1 __asm__("r4") = acc[1];
    register int32_t acc2 __asm__("r5") = acc[2];
    register int32_t acc3 __asm__("r6") = acc[3];
    register int32_t acc4 __asm__("r8") = acc[4];
    register int32_t acc5 __asm__("r9") = acc[5];
    const uint32_t *const end = w + (stride == 1 ? 2 : 1) * one->rows * one->words;
    if (stride != 1) {
        ML_DEPTHWISE_LINES_BY_WORDS(4)
    } else if (pairs == 2) {
        ML_DEPTHWISE_LINES_BY_WORDS(2)
    } else {
        ML_DEPTHWISE_LINES_BY_WORDS(3)
    }
    acc[0] = acc0;
    acc[1] = acc1;
    acc[2] = acc2;
    acc[3] = acc3;
    acc[4] = acc4;
    acc[5] = acc5;
}
#endif

/* The same in C, for any number of words. */
ML_INLINE void ml_depthwise_lines_plain(int32_t *acc, const uint32_t *line, const ml_depthwise_lines_channel *one,
    int32_t stride, int32_t pairs)
{
    const uint32_t *w = one->weights;
    for (int32_t row = 0; row < one->rows; ++row, line += one->tap_step) {
        for (int32_t j = 0; j < one->words; ++j) {
            const uint32_t even = *w++;
            const uint32_t odd = stride == 1 ? *w++ : 0;
            for (int32_t i = 0; i < (stride == 1 ? pairs : ML_DEPTHWISE_LINES_ALONE); ++i) {
                const uint32_t x = line[(j + i) * ML_DEPTHWISE_DSP_LANES];
                if (stride == 1) {
                    acc[2 * i] = ml_dsp_dot(x, even, acc[2 * i]);
                    acc[2 * i + 1] = ml_dsp_dot(x, odd, acc[2 * i + 1]);
                } else {
                    acc[i] = ml_dsp_dot(x, even, acc[i]);
                }
            }
        }
    }
}

/* Sums and results of `count` outputs, of which the first `wanted` are stored. */
ML_INLINE void ml_depthwise_lines_turn(int8_t *y, const uint32_t *line, const ml_depthwise_lines_channel *one,
    int32_t stride, int32_t count, int32_t wanted)
{
    const int32_t b = one->bias;
    int32_t acc[ML_DEPTHWISE_LINES_MOST] = {b, b, b, b, b, b};
    int8_t *at = y + (ml_min(wanted, count) - 1) * one->step;
#if ML_ARM_FPU
    if (one->words <= 5) {
        ml_depthwise_lines_sums(acc, line, one, stride, count / 2);
    } else
#endif
    {
        ml_depthwise_lines_plain(acc, line, one, stride, count / 2);
    }
    /* From the last to the first, so that what is not wanted can be stored where a wanted one follows. */
    for (int32_t i = count - 1; i >= 0; --i) {
        *at = ml_dsp_requantize(acc[i], one->scale, one->out);
        at -= i < wanted ? one->step : 0;
    }
}

/* One line of outputs of one channel; the last turns take two pairs where that is nearer to what is left. */
ML_INLINE void ml_depthwise_lines_row(
    int8_t *y, const uint32_t *line, int32_t stride, const ml_depthwise_lines_channel *one)
{
    int32_t count;
    for (int32_t left = one->count; left > 0; left -= count, y += count * one->step) {
        if (stride != 1) {
            count = ML_DEPTHWISE_LINES_ALONE;
            ml_depthwise_lines_turn(y, line, one, stride, ML_DEPTHWISE_LINES_ALONE, left);
            line += count * ML_DEPTHWISE_DSP_LANES;
        } else if (left > 8 || left == 5 || left == 6) {
            count = ML_DEPTHWISE_LINES_MOST;
            ml_depthwise_lines_turn(y, line, one, stride, ML_DEPTHWISE_LINES_MOST, left);
            line += count / 2 * ML_DEPTHWISE_DSP_LANES;
        } else {
            count = ML_DEPTHWISE_LINES_ALONE;
            ml_depthwise_lines_turn(y, line, one, stride, ML_DEPTHWISE_LINES_ALONE, left);
            line += count / 2 * ML_DEPTHWISE_DSP_LANES;
        }
    }
}

/* What the blocks of one call share. */
typedef struct {
    ml_requant how;
    ml_dsp_output out;
    ml_depthwise_dsp conv;
    ml_depthwise_lines_along along;
    ml_depthwise_lines_channel one; /* of any channel */
    uint32_t *taps;
    const int8_t *weights;
    const int32_t *bias;
    int32_t upright;
    int32_t taps_along;
    int32_t stride_along;
    int32_t stride_across;
    int32_t reach_across; /* lines under one line of outputs */
    int32_t pad_across;
    int32_t line_words;
    int32_t y_ring;     /* 0 where lines are upright */
    int32_t y_step;     /* bytes from one line of outputs to the next */
} ml_depthwise_lines;

/* Lines of outputs [begin, end) of four channels, of which the first is `first`; `kept` lines are there. y and x
 * are the first channel of the first line. */
ML_INLINE void ml_depthwise_lines_block(const ml_depthwise_lines *call, int8_t *y, const int8_t *x, int32_t first,
    int32_t begin, int32_t end, int32_t kept)
{
    const int32_t top = begin * call->stride_across - call->pad_across;
    const int32_t count = (end - 1 - begin) * call->stride_across + call->reach_across;
    for (int32_t i = kept; i < count; ++i) {
        uint32_t *to = call->conv.lines + i * call->line_words;
        if (call->upright) {
            ml_depthwise_lines_upright(&call->conv, &call->along, to, x + first, top + i);
        } else {
            ml_depthwise_dsp_line(&call->conv, to, x + first, top + i);
        }
    }
    for (int32_t c = first; c < first + ML_DEPTHWISE_DSP_LANES; ++c) {
        const uint32_t *line = call->conv.lines + (c - first);
        ml_depthwise_lines_channel one = call->one;
        one.bias = call->bias[c];
        one.scale = ml_dsp_scale_of(call->how, c, call->out);
        ml_depthwise_lines_widen(call->taps, call->weights + c * one.rows * call->taps_along, one.rows,
            call->taps_along, one.words, call->stride_along == 1);
        for (int32_t at = begin; at < end; ++at, line += call->stride_across * call->line_words) {
            ml_depthwise_lines_row(
                y + ml_ring_row(at, call->y_ring) * call->y_step + c, line, call->stride_along, &one);
        }
    }
}

/* Lines of outputs [begin, end) in blocks, four channels after the other; the last four may overlap those before. */
ML_INLINE void ml_depthwise_lines_blocks(const ml_depthwise_lines *call, int8_t *y, const int8_t *x, int32_t channels,
    int32_t begin, int32_t end, int32_t block)
{
    const int32_t kept = ml_max(0, call->reach_across - call->stride_across);
    const int32_t moved = block * call->stride_across * call->line_words;
    uint32_t *lines = call->conv.lines;
    for (int32_t group = 0; group < channels; group += ML_DEPTHWISE_DSP_LANES) {
        const int32_t first = ml_min(group, channels - ML_DEPTHWISE_DSP_LANES);
        ml_depthwise_lines_block(call, y, x, first, begin, ml_min(begin + block, end), 0);
        for (int32_t at = begin + block; at < end; at += block) {
            for (int32_t i = 0; i < kept * call->line_words; ++i) {
                lines[i] = lines[i + moved];
            }
            ml_depthwise_lines_block(call, y, x, first, at, ml_min(at + block, end), kept);
        }
    }
}

/*
 * weights: [channel][row of taps][tap along a line], taps_along of them. scratch: 4 bytes for each word of the taps of
 * a channel, then 16 bytes for each pair of a line, for blocks of `block` lines of outputs. At least 4 channels. A
 * dilation along the lines needs a stride of 1.
 */
ML_INLINE void s8_depthwise_conv2d__dsp_lines(int8_t *y, const int8_t *x, const int8_t *weights, const int32_t *bias,
    void *scratch, int32_t kind, const float *scale, const int32_t *multiplier, const int8_t *shift,
    int32_t per_channel, int32_t full_range, int32_t row_begin, int32_t row_end, int32_t x_ring, int32_t y_ring,
    int32_t height, int32_t width, int32_t channels, int32_t out_width, int32_t upright, int32_t block,
    int32_t taps_across, int32_t taps_along, int32_t stride_across, int32_t stride_along, int32_t dilation_across,
    int32_t dilation_along, int32_t pad_across, int32_t pad_along, int32_t x_zero, int32_t y_zero, int32_t low,
    int32_t high)
{
    const int32_t row_bytes = width * channels;
    const int32_t out_row_bytes = out_width * channels;
    const int32_t size_along = upright ? height : width;
    const int32_t words = stride_along == 1 ? taps_along / 2 + 1 : (taps_along + 1) / 2;
    uint32_t *taps = (uint32_t *)scratch;
    int32_t part_end;
    for (int32_t part = upright ? row_begin : 0; part < (upright ? row_end : out_width); part = part_end) {
        /* Upright lines end where the ring of y does. */
        const int32_t place = upright ? ml_ring_row(part, y_ring) : 0;
        part_end = !upright ? out_width : y_ring == 0 ? row_end : ml_min(row_end, part + y_ring - place);
        for (int32_t phase = 0; phase < ml_min(dilation_along, part_end - part); ++phase) {
            /* Of every so many columns: the first one, and how many lie before that one under the first output. */
            const int32_t origin = (part + phase) * stride_along - pad_along;
            const int32_t offset = (origin % dilation_along + dilation_along) % dilation_along;
            const int32_t count = ml_ceil_div(part_end - part - phase, dilation_along);
            const int32_t pairs = (stride_along == 1 ? ml_max(2, (count + 1) / 2) : (count + 3) / 4 * 4) + words - 1;
            const int32_t line_words = pairs * ML_DEPTHWISE_DSP_LANES;
            int8_t *to = y + (upright ? (place + phase) * out_row_bytes : phase * channels);
            ml_depthwise_lines call = {ml_make_requant(kind, scale, multiplier, shift, per_channel),
                {full_range, y_zero, low, high},
                {taps + taps_across * words * (stride_along == 1 ? 2 : 1), pairs, ML_DEPTHWISE_DSP_LANES,
                    upright ? width : height, upright ? channels : row_bytes, channels * dilation_along,
                    upright ? 0 : x_ring, ((uint32_t)x_zero & 0xffu) * 0x01010101u, 0, 0, 0, 0},
                {(origin - offset) / dilation_along, ml_ceil_div(size_along - offset, dilation_along), offset,
                    dilation_along, x_ring, row_bytes},
                {taps, taps_across, words, dilation_across * line_words, count,
                    (upright ? out_row_bytes : channels) * dilation_along, 0, {kind, 0.0f, 0, 0, 0},
                    {full_range, y_zero, low, high}},
                taps, weights, bias, upright, taps_along, stride_along, stride_across,
                (taps_across - 1) * dilation_across + 1, pad_across, line_words, upright ? 0 : y_ring,
                upright ? channels : out_row_bytes};
            if (upright) {
                ml_depthwise_lines_blocks(&call, to, x, channels, 0, out_width, block);
            } else {
                ml_depthwise_dsp_columns(&call.conv, call.along.count, -call.along.first);
                ml_depthwise_lines_blocks(
                    &call, to, x + offset * channels, channels, row_begin, row_end, block);
            }
        }
    }
}

#endif
