/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Receptive fields of pixels as columns of 16 bits, for s8_conv2d_dsp.h, which states their order. */
#ifndef ML_S8_CONV2D_DSP_GATHER_H
#define ML_S8_CONV2D_DSP_GATHER_H

#include "ml_dsp.h"

enum { ML_CONV_DSP_PIXELS = 4, ML_CONV_DSP_WORDS = 2 * ML_CONV_DSP_PIXELS, ML_CONV_DSP_ALONE_QUADS = 8 };

typedef struct {
    const int8_t *x;
    int8_t *zeros; /* a run of x_zero */
    int8_t *rest;  /* what does not fill quads, of all runs; up to 3 bytes behind it are written */
    int8_t *edge;  /* a run that is partly padding */
    int32_t x_ring;
    int32_t height;
    int32_t width;
    int32_t channels;
    int32_t row_bytes;
    int32_t pixel_step; /* bytes from one pixel to the next */
    int32_t line_step; /* bytes from one row of taps to the next */
    int32_t lines;     /* rows of taps */
    int32_t reach_w;   /* columns from the first to the last tap */
    int32_t dilation_h;
    int32_t run_step; /* columns from one run to the next */
    int32_t taps_per_run;
    int32_t run_bytes;
    int32_t x_zero;
} ml_conv_dsp;

ML_INLINE void ml_conv_dsp_fill(int8_t *to, int32_t count, int32_t value)
{
    for (int32_t i = 0; i < count; ++i) {
        to[i] = (int8_t)value;
    }
}

/* One quad widened into a column: 5 instructions of 4 bytes. */
#define ML_CONV_DSP_WIDEN                                                                                             \
    "ldr.w %[word], [%[from]], #4\n"                                                                                  \
    "sxtb16 %[odd], %[word], ror #8\n"                                                                                \
    "sxtb16 %[word], %[word]\n"                                                                                       \
    "str.w %[odd], [%[column], #16]\n"                                                                                \
    "str.w %[word], [%[column]], #32\n"

/* Widen `quads` (at least 1) quads into the column of one pixel; returns the rest of the column. Four quads a turn; the
 * first turn is entered in its middle where their number is no multiple of four. */
ML_INLINE uint32_t *ml_conv_dsp_widen(uint32_t *column, const int8_t *from, int32_t quads)
{
    const int8_t *const end = from + 4 * quads;
    const int32_t skipped_bytes = 5 * 4 * (-quads & 3);
    uint32_t word;
    uint32_t odd;
    __asm__ volatile(
        "add pc, %[skipped]\n" /* pc reads as the address of this instruction plus 4 */
        "nop\n"
        "1:\n" ML_CONV_DSP_WIDEN ML_CONV_DSP_WIDEN ML_CONV_DSP_WIDEN ML_CONV_DSP_WIDEN
        "cmp %[from], %[end]\n"
        "bne 1b"
        : [from] "+r"(from), [column] "+r"(column), [word] "=&r"(word), [odd] "=&r"(odd)
        : [end] "r"(end), [skipped] "r"(skipped_bytes)
        : "cc", "memory");
    return column;
}

/* A run that starts at column `ix` of `row` and leaves the row on one side or both, with x_zero outside. */
static ML_NOINLINE const int8_t *ml_conv_dsp_edge(const ml_conv_dsp *conv, const int8_t *row, int32_t ix)
{
    int8_t *to = conv->edge;
    for (int32_t tap = 0; tap < conv->taps_per_run; ++tap, ++ix) {
        if (ix < 0 || ix >= conv->width) {
            ml_conv_dsp_fill(to, conv->channels, conv->x_zero);
        } else {
            const int8_t *from = row + ix * conv->channels;
            for (int32_t c = 0; c < conv->channels; ++c) {
                to[c] = from[c];
            }
        }
        to += conv->channels;
    }
    return conv->edge;
}

/* Start of the run whose first tap is (iy, ix), or of a copy of it where it is partly or wholly padding. */
ML_INLINE const int8_t *ml_conv_dsp_run(const ml_conv_dsp *conv, int32_t iy, int32_t ix)
{
    if (iy < 0 || iy >= conv->height) {
        return conv->zeros;
    }
    const int8_t *row = conv->x + ml_ring_row(iy, conv->x_ring) * conv->row_bytes;
    return ix >= 0 && ix + conv->taps_per_run <= conv->width ? row + ix * conv->channels
                                                             : ml_conv_dsp_edge(conv, row, ix);
}

/* Where a gather stands: the next word of the column, and the next byte of what is left of the runs. */
typedef struct {
    uint32_t *column;
    int8_t *rest;
} ml_conv_dsp_place;

/* Append one run to a column. */
ML_INLINE ml_conv_dsp_place ml_conv_dsp_append(ml_conv_dsp_place at, const int8_t *from, int32_t run_bytes)
{
    if (run_bytes >= 4) {
        at.column = ml_conv_dsp_widen(at.column, from, run_bytes >> 2);
        from += run_bytes & ~3;
    }
    for (int32_t i = run_bytes & 3; i > 0; --i) {
        *at.rest++ = *from++;
    }
    return at;
}

