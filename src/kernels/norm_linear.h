// Linear layers on a common input that may be layer-normed first, f32 in and out, products in
// either precision. Rows are worked off in blocks that stay in the cache, so the normed input never
// exists as a whole. All pointers are the caller's, row-major without gaps.
//
//   x' = norm ? (x - mean) / sqrt(variance + 1e-5) * scale + shift : x
//   out_p = x'[first_row ..] weight_p^T + bias_p (+ residual_p)       for every projection p
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/matmul.h"

namespace grab {

struct NormLinearShape {
  int64_t rows = 0;
  int64_t in_width = 0;
  Precision precision = Precision::kF32;
};

struct NormWeights {
  const float* scale = nullptr;  // [in_width]; null: no norm
  const float* shift = nullptr;  // [in_width]
};

struct Projection {
  int64_t first_row = 0;
  int64_t width = 0;
  const float* weight = nullptr;    // [width, in_width]
  const float* bias = nullptr;      // [width]
  const float* residual = nullptr;  // [rows - first_row, width]; null: none
};

// out: per projection [rows - first_row, width]. scratch [NormLinearScratch floats].
void NormLinearForward(const NormLinearShape& shape, const float* x, const NormWeights& norm,
                       const std::vector<Projection>& projections, const std::vector<float*>& out,
                       float* scratch);

struct ProjectionGradient {
  const float* d_out = nullptr;  // [rows - first_row, width]
  float* d_weight = nullptr;     // added to, as all below but d_x
  float* d_bias = nullptr;
};

// d_x [rows, in_width] is overwritten; d_scale and d_shift [in_width] are null without a norm. The
// gradient of a residual is d_out itself.
void NormLinearBackward(const NormLinearShape& shape, const float* x, const NormWeights& norm,
                        const std::vector<Projection>& projections,
                        const std::vector<ProjectionGradient>& gradients, float* d_x,
                        float* d_scale, float* d_shift, float* scratch);

// Of the larger of the two passes.
int64_t NormLinearScratch(const NormLinearShape& shape, const std::vector<Projection>& projections);

}  // namespace grab
