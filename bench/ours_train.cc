#include "bench/ours_train.h"

#include "train/loss.h"
#include "train/sparse.h"

namespace grab::bench {

OursTrainStep::OursTrainStep(const World& world, const Batch& batch)
    : batch_(batch),
      tables_(MakeTables(world, SparseOptimiser::kAdagrad)),
      lookup_(world.spec.tokens),
      net_(world.spec, kSeed),
      optimiser_(net_.weights(), kWeightDecay) {}

double OursTrainStep::Step() {
  const BatchLookup lookup = lookup_.FindOrInsert(batch_, 0.0, kSeed, tables_);
  const std::vector<torch::Tensor> rows = GatherRows(tables_, lookup, true);
  const torch::Tensor loss = ClickLoss(net_.Forward(batch_, lookup, rows), batch_, {1.0});
  const double value = loss.item<double>();
  loss.backward();
  ClipGradients(net_.weights(), kClipNorm);
  optimiser_.Step(kDenseRate);
  UpdateRows(lookup, rows, kTableRate, tables_);
  return value;
}

}  // namespace grab::bench
