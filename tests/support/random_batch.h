// One packed batch of all targets of a random block, and a training net with the weights of a
// served model.
#pragma once

#include <torch/torch.h>

#include "support/random_model.h"
#include "train/net.h"

namespace grab::testing {

inline Batch PackAll(const ModelSpec& spec, const UserBlock& block) {
  const BatchBuilder builder = *BatchBuilder::Create(spec.tokens, spec.Plan());
  Batch batch = builder.Empty();
  for (uint32_t user = 0; user < block.users(); ++user) {
    const uint32_t begin = block.user_offsets[user], end = block.user_offsets[user + 1];
    std::vector<uint32_t> targets;
    for (uint32_t i = begin; i < end; ++i) {
      if (block.events.split[i] == Split::kTrain) targets.push_back(i);
    }
    std::vector<TargetGroup> groups;
    builder.Plan(block, user, begin, end, targets, 1 << 20, groups);
    for (const TargetGroup& group : groups) builder.Append(block, group, batch);
  }
  return batch;
}

inline void CopyWeights(const Model& model, const Net& net) {
  torch::NoGradGuard no_grad;
  for (const auto& [name, weight] : net.weights()) {
    const std::vector<float>& from = model.weights.at(name);
    torch::Tensor to = weight;
    to.copy_(torch::tensor(from).reshape(weight.sizes()));
  }
}

}  // namespace grab::testing
