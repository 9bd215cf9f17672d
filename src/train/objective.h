// What a step minimises: the terms that a stage and the config ask for, as one function of a part
// of a batch whose losses over the parts add up to the batch's.
#pragma once

#include <torch/types.h>

#include <functional>
#include <optional>
#include <vector>

#include "config/settings.h"
#include "train/batch_parts.h"
#include "train/net.h"
#include "train/next_item.h"
#include "train/stage.h"

namespace grab {

struct PartLoss {
  torch::Tensor total;  // what is minimised
  torch::Tensor main;   // of it, the stage's own loss: of the labels, or of the next item
};

using Objective = std::function<PartLoss(const Net& net, const BatchPart& part,
                                         const std::vector<torch::Tensor>& rows)>;

// Logits [full rows, tasks] of a part.
using PartForward = std::function<torch::Tensor(const Net& net, const BatchPart& part,
                                                const std::vector<torch::Tensor>& rows)>;

// The model's own logits, and those of the head that trains the tables in Stage::kSparse.
PartForward LogitsOf(Stage stage);

class Objectives {
 public:
  // All arguments must outlive it. `popularity`: for the next-item objective, else nullptr.
  Objectives(const ModelSpec& spec, const TrainConfig& config,
             const std::vector<double>& task_weights, const ItemPopularity* popularity);

  // Of one batch; `base_weight`: of the base head's loss now; `seed`: of the step.
  Objective Of(Stage stage, const Batch& batch, const BatchLookup& lookup, double base_weight,
               uint64_t seed) const;

 private:
  Objective NextItem(const Batch& batch, const BatchLookup& lookup, uint64_t seed) const;

  const ModelSpec& spec_;
  const TrainConfig& config_;
  const std::vector<double>& task_weights_;
  const ItemPopularity* popularity_;
};

}  // namespace grab
