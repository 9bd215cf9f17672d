// The rows of one channel as the attention kernel wants them: keys are the channel's partial rows,
// then the batch's full rows; queries are the same rows, or (in the last layer, where nobody reads
// a partial row's output) only the full ones.
#pragma once

#include <cstdint>
#include <vector>

#include "batch/batch.h"
#include "kernels/rab_simd.h"
#include "model/spec.h"

namespace grab {

class ChannelRows {
 public:
  // `batch` must outlive it.
  ChannelRows(const ModelSpec& spec, const Batch& batch, size_t channel);

  int64_t partial_rows() const { return partial_rows_; }
  int64_t full_rows() const { return full_rows_; }
  int64_t rows() const { return partial_rows_ + full_rows_; }

  // Shape and visibility for queries [rows() - queries, rows()): pass rows() or full_rows().
  RabShape Shape(int64_t queries) const;
  RabVisibility Visibility(int64_t queries) const;
  // The same for the SIMD kernels. `codebooks`: of PackRabCodebooks.
  RabProblem Problem(int64_t queries, const RabInputs<float>& inputs, const float* codebooks) const;
  int64_t segment_keys_max() const { return segment_keys_max_; }

 private:
  void MakeSegments(const Batch& batch, size_t channel);

  const ModelSpec& spec_;
  int64_t partial_rows_;
  int64_t full_rows_;
  std::vector<int32_t> key_begin_, key_end_, self_key_;
  std::vector<int64_t> time_ms_;  // of every row, as query and as key
  const int32_t* key_action_;
  std::vector<uint16_t> position_bucket_;
  std::vector<int64_t> time_bound_ms_;
  std::vector<RabRun> runs_;               // of every row
  std::vector<RabSegment> segments_;       // for queries of all rows
  std::vector<RabSegment> full_segments_;  // for queries of full rows only
  int64_t segment_keys_max_ = 0;
};

}  // namespace grab
