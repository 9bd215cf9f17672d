// HSTU (Zhai et al., ICML 2024, arXiv 2402.17152, section 3): layers of pointwise attention, gated
// by the token itself, with a relative bias of position and time. On the packed rows of GRAB: an
// event is one token with its feedback, a candidate one without (docs/zoo.md).
#pragma once

#include <torch/types.h>

#include "batch/batch.h"
#include "kernels/matmul.h"
#include "model/spec.h"
#include "train/net_weights.h"

namespace grab {

// The candidates' states after the last layer [full rows, d].
//   full [full rows, d], partial [partial rows, d]: tokens
torch::Tensor Hstu(const ModelSpec& spec, const NetWeights& w, Precision precision,
                   const Batch& batch, const torch::Tensor& full, const torch::Tensor& partial);

}  // namespace grab
