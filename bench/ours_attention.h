// Our attention kernels on an AttentionProblem: the one place to change when they change.
#pragma once

#include <vector>

#include "bench/problems.h"

namespace grab::bench {

class OursAttention {
 public:
  // `problem` must outlive it.
  OursAttention(const AttentionProblem& problem, int threads);

  void Forward();
  // After a Forward. Gradients start at zero.
  void Backward();

 private:
  const AttentionProblem& problem_;
  int threads_;
  torch::Tensor out_, log_sum_;
  std::vector<torch::Tensor> gradients_;  // of q, kv, the codebooks
};

}  // namespace grab::bench
