/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Four output pixels of a convolution at a time: where they lie, and what lies under their windows. */
#ifndef ML_PIXELS_H
#define ML_PIXELS_H

#include "ml_common.h"

enum { ML_PIXELS = 4 };

typedef struct {
    const int8_t *x;
    int8_t *zeros; /* `channels` times x_zero */
    int32_t x_ring;
    int32_t height;
    int32_t width;
    int32_t channels;
    int32_t row_bytes;
    int32_t reach_h; /* rows from the first to the last tap */
    int32_t reach_w;
    int32_t dilation_h;
    int32_t dilation_w;
} ml_pixels_window;

/* A pixel: its first tap, and where its results go. */
typedef struct {
    int32_t iy;
    int32_t ix;
    int8_t *to;
} ml_pixel;

/* `channels` values of the tap at (iy, ix). */
ML_INLINE const int8_t *ml_pixels_tap(const ml_pixels_window *conv, int32_t iy, int32_t ix)
{
    if (iy < 0 || iy >= conv->height || ix < 0 || ix >= conv->width) {
        return conv->zeros;
    }
    return conv->x + ml_ring_row(iy, conv->x_ring) * conv->row_bytes + ix * conv->channels;
}

/* The next four pixels of rows up to row_end, of which at least one is left; the last stands for those that lack. */
ML_INLINE void ml_pixels_next(ml_pixel *at, int32_t *row, int32_t *column, int32_t row_end,
    int32_t out_width, int32_t stride_h, int32_t stride_w, int32_t pad_top, int32_t pad_left, int8_t *y,
    int32_t y_ring, int32_t out_channels)
{
    for (int32_t j = 0; j < ML_PIXELS; ++j) {
        if (*row >= row_end) {
            at[j] = at[j - 1];
            continue;
        }
        at[j].iy = *row * stride_h - pad_top;
        at[j].ix = *column * stride_w - pad_left;
        at[j].to = y + (ml_ring_row(*row, y_ring) * out_width + *column) * out_channels;
        if (++*column == out_width) {
            *column = 0;
            ++*row;
        }
    }
}

/* Append `count` (at least 1) values from each of four places to the columns, each two of them as x0 + x1 * 2^16,
 * modulo 2^32; returns the rest of the columns. */
static ML_NOINLINE ML_UNUSED uint32_t *ml_pixels_pack(
    uint32_t *columns, const int8_t *const from[ML_PIXELS], int32_t count)
#if defined(__arm__) && defined(__thumb__) && !defined(__thumb2__)
{
    /* r7 is saved, for a compiler may keep its frame there. */
    register const int8_t *p __asm__("r0") = from[0] + count;
    register const int8_t *q __asm__("r1") = from[1] + count;
    register const int8_t *r __asm__("r2") = from[2] + count;
    register const int8_t *s __asm__("r3") = from[3] + count;
    register int32_t i __asm__("r4") = -count;
    register uint32_t *to __asm__("r5") = columns;
    __asm__ volatile(".syntax unified\n"
                     "push {r7}\n"
                     "1:\n"
                     "ldrsb r7, [r1, r4]\n"
                     "lsls r7, r7, #16\n"
                     "ldrsb r6, [r0, r4]\n"
                     "adds r6, r6, r7\n"
                     "stmia r5!, {r6}\n"
                     "ldrsb r7, [r3, r4]\n"
                     "lsls r7, r7, #16\n"
                     "ldrsb r6, [r2, r4]\n"
                     "adds r6, r6, r7\n"
                     "stmia r5!, {r6}\n"
                     "adds r4, r4, #1\n"
                     "bne 1b\n"
                     "pop {r7}"
                     : "+r"(p), "+r"(q), "+r"(r), "+r"(s), "+r"(i), "+r"(to)
                     :
                     : "r6", "cc", "memory");
    return to;
}
#else
{
    const int8_t *const p = from[0];
    const int8_t *const q = from[1];
    const int8_t *const r = from[2];
    const int8_t *const s = from[3];
    for (int32_t i = 0; i < count; ++i, columns += 2) {
        columns[0] = (uint32_t)p[i] + ((uint32_t)q[i] << 16);
        columns[1] = (uint32_t)r[i] + ((uint32_t)s[i] << 16);
    }
    return columns;
}
#endif

/* Whether the receptive fields of four pixels lie inside the input, each row of taps as one run. */
ML_INLINE int32_t ml_pixels_inside(const ml_pixels_window *conv, const ml_pixel *at)
{
    for (int32_t j = 0; j < ML_PIXELS; ++j) {
        if (at[j].iy < 0 || at[j].iy + conv->reach_h >= conv->height || at[j].ix < 0 ||
            at[j].ix + conv->reach_w >= conv->width) {
            return 0;
        }
    }
    return conv->dilation_w == 1;
}

static ML_NOINLINE ML_UNUSED void ml_pixels_gather(
    const ml_pixels_window *conv, uint32_t *columns, const ml_pixel *at)
{
    const int8_t *from[ML_PIXELS];
    const int32_t inside = ml_pixels_inside(conv, at);
    const int32_t step = inside ? conv->reach_w + 1 : conv->dilation_w;
    const int32_t count = inside ? step * conv->channels : conv->channels;
    for (int32_t kh = 0; kh <= conv->reach_h; kh += conv->dilation_h) {
        for (int32_t kw = 0; kw <= conv->reach_w; kw += step) {
            for (int32_t j = 0; j < ML_PIXELS; ++j) {
                from[j] = ml_pixels_tap(conv, at[j].iy + kh, at[j].ix + kw);
            }
            columns = ml_pixels_pack(columns, from, count);
        }
    }
}

/* List the taps of four pixels. */
static ML_NOINLINE ML_UNUSED void ml_pixels_list(
    const ml_pixels_window *window, const int8_t **taps, const ml_pixel *at)
{
    for (int32_t kh = 0; kh <= window->reach_h; kh += window->dilation_h) {
        for (int32_t kw = 0; kw <= window->reach_w; kw += window->dilation_w) {
            for (int32_t j = 0; j < ML_PIXELS; ++j) {
                *taps++ = ml_pixels_tap(window, at[j].iy + kh, at[j].ix + kw);
            }
        }
    }
}

#endif
