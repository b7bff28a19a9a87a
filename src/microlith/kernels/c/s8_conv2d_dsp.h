/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/*
 * s8 convolution, one group, any window: 2 output channels by 4 output pixels at a time, on SMLAD.
 *
 * The receptive fields of four pixels are gathered, widened to 16 bits and interleaved by pairs (`columns`), and
 * stay there for all output channels. Bytes that lie together in a row of the input form a run: kernel_w taps where
 * columns are not dilated, else one tap. The quads of all runs come first; what is left of each run (0 to 3 bytes)
 * follows, together. Weights are packed in that order, padded with zeros to whole quads, two channels v and w
 * interleaved so that a word widens to a pair of each: each quad is the bytes v0 w0 v2 w2, v1 w1 v3 w3. The bias has
 * had x_zero times the sum of each channel's weights taken off, and padding reads as x_zero.
 *
 * Where `joined`, half a word is the number 256 * w + v (so the byte of w is one less where v is negative). The product
 * with the word as it was loaded then sums 256 * acc_w + acc_v modulo 2^32, which gives acc_w where it is less than
 * 2^23 in magnitude, and only v is widened. Where weights have 16 bits, they are a word of v and a word of w for each
 * pair of taps, and nothing is widened; they and the bias are doubled where the kind is ML_DSP_TWICE.
 */
#ifndef ML_S8_CONV2D_DSP_H
#define ML_S8_CONV2D_DSP_H

#include "s8_conv2d_dsp_loops.h"

/* What all pixels share. */
typedef struct {
    const int8_t *weights;
    const int32_t *bias;
    int32_t quads;
    int32_t out_channels;
    int32_t storage;
    ml_requant how;
    ml_dsp_output out;
} ml_conv_dsp_layer;

/* Bytes of the weights of one channel. */
ML_INLINE int32_t ml_conv_dsp_weight_bytes(const ml_conv_dsp_layer *layer)
{
    return layer->quads * (layer->storage == ML_CONV_DSP_WIDE ? 8 : 4);
}

/* Where products of the second of two channels start. */
ML_INLINE int32_t ml_conv_dsp_second_start(const ml_conv_dsp_layer *layer, int32_t first, int32_t second)
{
    return layer->storage == ML_CONV_DSP_JOINED ? (int32_t)((uint32_t)second * 256u + (uint32_t)first) : second;
}

/* Write two channels of a pixel from the sums of products, the second first. */
ML_INLINE void ml_conv_dsp_write(int8_t *to, int32_t o, int32_t second, const int32_t sums[2],
    const ml_dsp_scale scales[2], const ml_conv_dsp_layer *layer)
{
    int32_t acc0 = sums[0];
    int32_t acc1 = sums[1];
    if (layer->storage == ML_CONV_DSP_JOINED) {
        acc1 = (int32_t)((uint32_t)acc1 - (uint32_t)acc0) >> 8;
    }
    if (layer->storage != ML_CONV_DSP_WIDE && layer->how.kind == ML_DSP_TWICE) {
        acc0 *= 2;
        acc1 *= 2;
    }
    to[second] = ml_dsp_requantize(acc1, scales[1], layer->out);
    to[o] = ml_dsp_requantize(acc0, scales[0], layer->out);
}

/* The output channels of one pixel from an even one on. */
ML_INLINE void ml_conv_dsp_alone(int8_t *to, const uint32_t *column, int32_t o, const ml_conv_dsp_layer *layer)
{
    const int8_t *weights = layer->weights + o * ml_conv_dsp_weight_bytes(layer);
    for (; o < layer->out_channels; o += 2) {
        const int32_t second = o + 1 < layer->out_channels ? o + 1 : o;
        int32_t acc[2] = {layer->bias[o], ml_conv_dsp_second_start(layer, layer->bias[o], layer->bias[second])};
        weights = ml_conv_dsp_multiply_alone(acc, weights, column, layer->quads, layer->storage);
        const ml_dsp_scale scales[2] = {
            ml_dsp_scale_of(layer->how, o, layer->out), ml_dsp_scale_of(layer->how, second, layer->out)};
        ml_conv_dsp_write(to, o, second, acc, scales, layer);
    }
}

#if ML_ARM_FPU
/* Whether two channels at a time are done by the loops that keep in FPU registers what these need once. */
ML_INLINE int32_t ml_conv_dsp_has_loop(const ml_conv_dsp_layer *layer)
{
    const int32_t kind = layer->how.kind;
    return layer->how.per_channel && layer->out.full_range && (kind == ML_FLOAT || kind == ML_DSP_TWICE);
}