/* Widen what is left of the runs; the last quad may hold bytes of an earlier call: their weights are zero. */
ML_INLINE void ml_conv_dsp_append_rest(const ml_conv_dsp *conv, ml_conv_dsp_place at)
{
    for (const int8_t *from = conv->rest; from < at.rest; from += 4, at.column += ML_CONV_DSP_WORDS) {
        const uint32_t word = ml_dsp_load(from);
        at.column[0] = ml_dsp_widen_even(word);
        at.column[ML_CONV_DSP_PIXELS] = ml_dsp_widen_odd(word);
    }
}

/* Widen the quads of one run after another, each `step` bytes behind the end of the last; `then` follows each. */
#define ML_CONV_DSP_WIDEN_RUNS(at_byte, runs, then)                                                                   \
    __asm__ volatile(                                                                                                 \
        "2:\n"                                                                                                        \
        "add %[end], %[from], %[whole]\n"                                                                             \
        "add pc, %[skipped]\n" /* pc reads as the address of this instruction plus 4 */                               \
        "nop\n"                                                                                                       \
        "1:\n" ML_CONV_DSP_WIDEN ML_CONV_DSP_WIDEN ML_CONV_DSP_WIDEN ML_CONV_DSP_WIDEN                                \
        "cmp %[from], %[end]\n"                                                                                       \
        "bne 1b\n" then                                                                                               \
        "add %[from], %[from], %[step]\n"                                                                             \
        "subs %[lines], %[lines], #1\n"                                                                               \
        "bne 2b"                                                                                                      \
        : [from] "+r"(at_byte), [column] "+r"(at.column), [rest] "+r"(at.rest), [lines] "+r"(runs), [end] "=&r"(end), \
          [word] "=&r"(word), [odd] "=&r"(odd)                                                                        \
        : [step] "r"(step), [whole] "r"(whole), [skipped] "r"(skipped_bytes), [back] "r"(back)                        \
        : "cc", "memory")

/* The end of the run's last word, whose first bytes are shifted out, where quads leave a rest; what is stored beyond it
 * is not used. */
#define ML_CONV_DSP_KEEP_REST                                                                                         \
    "cmn %[back], #4\n"                                                                                               \
    "beq 3f\n"                                                                                                        \
    "ldr %[word], [%[from], %[back]]\n"                                                                               \
    "lsls %[odd], %[back], #3\n"                                                                                      \
    "rsbs %[odd], %[odd], #0\n"                                                                                       \
    "lsrs %[word], %[word], %[odd]\n"                                                                                 \
    "add %[end], %[back], #4\n"                                                                                       \
    "str %[word], [%[rest]]\n"                                                                                        \
    "add %[rest], %[rest], %[end]\n"                                                                                  \
    "3:\n"

/* To the column of the next pixel. */
#define ML_CONV_DSP_NEXT_COLUMN "add %[column], %[column], %[back]\n"

/* Gather the receptive fields of `pixels` pixels (1 to 4), which lie inside the input, where a row of taps is one run
 * of a quad or more; `from` is the first byte of the first one. */
static ML_NOINLINE void ml_conv_dsp_gather_inside(
    const ml_conv_dsp *conv, uint32_t *columns, const int8_t *from, int32_t pixels)
{
    const int32_t whole = conv->run_bytes & ~3;
    const int32_t skipped_bytes = 5 * (-whole & 12);
    const int8_t *end;
    uint32_t word;
    uint32_t odd;
    if (conv->lines == 1 && conv->run_bytes == whole) {
        const int32_t step = conv->pixel_step - whole;
        const int32_t back = 4 - 4 * ML_CONV_DSP_WORDS * (whole >> 2);
        ml_conv_dsp_place at = {columns, conv->rest};
        ML_CONV_DSP_WIDEN_RUNS(from, pixels, ML_CONV_DSP_NEXT_COLUMN);
        return;
    }
    const int32_t step = conv->line_step - whole;
    const int32_t back = (conv->run_bytes & 3) - 4;
    for (; pixels > 0; --pixels, ++columns, from += conv->pixel_step) {
        ml_conv_dsp_place at = {columns, conv->rest};
        int32_t lines = conv->lines;
        const int8_t *line = from;
        ML_CONV_DSP_WIDEN_RUNS(line, lines, ML_CONV_DSP_KEEP_REST);
        ml_conv_dsp_append_rest(conv, at);
    }
}

/* Gather any receptive field, of which (iy, ix) is the first tap. */
static ML_NOINLINE void ml_conv_dsp_gather(const ml_conv_dsp *conv, uint32_t *column, int32_t iy, int32_t ix)
{
    ml_conv_dsp_place at = {column, conv->rest};
    for (int32_t i = conv->lines; i > 0; --i, iy += conv->dilation_h) {
        for (int32_t tap = 0; tap <= conv->reach_w; tap += conv->run_step) {
            at = ml_conv_dsp_append(at, ml_conv_dsp_run(conv, iy, ix + tap), conv->run_bytes);
        }
    }
    ml_conv_dsp_append_rest(conv, at);
}

#endif
