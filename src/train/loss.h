#pragma once

#include <torch/torch.h>

#include <vector>

#include "batch/batch.h"

namespace grab {

// Weighted sum over tasks of the mean binary cross-entropy over the rows whose label is known; a
// task without one contributes nothing. logits [rows, tasks]; weights [tasks].
torch::Tensor ClickLoss(const torch::Tensor& logits, const Batch& batch,
                        const std::vector<double>& weights);

}  // namespace grab
