/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Interpolation of floats: along one axis with weights from tables, and at places of an image computed at run time. */
#ifndef ML_F32_RESAMPLE_H
#define ML_F32_RESAMPLE_H

#include "ml_common.h"

/* y[o, c, i] = base[c] + sum over t of weights[c, t] * x[o, places[c, t], i]; x has count rows, y has size. */
ML_INLINE void f32_resample__portable(float *ML_RESTRICT y, const float *ML_RESTRICT x, const int32_t *places,
    const float *weights, const float *base, int32_t outer, int32_t count, int32_t size, int32_t inner, int32_t taps)
{
    for (int32_t o = 0; o < outer; ++o) {
        for (int32_t c = 0; c < size; ++c) {
            for (int32_t i = 0; i < inner; ++i) {
                float sum = base[c];
                for (int32_t t = 0; t < taps; ++t) {
                    sum += weights[c * taps + t] * x[(o * count + places[c * taps + t]) * inner + i];
                }
                *y = sum;
                ++y;
            }
        }
    }
}

/* The greatest integer not above a value that an int32_t can hold with room around it. */
ML_INLINE int32_t ml_floor(float value)
{
    const int32_t whole = (int32_t)value;
    return (float)whole > value ? whole - 1 : whole;
}

/* Folds a coordinate at both ends of [low, high]. */
ML_INLINE float ml_reflect(float value, float low, float high)
{
    const float length = high - low;
    if (!(length > 0.0f)) {
        return low;
    }
    float way = value < low ? low - value : value - low;
    const int32_t turns = ml_floor(way / length);
    way -= (float)turns * length;
    return (turns & 1) != 0 ? high - way : low + way;
}

enum { ML_ZEROS = 0, ML_BORDER = 1, ML_REFLECTION = 2 };

/* Folds or clamps a place that lies outside the borders, where padding says so. */
ML_INLINE float ml_grid_bounded(float place, int32_t size, int32_t align, int32_t padding)
{
    const float end = (float)(size - 1);
    const float low = align ? 0.0f : -0.5f;
    const float high = align ? end : end + 0.5f;
    if (padding == ML_ZEROS || (place >= low && place <= high)) {
        return place;
    }
    return padding == ML_BORDER ? ml_clamp_f32(place, 0.0f, end) : ml_reflect(place, low, high);
}

/* The nearest whole number, half to even. */
ML_INLINE float ml_nearest_even(float place)
{
    const int32_t below = ml_floor(place);
    const float part = place - (float)below;
    return (float)(part > 0.5f || (part == 0.5f && (below & 1) != 0) ? below + 1 : below);
}

/* A coordinate of the grid (-1 to 1) in elements; what is no number or far away becomes a place far outside. */
ML_INLINE float ml_grid_coordinate(float given, int32_t size, int32_t align, int32_t padding, int32_t taps)
{
    const float far = 1048576.0f;
    const float whole = (float)size;
    float place = align ? (given + 1.0f) * 0.5f * (whole - 1.0f) : (ml_rounded((given + 1.0f) * whole) - 1.0f) * 0.5f;
    place = place >= -far ? (place <= far ? place : far) : -far;
    if (taps == 4) {
        return place; /* its neighbours are brought within the borders, one by one */
    }
    return ml_grid_bounded(taps == 1 ? ml_nearest_even(place) : place, size, align, padding);
}

/* A whole place, or -1 where nothing is read there. */
ML_INLINE int32_t ml_grid_place(int32_t place, int32_t size, int32_t align, int32_t padding)
{
    if (place >= 0 && place < size) {
        return place;
    }
    if (padding == ML_ZEROS) {
        return -1;
    }
    return ml_clamp(ml_floor(ml_grid_bounded((float)place, size, align, padding) + 0.5f), 0, size - 1);
}

/* Weights of taps neighbours from the fraction: 1 nearest, 2 linear, 4 cubic with a coefficient of -0.75. */
ML_INLINE void ml_grid_weights(float *w, float t, int32_t taps)
{
    if (taps == 1) {
        w[0] = 1.0f;
    } else if (taps == 2) {
        w[0] = 1.0f - t;
        w[1] = t;
    } else {
        const float a = -0.75f;
        const float s = 1.0f - t;
        w[0] = ((a * (t + 1.0f) - 5.0f * a) * (t + 1.0f) + 8.0f * a) * (t + 1.0f) - 4.0f * a;
        w[1] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
        w[2] = ((a + 2.0f) * s - (a + 3.0f)) * s * s + 1.0f;
        w[3] = ((a * (s + 1.0f) - 5.0f * a) * (s + 1.0f) + 8.0f * a) * (s + 1.0f) - 4.0f * a;
    }
}

/* First neighbour of a place and, in rest, the fraction. */
ML_INLINE int32_t ml_grid_first(float place, int32_t taps, float *rest)
{
    const int32_t below = ml_floor(place);
    *rest = place - (float)below;
    return taps == 4 ? below - 1 : below;
}

/* Images N,H,W,C read at places given as (x, y) from -1 to 1 by a grid N,OH,OW,2; result N,OH,OW,C. */
ML_INLINE void f32_grid_sample__portable(float *ML_RESTRICT y, const float *ML_RESTRICT x,
    const float *ML_RESTRICT grid, int32_t batch, int32_t height, int32_t width, int32_t channels, int32_t count,
    int32_t taps, int32_t padding, int32_t align)
{
    for (int32_t n = 0; n < batch; ++n) {
        for (int32_t g = 0; g < count; ++g) {
            const float across = ml_grid_coordinate(grid[0], width, align, padding, taps);
            const float down = ml_grid_coordinate(grid[1], height, align, padding, taps);
            float t_across;
            float t_down;
            float w_across[4];
            float w_down[4];
            const int32_t left = ml_grid_first(across, taps, &t_across);
            const int32_t top = ml_grid_first(down, taps, &t_down);
            ml_grid_weights(w_across, t_across, taps);
            ml_grid_weights(w_down, t_down, taps);
            for (int32_t c = 0; c < channels; ++c) {
                float sum = 0.0f;
                for (int32_t r = 0; r < taps; ++r) {
                    const int32_t row = ml_grid_place(top + r, height, align, padding);
                    for (int32_t q = 0; q < taps; ++q) {
                        const int32_t column = ml_grid_place(left + q, width, align, padding);
                        if (row >= 0 && column >= 0) {
                            sum += w_down[r] * w_across[q] * x[(row * width + column) * channels + c];
                        }
                    }
                }
                *y = sum;
                ++y;
            }
            grid += 2;
        }
        x += height * width * channels;
    }
}

#endif
