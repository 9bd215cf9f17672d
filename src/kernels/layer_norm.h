// Layer norm, f32: y = (x - mean) rstd scale + shift over each row, rstd = 1 /
// sqrt(variance + 1e-5). Row-major without gaps.
#pragma once

#include <cstdint>

namespace grab {

// stats [rows, 2]: mean and rstd of each row, for the backward pass; may be null. y may be x.
void LayerNormForward(int64_t rows, int64_t width, const float* x, const float* scale,
                      const float* shift, float* y, float* stats);

// d_x = gradient of x plus `add` ([rows, width]; null: nothing). d_scale, d_shift [width] are added
// to. d_x may be d_y or add.
void LayerNormBackward(int64_t rows, int64_t width, const float* x, const float* scale,
                       const float* stats, const float* d_y, const float* add, float* d_x,
                       float* d_scale, float* d_shift);

}  // namespace grab
