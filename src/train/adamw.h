// AdamW (Loshchilov and Hutter, arXiv 1711.05101, Algorithm 2) on named tensors. libtorch's own
// keeps its state under keys that differ between 1.13 and 2.x; here the moments are plain tensors,
// so that a checkpoint holds them by name.
#pragma once

#include <torch/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/worker_pool.h"

namespace grab {

class AdamW {
 public:
  // Decay applies to matrices and codebooks, not to norms and biases (tensors of one dimension).
  AdamW(const std::vector<std::pair<std::string, torch::Tensor>>& weights, double weight_decay);

  // One step with the gradients the weights hold, each times `gradient_scale`; they are cleared. A
  // weight without a gradient took no part in the batch and keeps its value and moments.
  void Step(double learning_rate, double gradient_scale, WorkerPool& pool);

  // Per weight, in the order given; writable for restoring. Steps are those the weight took part
  // in: one that a stage freezes is not under-corrected later.
  std::vector<int64_t>& steps() { return steps_; }
  std::vector<torch::Tensor>& first_moments() { return first_; }
  std::vector<torch::Tensor>& second_moments() { return second_; }

 private:
  void UpdateWeight(size_t i, double learning_rate, double gradient_scale);

  std::vector<std::pair<std::string, torch::Tensor>> weights_;
  double weight_decay_;
  std::vector<int64_t> steps_;
  std::vector<torch::Tensor> first_, second_;
};

// The joint norm of the gradients that the weights hold.
double GradientNorm(const std::vector<std::pair<std::string, torch::Tensor>>& weights,
                    WorkerPool& pool);

// What brings gradients of that norm to at most `norm_max` (0: leaves them).
double ClipFactor(double norm, double norm_max);

}  // namespace grab
