// The tokenizer's gated MLP (DESIGN 3.2), f32 in and out, products in either precision; blocks of
// rows as in feed_forward.h.
//
//   v' = LayerNorm(v)    pre = v' hidden_weight^T + hidden_bias    gate = v' gate_weight^T +
//   gate_bias value = GELU(pre) out_weight^T + out_bias                      out = value
//   sigmoid(gate)
#pragma once

#include <cstdint>

#include "kernels/norm_linear.h"

namespace grab {

struct GateMlpShape {
  int64_t rows = 0;
  int64_t in_width = 0;
  int64_t hidden = 0;
  int64_t out_width = 0;
  Precision precision = Precision::kF32;
};

struct GateMlpWeights {
  NormWeights norm;
  const float *hidden_weight, *hidden_bias;  // [hidden, in_width], [hidden]
  const float *out_weight, *out_bias;        // [out_width, hidden], [out_width]
  const float *gate_weight, *gate_bias;      // [out_width, in_width], [out_width]
};

// What the backward pass reads besides the input.
struct GateMlpActivations {
  float* pre = nullptr;    // [rows, hidden]
  float* gate = nullptr;   // [rows, out_width]
  float* value = nullptr;  // [rows, out_width]
};

// v [rows, in_width]; out [rows, out_width]; scratch [GateMlpScratch floats].
void GateMlpForward(const GateMlpShape& shape, const GateMlpWeights& weights, const float* v,
                    const GateMlpActivations& kept, float* out, float* scratch);

// As the weights; added to.
struct GateMlpGradients {
  float *norm_scale, *norm_shift, *hidden_weight, *hidden_bias, *out_weight, *out_bias,
      *gate_weight, *gate_bias;
};

// d_v [rows, in_width] is overwritten.
void GateMlpBackward(const GateMlpShape& shape, const GateMlpWeights& weights, const float* v,
                     const GateMlpActivations& kept, const float* d_out, float* d_v,
                     const GateMlpGradients& gradients, float* scratch);

// Of the larger of the two passes.
int64_t GateMlpScratch(const GateMlpShape& shape);

}  // namespace grab
