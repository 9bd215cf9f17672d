// Matrix products of training, through oneDNN: f32, or bf16 operands with f32 sums.
#pragma once

#include <cstdint>

#include "kernels/precision.h"

namespace grab {

// Whether this machine's oneDNN has products of that precision.
bool Supported(Precision precision);

// A row-major matrix in one of the precisions; `stride` elements between rows.
struct Operand {
  Precision precision = Precision::kF32;
  const void* data = nullptr;
  int64_t stride = 0;
  bool transposed = false;

  Operand T() const { return {precision, data, stride, !transposed}; }
  // Rows of the matrix as it is stored, from `row` on.
  Operand From(int64_t row) const;
};

// Floats of scratch that an operand of `elements` takes: none in f32, half as many in bf16.
int64_t OperandScratch(Precision precision, int64_t elements);

// The f32 matrix [rows, width] as an operand: itself, or its copy, rounded to nearest even, in
// `scratch` [OperandScratch(rows * width)].
Operand MakeOperand(Precision precision, int64_t rows, int64_t width, const float* data,
                    int64_t stride, float* scratch);

// out[m, n] = a[m, k] b[k, n], or out += with `accumulate`; operands of one precision. f32
// allocates nothing of its own. bf16 cuts the rows of `a` (or, where it is transposed, its summed
// dimension) into pieces of a few sizes and keeps one oneDNN primitive per size and thread, made on
// first use.
void Multiply(int64_t m, int64_t n, int64_t k, const Operand& a, const Operand& b, bool accumulate,
              float* out, int64_t out_stride);

}  // namespace grab
