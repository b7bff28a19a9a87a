/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* float recurrent layers: LSTM, GRU and RNN. */
#ifndef ML_F32_RECURRENT_H
#define ML_F32_RECURRENT_H

#include "f32_block.h"
#include "ml_root.h"

enum { ML_LSTM, ML_GRU, ML_RNN };

enum {
    ML_ACT_RELU,
    ML_ACT_TANH,
    ML_ACT_SIGMOID,
    ML_ACT_AFFINE,
    ML_ACT_LEAKY_RELU,
    ML_ACT_THRESHOLDED_RELU,
    ML_ACT_SCALED_TANH,
    ML_ACT_HARD_SIGMOID,
    ML_ACT_ELU,
    ML_ACT_SOFTSIGN,
    ML_ACT_SOFTPLUS
};

ML_INLINE float ml_activation(int32_t function, float alpha, float beta, float x)
{
    const float size = x < 0.0f ? -x : x;
    switch (function) {
    case ML_ACT_TANH:
        return ml_tanh(x);
    case ML_ACT_SIGMOID:
        return ml_sigmoid(x);
    case ML_ACT_AFFINE:
        return alpha * x + beta;
    case ML_ACT_LEAKY_RELU:
        return x < 0.0f ? alpha * x : x;
    case ML_ACT_THRESHOLDED_RELU:
        return x > alpha ? x : 0.0f;
    case ML_ACT_SCALED_TANH:
        return alpha * ml_tanh(beta * x);
    case ML_ACT_HARD_SIGMOID:
        return ml_clamp_f32(alpha * x + beta, 0.0f, 1.0f);
    case ML_ACT_ELU:
        return x < 0.0f ? alpha * (ml_exp(x) - 1.0f) : x;
    case ML_ACT_SOFTSIGN:
        return x / (1.0f + size);
    case ML_ACT_SOFTPLUS:
        return (x > 0.0f ? x : 0.0f) + ml_ln(1.0f + ml_exp(-size));
    default:
        return x > 0.0f ? x : 0.0f;
    }
}

/* Weights and activations of one direction; bias may be null, or holds those of the input and then of the state. */
typedef struct {
    const float *w;
    const float *r;
    const float *bias;
    const float *peepholes;
    const int32_t *functions;
    const float *parameters;
    float clip;
    int32_t gates;
    int32_t depth;
    int32_t hidden;
} ml_cell;

ML_INLINE float ml_cell_activation(const ml_cell *cell, int32_t index, float value)
{
    if (cell->clip > 0.0f) {
        value = ml_clamp_f32(value, -cell->clip, cell->clip);
    }
    return ml_activation(cell->functions[index], cell->parameters[2 * index], cell->parameters[2 * index + 1], value);
}

/* Sum of products, as sums that are added last. */
ML_INLINE float ml_f32_dot(const float *a, const float *b, int32_t count)
{
    float sums[ML_F32_LANES] = {0.0f};
    float total = 0.0f;
    int32_t k = 0;
    for (; k + ML_F32_LANES <= count; k += ML_F32_LANES) {
        for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
            sums[lane] += a[k + lane] * b[k + lane];
        }
    }
    for (; k < count; ++k) {
        total += a[k] * b[k];
    }
    for (int32_t lane = 0; lane < ML_F32_LANES; ++lane) {
        total += sums[lane];
    }
    return total;
}

ML_INLINE float ml_cell_of_input(const ml_cell *cell, const float *x, int32_t row)
{
    const float sum = ml_f32_dot(cell->w + row * cell->depth, x, cell->depth);
    return cell->bias ? sum + cell->bias[row] : sum;
}

ML_INLINE float ml_cell_of_state(const ml_cell *cell, const float *h, int32_t row)
{
    const float sum = ml_f32_dot(cell->r + row * cell->hidden, h, cell->hidden);
    return cell->bias ? sum + cell->bias[cell->gates * cell->hidden + row] : sum;
}

ML_INLINE void ml_lstm_step(const ml_cell *cell, float *h, float *c, const float *x, float *gates, int32_t coupled)
{
    const int32_t n = cell->hidden;
    for (int32_t row = 0; row < 4 * n; ++row) {
        gates[row] = ml_cell_of_input(cell, x, row) + ml_cell_of_state(cell, h, row);
    }
    for (int32_t j = 0; j < n; ++j) {
        const float *p = cell->peepholes ? cell->peepholes + j : cell->peepholes;
        const float in = ml_cell_activation(cell, 0, p ? gates[j] + p[0] * c[j] : gates[j]);
        const float kept = coupled
            ? 1.0f - in
            : ml_cell_activation(cell, 0, p ? gates[2 * n + j] + p[2 * n] * c[j] : gates[2 * n + j]);
        c[j] = kept * c[j] + in * ml_cell_activation(cell, 1, gates[3 * n + j]);
        h[j] = ml_cell_activation(cell, 0, p ? gates[n + j] + p[n] * c[j] : gates[n + j]) *
            ml_activation(cell->functions[2], cell->parameters[4], cell->parameters[5], c[j]);
    }
}

