/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * int8 pooling over windows, four channels at a time: maxima by SSUB8 and SEL, sums in halves of 16 bits by SXTAB16, so
 * that a word of four values takes three instructions. What is left of the channels is done byte by byte. The rows of a
 * window, which may lie in a ring, are looked up once for each row of outputs.
 */
#ifndef ML_S8_POOL2D_DSP_H
#define ML_S8_POOL2D_DSP_H

#include "ml_dsp.h"
#include "ml_window.h"

/* Rows of a window at most; and taps, so that sums of 16 bits have room. */
enum { ML_POOL_DSP_ROWS = 16, ML_POOL_DSP_TAPS = 255 };

/* The taps of one output that lie inside the input. */
typedef struct {
    const int8_t *from;   /* the first column of them in row 0 */
    const int32_t *rows;  /* bytes from row 0 to each row of them */
    int32_t row_count;
    int32_t columns;
    int32_t step; /* bytes from one column of them to the next */
} ml_pool_dsp_taps;

ML_INLINE uint32_t ml_pool_dsp_max(const ml_pool_dsp_taps *taps, int32_t channel)
{
    uint32_t greatest = 0x80808080u;
    for (int32_t i = 0; i < taps->row_count; ++i) {
        const int8_t *at = taps->from + channel + taps->rows[i];
        for (int32_t j = 0; j < taps->columns; ++j, at += taps->step) {
            greatest = ml_dsp_max(greatest, ml_dsp_load(at));
        }
    }
    return greatest;
}

ML_INLINE int32_t ml_pool_dsp_max_byte(const ml_pool_dsp_taps *taps, int32_t channel)
{
    int32_t greatest = INT8_MIN;
    for (int32_t i = 0; i < taps->row_count; ++i) {
        const int8_t *at = taps->from + channel + taps->rows[i];
        for (int32_t j = 0; j < taps->columns; ++j, at += taps->step) {
            greatest = ml_max(greatest, *at);
        }
    }
    return greatest;
}

/* All channels of one output. */
ML_INLINE void ml_pool_dsp_max_pixel(int8_t *y, const ml_pool_dsp_taps *taps, int32_t channels, ml_dsp_output out)
{
    const uint32_t low = ((uint32_t)out.low & 0xffu) * 0x01010101u;
    const uint32_t high = ((uint32_t)out.high & 0xffu) * 0x01010101u;
    int32_t channel = 0;
    for (; channel + 4 <= channels; channel += 4) {
        const uint32_t greatest = ml_pool_dsp_max(taps, channel);
        ml_dsp_store(y + channel, out.full_range ? greatest : ml_dsp_min(ml_dsp_max(greatest, low), high));
    }
    for (; channel < channels; ++channel) {
        y[channel] = (int8_t)ml_clamp(ml_pool_dsp_max_byte(taps, channel), out.low, out.high);
    }
}

/* How sums of the taps of one output become results. */
typedef struct {
    int32_t kind;
    int32_t offset; /* added to sums */
    int32_t counted;
    ml_dsp_scale scale;
    ml_dsp_output out;
} ml_pool_dsp_mean;

ML_INLINE int8_t ml_pool_dsp_result(int32_t sum, const ml_pool_dsp_mean *mean)
{
    if (mean->kind == ML_DIVIDE) {
        return (int8_t)ml_clamp(ml_rounding_divide(sum + mean->offset, mean->counted), mean->out.low, mean->out.high);
    }
    return ml_dsp_requantize(sum + mean->offset, mean->scale, mean->out);
}

ML_INLINE void ml_pool_dsp_mean_pixel(
    int8_t *y, const ml_pool_dsp_taps *taps, int32_t channels, const ml_pool_dsp_mean *mean)
{
    int32_t channel = 0;
    for (; channel + 4 <= channels; channel += 4) {
        uint32_t even = 0;
        uint32_t odd = 0;
        for (int32_t i = 0; i < taps->row_count; ++i) {
            const int8_t *at = taps->from + channel + taps->rows[i];
            for (int32_t j = 0; j < taps->columns; ++j, at += taps->step) {
                const uint32_t word = ml_dsp_load(at);
                even = ml_dsp_add_even(even, word);
                odd = ml_dsp_add_odd(odd, word);
            }
        }
        y[channel] = ml_pool_dsp_result((int16_t)(uint16_t)even, mean);
        y[channel + 1] = ml_pool_dsp_result((int16_t)(uint16_t)odd, mean);
        y[channel + 2] = ml_pool_dsp_result((int32_t)even >> 16, mean);
        y[channel + 3] = ml_pool_dsp_result((int32_t)odd >> 16, mean);
    }
    for (; channel < channels; ++channel) {
        int32_t sum = 0;
        for (int32_t i = 0; i < taps->row_count; ++i) {
            const int8_t *at = taps->from + channel + taps->rows[i];
            for (int32_t j = 0; j < taps->columns; ++j, at += taps->step) {
                sum += *at;
            }
        }
        y[channel] = ml_pool_dsp_result(sum, mean);
    }
}

