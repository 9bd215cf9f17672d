// Parts of a net that only training has: their weights stand beside the model's in a checkpoint and
// are in no export.
#pragma once

#include <torch/types.h>

#include <vector>

#include "config/settings.h"
#include "train/batch_parts.h"
#include "train/net.h"

namespace grab {

// The weights that `config` adds to a net of `spec`:
//   base.I               the head of a DLRM on the candidate's token, with a dual loss
//   sparse.tokenizer.*, sparse.head.I    the aggregate-and-score head, with stages
//   next.state, next.item                projections to where states and items meet, to pre-train
std::vector<WeightSpec> HeadWeights(const ModelSpec& spec, const TrainConfig& config);

// Logits [full rows, tasks] of the base head. full [full rows, d_model]: NetOutputs::full.
torch::Tensor BaseLogits(const Net& net, const torch::Tensor& full);

// Logits [full rows, tasks] of the aggregate-and-score head (GRAB Algorithm 1, stage II): the
// embeddings of the candidate beside, per channel, the mean embedding of the history that it sees
// and of the part of it that has an action, through a GateMLP and an MLP.
torch::Tensor SparseLogits(const Net& net, const BatchPart& part,
                           const std::vector<torch::Tensor>& rows);

}  // namespace grab
