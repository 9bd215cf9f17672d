// Synthetic attention, from seeds: one layer over segments of a given shape.
#pragma once

#include <torch/types.h>

#include <memory>
#include <vector>

#include "bench/sizes.h"
#include "model/channel_rows.h"

namespace grab::bench {

// The operands of one attention layer over segments of `events[i]` P rows and as many F rows: every
// event is both history and target, and F row i sees the P rows of the events before its own.
struct AttentionProblem {
  ModelSpec spec;
  Batch batch;  // its tokens are empty
  std::shared_ptr<const ChannelRows> rows;
  torch::Tensor q, kv, codebook_position, codebook_time, codebook_action, d_out;
  double pairs = 0;  // visible ones, self pairs included

  AttentionProblem() = default;
  AttentionProblem(const AttentionProblem&) = delete;
};
std::unique_ptr<AttentionProblem> MakeAttentionProblem(const Sizes& sizes,
                                                       const std::vector<int64_t>& events,
                                                       uint64_t seed,
                                                       torch::ScalarType type = torch::kFloat32);

}  // namespace grab::bench
