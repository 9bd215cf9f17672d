#pragma once

#include <torch/types.h>

#include <vector>

#include "batch/batch.h"

namespace grab {

// Per task the weight of one row whose label is known, so that the loss of a batch is the weighted
// sum over tasks of the mean binary cross-entropy over those rows; 0 for a task without one.
// `weights`: per task.
std::vector<double> RowWeights(const Batch& batch, const std::vector<double>& weights);

// Sum over rows and tasks of the binary cross-entropy of known labels, each times its task's row
// weight. The losses of the parts of a batch, with the row weights of the whole, add up to the
// batch's. logits [rows, tasks].
torch::Tensor LabelLoss(const torch::Tensor& logits, const Batch& batch,
                        const std::vector<double>& row_weights);

}  // namespace grab
