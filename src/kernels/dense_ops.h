// Dense operators of the libtorch-free forward, f32. Matrix products are oneDNN's; the rest are the
// plain formulas. Row-major; pointers are the caller's; in == out is allowed where said.
#pragma once

#include <cstdint>

#include "base/status.h"

namespace grab {

// out[m, n] = in[m, k] weight[n, k]^T + bias[n] (bias may be null). The layout of weight is that of
// torch::nn::Linear.
Status Linear(int64_t m, int64_t n, int64_t k, const float* in, int64_t in_stride,
              const float* weight, const float* bias, float* out, int64_t out_stride);

// out = (in - mean) / sqrt(variance + 1e-5) * scale + shift over each row of `width`; in == out
// allowed.
void LayerNorm(int64_t rows, int64_t width, const float* in, const float* scale, const float* shift,
               float* out);

// x = 0.5 x (1 + erf(x / sqrt(2))), in place.
void Gelu(int64_t n, float* x);

// x *= sigmoid(gate), in place.
void SigmoidGate(int64_t n, const float* gate, float* x);

// x += y, in place.
void Add(int64_t n, const float* y, float* x);

}  // namespace grab
