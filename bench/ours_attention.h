// Our attention kernels on an AttentionProblem, on one thread: the one place to change when they
// change.
#pragma once

#include <vector>

#include "base/aligned_buffer.h"
#include "bench/attention_problem.h"

namespace grab::bench {

class OursAttention {
 public:
  // `problem`, in f32, must outlive it.
  explicit OursAttention(const AttentionProblem& problem);

  // Codebooks are packed anew, as in a training step.
  void Forward();
  // After a Forward. Gradients start at zero.
  void Backward();

  const torch::Tensor& out() const { return out_; }
  // Of q, kv and the codebooks of position, time and action.
  const std::vector<torch::Tensor>& gradients() const { return gradients_; }

 private:
  RabProblem Pack();

  const AttentionProblem& problem_;
  torch::Tensor codebooks_, out_, log_sum_;
  std::vector<torch::Tensor> gradients_;
  AlignedBuffer forward_scratch_, backward_scratch_;
};

}  // namespace grab::bench