/* Four pixels by these loops: all output channels but the last of an odd number. */
ML_INLINE void ml_conv_dsp_by_loop(
    int8_t *const to[ML_CONV_DSP_PIXELS], const uint32_t *columns, const ml_conv_dsp_layer *layer)
{
    const ml_requant how = layer->how;
    const int32_t even = layer->out_channels & ~1;
    if (even == 0) {
        return;
    }
    if (how.kind == ML_FLOAT) {
        ml_conv_dsp_even_channels(to, layer->weights, layer->bias, columns, layer->quads, even, how.scale,
            layer->out.zero, layer->storage);
    } else {
        ml_conv_dsp_even_channels_fixed(to, layer->weights, layer->bias, columns, layer->quads, even, how.multiplier,
            how.shift, layer->out.zero, layer->storage);
    }
}
#endif

/* All output channels of four pixels. Results are stored from the last to the first, so that what is not wanted can be
 * stored where a wanted result follows: a pixel that is not there has the address of the first one, and a second
 * channel that is not there that of the channel before. */
ML_INLINE void ml_conv_dsp_channels(
    int8_t *const to[ML_CONV_DSP_PIXELS], const uint32_t *columns, const ml_conv_dsp_layer *layer)
{
    const int8_t *weights = layer->weights;
    for (int32_t o = 0; o < layer->out_channels; o += 2) {
        const int32_t second = o + 1 < layer->out_channels ? o + 1 : o;
        const int32_t start0 = layer->bias[o];
        const int32_t start1 = ml_conv_dsp_second_start(layer, start0, layer->bias[second]);
        int32_t acc[2 * ML_CONV_DSP_PIXELS] = {start0, start1, start0, start1, start0, start1, start0, start1};
        weights = ml_conv_dsp_multiply(acc, weights, columns, layer->quads, layer->storage);
        const ml_dsp_scale scales[2] = {
            ml_dsp_scale_of(layer->how, o, layer->out), ml_dsp_scale_of(layer->how, second, layer->out)};
        for (int32_t p = ML_CONV_DSP_PIXELS - 1; p >= 0; --p) {
            ml_conv_dsp_write(to[p], o, second, acc + 2 * p, scales, layer);
        }
    }
}

/* All output channels of `count` pixels, 1 to 4. One, and two of many quads, take less time alone. */
ML_INLINE void ml_conv_dsp_pixels(
    int8_t *to[ML_CONV_DSP_PIXELS], int32_t count, const uint32_t *columns, const ml_conv_dsp_layer *layer)
{
    int32_t done = 0;
    if (count > 2 || (count == 2 && layer->quads < ML_CONV_DSP_ALONE_QUADS)) {
        for (int32_t p = count; p < ML_CONV_DSP_PIXELS; ++p) {
            to[p] = to[0];
        }
#if ML_ARM_FPU
        if (ml_conv_dsp_has_loop(layer)) {
            ml_conv_dsp_by_loop(to, columns, layer);
            done = layer->out_channels & ~1;
        } else
#endif
        {
            ml_conv_dsp_channels(to, columns, layer);
            done = layer->out_channels;
        }
    }
    for (int32_t p = 0; p < count && done < layer->out_channels; ++p) {
        ml_conv_dsp_alone(to[p], columns + p, done, layer);
    }
}

/* The convolution with weights in any storage.
 *
 * scratch: 32 bytes for each quad of K, then two runs, and what is left of all runs. */
