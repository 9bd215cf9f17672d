// What one row of a table is in memory:
//   key u64, life (tables with an optimiser), values [dim] in the table's precision, state f32
// so that a look-up finds the key, and an update the state, in the cache lines of the values.
#pragma once

#include <cstddef>
#include <cstdint>

namespace grab {

enum class SparseOptimiser : uint8_t {
  kNone,     // inference: no state, no life
  kAdagrad,  // row-wise: one accumulator of the mean squared gradient per row
  kAdam,     // first and second moment per element, a step count per row
};

// 16-bit rows are read as f32 and rounded at random after an update (kernels/half_rows.h).
enum class RowPrecision : uint8_t { kF32, kBf16, kF16 };

constexpr uint32_t BytesOf(RowPrecision precision) {
  return precision == RowPrecision::kF32 ? 4 : 2;
}

// What decides how long a row lives, and what the next release takes.
struct RowLife {
  uint32_t last_seen_s = 0;  // by the clock of the data, seconds since 1970; 0: not in this run
  float score = 0.0f;        // occurrences, decayed to last_seen_s
  uint32_t updates = 0;      // optimiser steps
  uint32_t changed_in = 0;   // the release period that it last changed in (EmbeddingTable)
};

struct RowLayout {
  uint32_t dim = 0;
  RowPrecision precision = RowPrecision::kF32;
  uint32_t state_width = 0;  // f32
  bool lives = false;
  uint32_t values_at = 0;  // bytes from the row's begin
  uint32_t state_at = 0;
  uint32_t stride = 0;  // bytes from row to row, a multiple of 8

  static RowLayout Of(uint32_t dim, RowPrecision precision, SparseOptimiser optimiser);
};

inline RowLayout RowLayout::Of(uint32_t dim, RowPrecision precision, SparseOptimiser optimiser) {
  RowLayout layout;
  layout.dim = dim;
  layout.precision = precision;
  layout.lives = optimiser != SparseOptimiser::kNone;
  if (optimiser == SparseOptimiser::kAdagrad) layout.state_width = 1;
  if (optimiser == SparseOptimiser::kAdam) layout.state_width = 2 * dim + 1;
  layout.values_at = sizeof(uint64_t) + (layout.lives ? sizeof(RowLife) : 0);
  layout.state_at = layout.values_at + (dim * BytesOf(precision) + 3) / 4 * 4;
  layout.stride = (layout.state_at + 4 * layout.state_width + 7) / 8 * 8;
  return layout;
}

}  // namespace grab
