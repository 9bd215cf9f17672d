// Pairs of candidates of one page, one clicked and one not (by the main task's label): the loss
// asks only for their order. In the spirit of RankNet (Burges et al. 2005).
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "batch/batch.h"

namespace grab {

// A clicked candidate is paired with at most this many of its page, evenly spread over them.
inline constexpr size_t kPagePairsMax = 64;

struct PagePairs {
  std::vector<int64_t> clicked, passed;  // full rows
  std::vector<float> weight;             // the value of the clicked one
  double weight_sum = 0.0;
};

// Pairs lie within a segment, so that the pairs of the parts of a batch are those of the batch.
// Rows of page 0 and rows whose label is unknown are in none. Values: Batch::value, missing and
// negative ones count 0; all 1 without.
PagePairs FindPagePairs(const Batch& batch);

// Sum over pairs of weight * log(1 + exp(-(z_clicked - z_passed))), z the main task's logit.
// logits [full rows, tasks].
torch::Tensor PairwiseLoss(const torch::Tensor& logits, const PagePairs& pairs);

}  // namespace grab
