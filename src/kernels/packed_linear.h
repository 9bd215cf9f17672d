// Linear layers with weights packed once, for inference: out = Epilogue(rows weight^T + bias) in
// f32, bf16 or int8, near the machine's rate for many rows and near memory bandwidth for one.
//
//   f32   the product as it is
//   bf16  weights and rows rounded to nearest even, sums in f32
//   int8  weights s8 with one scale per output; rows u8 with a scale and a lower bound per row,
//         taken from the row's own range; sums exact in s32
//
// The left side is made first (ConvertRows, or NormRows for a layer norm in front of the product)
// in the caller's memory, and may serve several products. No allocation, no threads, no locks.
// A row's result depends on that row, the weights and the SIMD target: not on how many rows are
// computed, nor where it stands among them. Pointers are raw, row-major, owned by the caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/precision.h"

namespace grab {

// Longest row: sums of int8 products stay below 2^31.
constexpr int64_t kLinearWidthMax = 65536;

// ---- Weights ------------------------------------------------------------------------------------

constexpr int64_t kPanelColumns = 64;

// A view of packed weights.
struct PackedLinear {
  Precision format = Precision::kF32;
  int64_t n = 0;                  // outputs
  int64_t k = 0;                  // inputs
  const void* words = nullptr;    // [panels][words of a row][64], zeros beyond n and k
  const float* bias = nullptr;    // [panels * 64]
  const float* scale = nullptr;   // int8: [panels * 64]
  const float* column = nullptr;  // int8: [panels * 64], scale times the sum of a column's integers
};

// Memory of packed weights: a multiple of 64.
size_t PackedLinearBytes(Precision format, int64_t n, int64_t k);

// Packs weight [n, k] (the layout of torch::nn::Linear) and bias [n] (null: zeros) into `memory`,
// aligned to 64 bytes, which the result refers to. n >= 1, 1 <= k <= kLinearWidthMax.
PackedLinear PackLinear(Precision format, int64_t n, int64_t k, const float* weight,
                        const float* bias, void* memory);

// ---- Rows ---------------------------------------------------------------------------------------

// The left side of a product: a view.
struct LinearRows {
  const void* words = nullptr;
  int64_t stride = 0;            // words between rows
  const float* scale = nullptr;  // int8: [rows], x = low + scale * u8
  const float* low = nullptr;    // int8: [rows]
};

// Scratch for `rows` rows of at most `k` elements: a multiple of 64.
size_t LinearRowsBytes(Precision format, int64_t rows, int64_t k);

// in [rows, k] in the format; f32 is `in` itself. `scratch` (aligned to 64 bytes, LinearRowsBytes)
// holds what the result refers to.
LinearRows ConvertRows(Precision format, int64_t rows, int64_t k, const float* in,
                       int64_t in_stride, void* scratch);

// As ConvertRows of (in - mean) / sqrt(variance + 1e-5) * scale + shift of each row.
LinearRows NormRows(Precision format, int64_t rows, int64_t k, const float* in, int64_t in_stride,
                    const float* scale, const float* shift, void* scratch);

// The same layer norm in place.
void NormInPlace(int64_t rows, int64_t k, const float* scale, const float* shift, float* x,
                 int64_t stride);

// ---- Products -----------------------------------------------------------------------------------

enum class Epilogue : uint8_t {
  kStore,        // out = y
  kGelu,         // out = y (1 + erf(y / sqrt(2))) / 2
  kAdd,          // out = out + y
  kSigmoidGate,  // out = out * sigmoid(y)
};

// y = rows weight^T + bias; out [rows, n] with `out_stride` elements between rows. `rows` were made
// in the weights' format and width and do not overlap `out`.
void PackedLinearForward(const PackedLinear& linear, const LinearRows& rows, int64_t row_count,
                         Epilogue epilogue, float* out, int64_t out_stride);

}  // namespace grab
