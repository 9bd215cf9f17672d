// A channel's segments as dense matrices of queries by keys, for models of the zoo that have no
// kernel. Queries are a segment's partial rows, then its full ones; keys its partial rows.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "batch/batch.h"
#include "model/spec.h"

namespace grab {

struct DenseSegment {
  int64_t partial_begin = 0, partial_rows = 0;  // rows of the channel
  int64_t full_begin = 0, full_rows = 0;        // rows of the batch's full tokens
  // [queries, keys], row by row.
  std::vector<uint8_t> visible;
  std::vector<int64_t> position_bucket, time_bucket;  // of visible pairs (kernels/rab_buckets.h)
  std::vector<int64_t> event;                         // keys: rows of Batch::partial

  int64_t queries() const { return partial_rows + full_rows; }
  torch::Tensor events() const { return torch::tensor(event, torch::kInt64); }
  torch::Tensor Visible(torch::ScalarType type) const { return Matrix(visible).to(type); }
  torch::Tensor PositionBuckets() const { return Matrix(position_bucket); }
  torch::Tensor TimeBuckets() const { return Matrix(time_bucket); }

 private:
  template <class T>
  torch::Tensor Matrix(const std::vector<T>& values) const {
    return torch::tensor(values).view({queries(), partial_rows});
  }
};

std::vector<DenseSegment> DenseSegments(const ModelSpec& spec, const Batch& batch, size_t channel);

}  // namespace grab
