// Our training step on a packed batch, as the trainer runs it: the one place to change when that
// changes.
#pragma once

#include <vector>

#include "bench/world.h"
#include "embedding/lookup.h"
#include "train/adamw.h"
#include "train/data_parallel.h"
#include "train/net.h"

namespace grab::bench {

constexpr double kDenseRate = 1e-3;
constexpr double kWeightDecay = 0.01;
constexpr double kClipNorm = 1.0;

class OursTrainStep {
 public:
  // `world` and `batch` must outlive it.
  OursTrainStep(const World& world, const Batch& batch, int threads,
                Precision precision = Precision::kF32);

  // Look-up, forward, loss, backward, and both updates. Returns the loss.
  double Step();

 private:
  const Batch& batch_;
  std::vector<EmbeddingTable> tables_;
  Lookup lookup_;
  Net net_;
  const TrainConfig config_;
  const std::vector<double> task_weights_ = {1.0};
  Objectives objectives_;
  DataParallel workers_;
  AdamW optimiser_;
};

}  // namespace grab::bench
