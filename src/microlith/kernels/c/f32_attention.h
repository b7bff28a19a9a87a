/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float attention: softmax(scale * q k' + mask) v, a few rows at a time. */
#ifndef ML_F32_ATTENTION_H
#define ML_F32_ATTENTION_H

#include "f32_products.h"
#include "f32_softmax.h"

/* scores[line * step + key] = q[line] . k[key] for keys in [0, keys). */
ML_INLINE void ml_attention_scores(float *scores, int32_t step, const float *q, int32_t q_row, int32_t q_step,
    const float *k, int32_t k_row, int32_t k_step, int32_t lines, int32_t keys, int32_t depth)
{
    int32_t lanes;
    for (int32_t key = 0; key < keys; key += lanes) {
        float acc[ML_F32_ROWS][ML_F32_LANES];
        lanes = keys - key >= ML_F32_LANES ? ML_F32_LANES : 1;
        ml_f32_strided_tile(acc, q, q_row, q_step, k + key * k_row, k_step, k_row, depth, lines, lanes);
        ml_f32_store(scores + key, step, acc, lanes, lines, 0, 0.0f, 0.0f);
    }
}

/* y[line] = sum over keys of p[line * step + key] * v[key]. */
ML_INLINE void ml_attention_mix(float *y, int32_t y_row, const float *p, int32_t step, const float *v, int32_t v_row,
    int32_t v_step, int32_t lines, int32_t keys, int32_t columns)
{
    int32_t lanes;
    for (int32_t column = 0; column < columns; column += lanes) {
        float acc[ML_F32_ROWS][ML_F32_LANES];
        lanes = columns - column >= ML_F32_LANES ? ML_F32_LANES : 1;
        ml_f32_strided_tile(acc, p, step, 1, v + column * v_step, v_row, v_step, keys, lines, lanes);
        ml_f32_store(y + column, y_row, acc, lanes, lines, 0, 0.0f, 0.0f);
    }
}

/* p[0, keys) = softmax over the first `seen` of scale * p, capped to (-cap, cap) where cap is not 0, + mask; then 0. */
ML_INLINE void ml_attention_weigh(
    float *p, const float *mask, int32_t mask_step, int32_t keys, int32_t seen, float scale, float cap)
{
    for (int32_t key = 0; key < seen; ++key) {
        float value = p[key] * scale;
        value = cap == 0.0f ? value : cap * ml_tanh(value / cap);
        p[key] = mask ? value + mask[key * mask_step] : value;
    }
    for (int32_t key = seen; key < keys; ++key) {
        p[key] = 0.0f;
    }
    f32_softmax__portable(p, p, 1, seen, 1);
}

/*
 * y[b, h, i] = sum over j of softmax over j of (scale * q[b, h, i] . k[b, h / group, j] + mask[b, h, i, j])
 * * v[b, h / group, j].
 *
 * causal: row i sees the keys up to i. All strides are in elements; those of a mask are 0 where it is repeated, and it
 * may be null. Columns of y lie next to each other. scores holds ML_F32_ROWS rows of `keys`.
 */
ML_INLINE void f32_attention__portable(float *ML_RESTRICT y, const float *ML_RESTRICT q, const float *ML_RESTRICT k,
    const float *ML_RESTRICT v, const float *ML_RESTRICT mask, float *ML_RESTRICT scores, int32_t batch, int32_t heads,
    int32_t group, int32_t rows, int32_t keys, int32_t depth, int32_t columns, int32_t y_batch, int32_t y_head,
    int32_t y_row, int32_t q_batch, int32_t q_head, int32_t q_row, int32_t q_step, int32_t k_batch, int32_t k_head,
    int32_t k_row, int32_t k_step, int32_t v_batch, int32_t v_head, int32_t v_row, int32_t v_step, int32_t mask_batch,
    int32_t mask_head, int32_t mask_row, int32_t mask_step, int32_t causal, float scale, float cap)
{
    for (int32_t head = 0; head < batch * heads; ++head) {
        const int32_t b = head / heads;
        const int32_t h = head % heads;
        const float *queries = q + b * q_batch + h * q_head;
        const float *of_keys = k + b * k_batch + h / group * k_head;
        const float *values = v + b * v_batch + h / group * v_head;
        const float *added = mask ? mask + b * mask_batch + h * mask_head : mask;
        float *out = y + b * y_batch + h * y_head;
        int32_t lines;
        for (int32_t row = 0; row < rows; row += lines) {
            int32_t most;
            lines = rows - row >= ML_F32_ROWS ? ML_F32_ROWS : 1;
            most = causal ? ml_min(row + lines, keys) : keys;
            ml_attention_scores(scores, keys, queries + row * q_row, q_row, q_step, of_keys, k_row, k_step, lines,
                most, depth);
            for (int32_t line = 0; line < lines; ++line) {
                const int32_t seen = causal ? ml_min(row + line + 1, keys) : keys;
                ml_attention_weigh(scores + line * keys, added ? added + (row + line) * mask_row : added, mask_step,
                    most, seen, scale, cap);
            }
            ml_attention_mix(out + row * y_row, y_row, scores, keys, values, v_row, v_step, lines, most, columns);
        }
    }
}

#endif
