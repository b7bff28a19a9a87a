/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Windows that slide over the rows and columns of a tensor of height x width x channels. */
#ifndef ML_WINDOW_H
#define ML_WINDOW_H

#include "ml_common.h"

typedef struct {
    int32_t begin;
    int32_t end;
} ml_range;

typedef struct {
    int32_t ring; /* rows that the buffer of the input holds where it is a ring, else 0 */
    int32_t height;
    int32_t width;
    int32_t channels;
    int32_t kernel_h;
    int32_t kernel_w;
    int32_t stride_h;
    int32_t stride_w;
    int32_t dilation_h;
    int32_t dilation_w;
    int32_t padded; /* whether any window leaves the input */
    int32_t pad_top;
    int32_t pad_left;
} ml_window;

/* A window at one output row and column: where its first tap lies, and which taps lie inside the input. */
typedef struct {
    int32_t top;
    int32_t left;
    ml_range rows;
    ml_range columns;
} ml_place;

/* Taps of a window whose first tap lies at `origin` that fall inside [0, size); all of them where padded is 0. */
ML_INLINE ml_range ml_valid_taps(int32_t origin, int32_t size, int32_t kernel, int32_t dilation, int32_t padded)
{
    ml_range taps = {0, kernel};
    if (padded) {
        taps.begin = ml_min(ml_ceil_div(-origin, dilation), kernel);
        taps.end = ml_max(ml_min(ml_ceil_div(size - origin, dilation), kernel), taps.begin);
    }
    return taps;
}

ML_INLINE void ml_set_row(ml_place *at, const ml_window *window, int32_t row)
{
    at->top = row * window->stride_h - window->pad_top;
    at->rows = ml_valid_taps(at->top, window->height, window->kernel_h, window->dilation_h, window->padded);
}

ML_INLINE void ml_set_column(ml_place *at, const ml_window *window, int32_t column)
{
    at->left = column * window->stride_w - window->pad_left;
    at->columns = ml_valid_taps(at->left, window->width, window->kernel_w, window->dilation_w, window->padded);
}

/* Whether the taps of filter row kh can lie inside the input. */
ML_INLINE int32_t ml_row_inside(const ml_place *at, const ml_window *window, int32_t kh)
{
    return !window->padded || (kh >= at->rows.begin && kh < at->rows.end);
}

/* Element of the input under tap (kh, kw), channel 0; the tap must be a valid one. */
ML_INLINE int32_t ml_tap_offset(const ml_place *at, const ml_window *window, int32_t kh, int32_t kw)
{
    const int32_t row = ml_ring_row(at->top + kh * window->dilation_h, window->ring);
    return (row * window->width + at->left + kw * window->dilation_w) * window->channels;
}

#endif
