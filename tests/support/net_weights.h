// One packed batch of all targets of a random block, and a training net with the weights of a
// served model.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "support/random_model.h"
#include "train/net.h"

namespace grab::testing {

inline void CopyWeights(const Model& model, const Net& net) {
  torch::NoGradGuard no_grad;
  for (const auto& [name, weight] : net.weights()) {
    const std::vector<float>& from = model.weights.at(name);
    torch::Tensor to = weight;
    to.copy_(torch::tensor(from).reshape(weight.sizes()));
  }
}

}  // namespace grab::testing
