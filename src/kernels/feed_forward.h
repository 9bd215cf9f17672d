// The feed-forward part of a layer with its residual, f32 in and out, products in either precision.
// Worked off in blocks of rows that stay in the cache; only what the backward pass reads is kept.
// All pointers are the caller's, row-major without gaps.
//
//   x' = norm ? LayerNorm(x) : x        pre = x' hidden_weight^T + hidden_bias
//   out = x + GELU(pre) out_weight^T + out_bias
#pragma once

#include <cstdint>

#include "kernels/norm_linear.h"

namespace grab {

struct FeedForwardShape {
  int64_t rows = 0;
  int64_t width = 0;
  int64_t hidden = 0;
  Precision precision = Precision::kF32;
};

struct FeedForwardWeights {
  NormWeights norm;
  const float* hidden_weight = nullptr;  // [hidden, width]
  const float* hidden_bias = nullptr;    // [hidden]
  const float* out_weight = nullptr;     // [width, hidden]
  const float* out_bias = nullptr;       // [width]
};

// x, out [rows, width]; pre [rows, hidden]; scratch [FeedForwardScratch floats].
void FeedForwardForward(const FeedForwardShape& shape, const FeedForwardWeights& weights,
                        const float* x, float* pre, float* out, float* scratch);

// As the weights; added to. Those of the norm are null without one.
struct FeedForwardGradients {
  float *norm_scale, *norm_shift, *hidden_weight, *hidden_bias, *out_weight, *out_bias;
};

// d_x [rows, width] is overwritten.
void FeedForwardBackward(const FeedForwardShape& shape, const FeedForwardWeights& weights,
                         const float* x, const float* pre, const float* d_out, float* d_x,
                         const FeedForwardGradients& gradients, float* scratch);

// Of the larger of the two passes.
int64_t FeedForwardScratch(const FeedForwardShape& shape);

}  // namespace grab
