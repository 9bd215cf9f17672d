// A dynamic embedding table: 64-bit keys, a row appears when training first sees its key. Optimiser
// state lies beside the row. Row 0 is the unknown row: what a key reads that the table does not
// hold; id dropout trains it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace grab {

enum class SparseOptimiser : uint8_t {
  kNone,     // inference: no state
  kAdagrad,  // row-wise: one accumulator of the mean squared gradient per row
  kAdam,     // first and second moment per element, a step count per row
};

struct TableOptions {
  uint32_t dim = 0;
  SparseOptimiser optimiser = SparseOptimiser::kNone;
  double init_std = 0.0;
  uint64_t seed = 0;
};

class EmbeddingTable {
 public:
  static constexpr uint32_t kUnknownRow = 0;
  static constexpr uint32_t kRowsMax = 1u << 31;

  explicit EmbeddingTable(TableOptions options);

  uint32_t dim() const { return options_.dim; }
  uint32_t state_width() const { return state_width_; }
  uint32_t rows() const { return static_cast<uint32_t>(keys_.size()); }
  uint64_t key(uint32_t row) const { return keys_[row]; }  // 0 for the unknown row
  uint64_t bytes() const;  // rows, state, keys and index, as allocated

  // The row of `key` (never 0), kUnknownRow if it has none.
  uint32_t Find(uint64_t key) const;
  // As Find, but a new key gets a row whose first values depend only on (seed, key).
  uint32_t FindOrInsert(uint64_t key);

  float* values(uint32_t row) { return Row(row); }
  const float* values(uint32_t row) const { return Row(row); }
  float* state(uint32_t row) { return Row(row) + options_.dim; }
  const float* state(uint32_t row) const { return Row(row) + options_.dim; }

  // One optimiser step of one row; call once per row and step with the summed gradient [dim].
  void Update(uint32_t row, const float* gradient, float learning_rate);

 private:
  static constexpr uint32_t kChunkRows = 4096;

  float* Row(uint32_t row) const {
    return chunks_[row / kChunkRows].get() + static_cast<size_t>(row % kChunkRows) * stride_;
  }
  uint32_t AddRow(uint64_t key);

  TableOptions options_;
  uint32_t state_width_;
  uint32_t stride_;
  std::vector<uint64_t> keys_;
  std::vector<std::unique_ptr<float[]>> chunks_;
  absl::flat_hash_map<uint64_t, uint32_t> index_;
};

}  // namespace grab