ML_INLINE void ml_conv_dsp_rows(int8_t *y, const int8_t *x, const int8_t *weights, const int32_t *bias,
    void *scratch, int32_t kind, const float *scale, const int32_t *multiplier, const int8_t *shift,
    int32_t per_channel, int32_t full_range, int32_t storage, int32_t row_begin, int32_t row_end,
    int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels,
    int32_t out_width, int32_t out_channels,
    int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h, int32_t dilation_w,
    int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    const int32_t taps_per_run = dilation_w == 1 ? kernel_w : 1;
    const int32_t run_bytes = taps_per_run * channels;
    const int32_t quads = (kernel_h * kernel_w * channels + 3) >> 2;
    const int32_t left = kernel_h * (kernel_w / taps_per_run) * (run_bytes & 3);
    const ml_conv_dsp_layer layer = {weights, bias, quads, out_channels, storage,
        ml_make_requant(kind, scale, multiplier, shift, per_channel), {full_range, y_zero, low, high}};
    uint32_t *columns = (uint32_t *)scratch;
    int8_t *bytes = (int8_t *)(columns + ML_CONV_DSP_WORDS * quads);
    const ml_conv_dsp conv = {x, bytes, bytes + run_bytes, bytes + run_bytes + left, x_ring, height, width, channels,
        width * channels, stride_w * channels, dilation_h * width * channels, kernel_h, (kernel_w - 1) * dilation_w,
        dilation_h, dilation_w == 1 ? kernel_w : dilation_w, taps_per_run, run_bytes, x_zero};
    /* Columns of outputs whose windows lie between the sides; none where a row of taps is not one run of a quad. */
    const int32_t last_inside = width - 1 - conv.reach_w + pad_left;
    const int32_t inside_begin = ml_ceil_div(pad_left, stride_w);
    const int32_t one_run = taps_per_run == kernel_w && run_bytes >= 4 && last_inside >= 0;
    const int32_t inside_end = one_run ? ml_min(last_inside / stride_w + 1, out_width) : 0;
    ml_conv_dsp_fill(bytes, run_bytes, x_zero);
    int8_t *to[ML_CONV_DSP_PIXELS];
    int32_t count = 0;
    for (int32_t oy = row_begin; oy < row_end; ++oy) {
        int8_t *row = y + ml_ring_row(oy, y_ring) * out_width * out_channels;
        const int32_t iy = oy * stride_h - pad_top;
        const int32_t reach_h = (kernel_h - 1) * dilation_h;
        const int32_t place = iy < 0 ? 0 : ml_ring_row(iy, x_ring);
        const int32_t rows_inside = iy >= 0 && iy + reach_h < height && (x_ring == 0 || place + reach_h < x_ring);
        const int32_t end = rows_inside ? inside_end : 0;
        const int8_t *from = x + place * conv.row_bytes + (inside_begin * stride_w - pad_left) * channels;
        for (int32_t ox = 0; ox < out_width;) {
            int32_t some = 1;
            if (ox >= inside_begin && ox < end) {
                some = ml_min(ML_CONV_DSP_PIXELS - count, end - ox);
                ml_conv_dsp_gather_inside(&conv, columns + count, from, some);
                from += some * conv.pixel_step;
            } else {
                ml_conv_dsp_gather(&conv, columns + count, iy, ox * stride_w - pad_left);
            }
            for (; some > 0; --some, ++ox) {
                to[count++] = row + ox * out_channels;
            }
            if (count == ML_CONV_DSP_PIXELS || (oy + 1 == row_end && ox == out_width)) {
                ml_conv_dsp_pixels(to, count, columns, &layer);
                count = 0;
            }
        }
    }
}

ML_INLINE void s8_conv2d__dsp_2x4(int8_t *y, const int8_t *x, const int8_t *weights, const int32_t *bias,
    void *scratch, int32_t kind, const float *scale, const int32_t *multiplier, const int8_t *shift,
    int32_t per_channel, int32_t full_range, int32_t joined, int32_t row_begin, int32_t row_end,
    int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels, int32_t out_width,
    int32_t out_channels,
    int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h, int32_t dilation_w,
    int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    ml_conv_dsp_rows(y, x, weights, bias, scratch, kind, scale, multiplier, shift, per_channel, full_range,
        joined ? ML_CONV_DSP_JOINED : ML_CONV_DSP_APART, row_begin, row_end, x_ring, y_ring, height,
        width, channels, out_width, out_channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w,
        pad_top, pad_left, x_zero, y_zero, low, high);
}

/* Weights of 16 bits. */
ML_INLINE void s8_conv2d__dsp_2x4_s16(int8_t *y, const int8_t *x, const int16_t *weights, const int32_t *bias,
    void *scratch, int32_t kind, const float *scale, const int32_t *multiplier, const int8_t *shift,
    int32_t per_channel, int32_t full_range, int32_t row_begin, int32_t row_end,
    int32_t x_ring, int32_t y_ring, int32_t height, int32_t width, int32_t channels, int32_t out_width,
    int32_t out_channels,
    int32_t kernel_h, int32_t kernel_w, int32_t stride_h, int32_t stride_w, int32_t dilation_h, int32_t dilation_w,
    int32_t pad_top, int32_t pad_left, int32_t x_zero, int32_t y_zero, int32_t low, int32_t high)
{
    ml_conv_dsp_rows(y, x, (const int8_t *)(const void *)weights, bias, scratch, kind, scale, multiplier, shift,
        per_channel, full_range, ML_CONV_DSP_WIDE, row_begin, row_end, x_ring, y_ring, height, width,
        channels, out_width, out_channels, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top,
        pad_left, x_zero, y_zero, low, high);
}

#endif