ML_INLINE void ml_gru_step(const ml_cell *cell, float *h, const float *x, float *gates, int32_t linear_before_reset)
{
    const int32_t n = cell->hidden;
    float *candidate = gates + 2 * n;
    float *reset = gates + 3 * n;
    for (int32_t row = 0; row < 2 * n; ++row) {
        gates[row] = ml_cell_activation(cell, 0, ml_cell_of_input(cell, x, row) + ml_cell_of_state(cell, h, row));
    }
    for (int32_t j = 0; j < n; ++j) {
        reset[j] = linear_before_reset ? h[j] : gates[n + j] * h[j];
    }
    for (int32_t j = 0; j < n; ++j) {
        const float state = ml_cell_of_state(cell, reset, 2 * n + j);
        const float input = ml_cell_of_input(cell, x, 2 * n + j);
        candidate[j] = ml_cell_activation(cell, 1, input + (linear_before_reset ? gates[n + j] * state : state));
    }
    for (int32_t j = 0; j < n; ++j) {
        h[j] = (1.0f - gates[j]) * candidate[j] + gates[j] * h[j];
    }
}

ML_INLINE void ml_rnn_step(const ml_cell *cell, float *h, const float *x, float *next)
{
    for (int32_t j = 0; j < cell->hidden; ++j) {
        next[j] = ml_cell_activation(cell, 0, ml_cell_of_input(cell, x, j) + ml_cell_of_state(cell, h, j));
    }
    for (int32_t j = 0; j < cell->hidden; ++j) {
        h[j] = next[j];
    }
}

/*
 * All states to y, and the last state and cell of every direction and sequence to y_h and y_c.
 *
 * w is [directions][gates * hidden][depth], r [directions][gates * hidden][hidden], bias [directions][2 * gates *
 * hidden], peepholes [directions][3 * hidden], gates in the order of ONNX. bias, lengths, initial states and peepholes
 * may be null; y_c is used by an LSTM only. States beyond the length of a sequence are 0. scratch holds 4 * hidden.
 */
ML_INLINE void f32_recurrent__portable(float *ML_RESTRICT y, float *ML_RESTRICT y_h, float *ML_RESTRICT y_c,
    const float *ML_RESTRICT x, const float *ML_RESTRICT w, const float *ML_RESTRICT r, const float *ML_RESTRICT b,
    const int32_t *ML_RESTRICT lengths, const float *ML_RESTRICT initial_h, const float *ML_RESTRICT initial_c,
    const float *ML_RESTRICT peepholes, const int32_t *ML_RESTRICT functions, const float *ML_RESTRICT parameters,
    float *ML_RESTRICT scratch, int32_t kind, int32_t steps, int32_t batch, int32_t depth, int32_t hidden,
    int32_t directions, int32_t reverse, int32_t x_step, int32_t x_batch, int32_t y_step, int32_t y_direction,
    int32_t y_batch, int32_t state_direction, int32_t state_batch, int32_t coupled, int32_t linear_before_reset,
    float clip)
{
    const int32_t gates = kind == ML_LSTM ? 4 : kind == ML_GRU ? 3 : 1;
    const int32_t named = kind == ML_LSTM ? 3 : kind == ML_GRU ? 2 : 1;
    for (int32_t direction = 0; direction < directions; ++direction) {
        const int32_t backwards = reverse || direction > 0;
        const ml_cell cell = {w + direction * gates * hidden * depth, r + direction * gates * hidden * hidden,
            b ? b + direction * 2 * gates * hidden : b, peepholes ? peepholes + direction * 3 * hidden : peepholes,
            functions + direction * named, parameters + direction * named * 2, clip, gates, depth, hidden};
        for (int32_t n = 0; n < batch; ++n) {
            const int32_t at = direction * state_direction + n * state_batch;
            const int32_t length = lengths ? ml_clamp(lengths[n], 0, steps) : steps;
            for (int32_t j = 0; j < hidden; ++j) {
                y_h[at + j] = initial_h ? initial_h[at + j] : 0.0f;
                if (kind == ML_LSTM) {
                    y_c[at + j] = initial_c ? initial_c[at + j] : 0.0f;
                }
            }
            for (int32_t step = 0; step < steps; ++step) {
                const int32_t time = backwards && step < length ? length - 1 - step : step;
                const float *in = x + time * x_step + n * x_batch;
                float *out = y + time * y_step + direction * y_direction + n * y_batch;
                if (step < length) {
                    if (kind == ML_LSTM) {
                        ml_lstm_step(&cell, y_h + at, y_c + at, in, scratch, coupled);
                    } else if (kind == ML_GRU) {
                        ml_gru_step(&cell, y_h + at, in, scratch, linear_before_reset);
                    } else {
                        ml_rnn_step(&cell, y_h + at, in, scratch);
                    }
                }
                for (int32_t j = 0; j < hidden; ++j) {
                    out[j] = step < length ? y_h[at + j] : 0.0f;
                }
            }
        }
    }
}

#endif