/* Bytes from row 0 to the rows of taps that lie inside the input, for outputs of one row. */
ML_INLINE void ml_pool_dsp_rows(int32_t *rows, const ml_window *window, const ml_place *at)
{
    for (int32_t kh = at->rows.begin, i = 0; kh < at->rows.end; ++kh, ++i) {
        rows[i] = ml_ring_row(at->top + kh * window->dilation_h, window->ring) * window->width * window->channels;
    }
}

/* The taps of the output of which the columns are set; counts are constants where all lie inside. */
ML_INLINE ml_pool_dsp_taps ml_pool_dsp_taps_at(
    const int8_t *x, const int32_t *rows, const ml_window *window, const ml_place *at, int32_t all)
{
    const ml_pool_dsp_taps taps = {x + (at->left + at->columns.begin * window->dilation_w) * window->channels, rows,
        all ? window->kernel_h : at->rows.end - at->rows.begin,
        all ? window->kernel_w : at->columns.end - at->columns.begin, window->dilation_w * window->channels};
    return taps;
}

ML_INLINE int32_t ml_pool_dsp_all_inside(const ml_window *window, const ml_place *at)
{
    const int32_t rows = at->rows.end - at->rows.begin;
    return !window->padded || (rows == window->kernel_h && at->columns.end - at->columns.begin == window->kernel_w);
}

/* As s8_max_pool2d__portable; a window has at most 16 rows. */
ML_INLINE void s8_max_pool2d__dsp_1x4(int8_t *y, const int8_t *x, int32_t full_range, int32_t row_begin,
    int32_t row_end, int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h,
    int32_t dilation_w, int32_t padded, int32_t pad_top, int32_t pad_left, int32_t low, int32_t high)
{
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    const ml_dsp_output out = {full_range, 0, low, high};
    int32_t rows[ML_POOL_DSP_ROWS];
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        int8_t *to = y + ml_ring_row(row, y_ring) * out_width * channels;
        ml_set_row(&at, &window, row);
        ml_pool_dsp_rows(rows, &window, &at);
        for (int32_t column = 0; column < out_width; ++column, to += channels) {
            ml_set_column(&at, &window, column);
            if (ml_pool_dsp_all_inside(&window, &at)) {
                const ml_pool_dsp_taps taps = ml_pool_dsp_taps_at(x, rows, &window, &at, 1);
                ml_pool_dsp_max_pixel(to, &taps, channels, out);
            } else {
                const ml_pool_dsp_taps taps = ml_pool_dsp_taps_at(x, rows, &window, &at, 0);
                ml_pool_dsp_max_pixel(to, &taps, channels, out);
            }
        }
    }
}

/* As s8_average_pool2d__portable; a window has at most 16 rows and 255 taps. */
ML_INLINE void s8_average_pool2d__dsp_1x4(int8_t *y, const int8_t *x, int32_t kind, const float *scale,
    const int32_t *multiplier, const int8_t *shift, int32_t full_range, int32_t row_begin, int32_t row_end,
    int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels, int32_t out_width,
    int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h, int32_t dilation_w,
    int32_t padded, int32_t pad_top, int32_t pad_left, int32_t count_include_pad, int32_t x_zero, int32_t y_zero,
    int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, 1);
    const ml_window window = {x_ring, height, width, channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
        dilation_w, padded, pad_top, pad_left};
    const ml_dsp_output out = {full_range, y_zero, low, high};
    int32_t rows[ML_POOL_DSP_ROWS];
    ml_place at;
    for (int32_t row = row_begin; row < row_end; ++row) {
        int8_t *to = y + ml_ring_row(row, y_ring) * out_width * channels;
        ml_set_row(&at, &window, row);
        ml_pool_dsp_rows(rows, &window, &at);
        for (int32_t column = 0; column < out_width; ++column, to += channels) {
            ml_set_column(&at, &window, column);
            const int32_t inside = (at.rows.end - at.rows.begin) * (at.columns.end - at.columns.begin);
            const int32_t counted = count_include_pad ? kernel_h * kernel_w : ml_max(inside, 1);
            ml_pool_dsp_mean mean = {kind, x_zero * ((kind == ML_DIVIDE ? counted : 0) - inside), counted,
                {kind, 0.0f, 0, 0, 0}, out};
            if (kind != ML_DIVIDE) {
                mean.scale = ml_dsp_scale_of(how, counted - 1, out);
            }
            if (ml_pool_dsp_all_inside(&window, &at)) {
                const ml_pool_dsp_taps taps = ml_pool_dsp_taps_at(x, rows, &window, &at, 1);
                ml_pool_dsp_mean_pixel(to, &taps, channels, &mean);
            } else {
                const ml_pool_dsp_taps taps = ml_pool_dsp_taps_at(x, rows, &window, &at, 0);
                ml_pool_dsp_mean_pixel(to, &taps, channels, &mean);
            }
        }
    }
}

#endif
