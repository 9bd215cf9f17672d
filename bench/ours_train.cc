#include "bench/ours_train.h"

#include "train/sparse.h"

namespace grab::bench {

OursTrainStep::OursTrainStep(const World& world, const Batch& batch, int threads,
                             Precision precision)
    : batch_(batch),
      tables_(MakeTables(world, SparseOptimiser::kAdagrad)),
      lookup_(world.spec.tokens),
      net_(world.spec, kSeed),
      objectives_(world.spec, config_, task_weights_, nullptr),
      workers_(world.spec, net_, threads, precision),
      optimiser_(net_.weights(), kWeightDecay) {}

double OursTrainStep::Step() {
  LookupOptions options;
  options.read_values = true;
  options.pool = &workers_.pool();
  const BatchLookup lookup = lookup_.FindOrInsert(batch_, options, tables_);
  const std::vector<torch::Tensor> rows =
      GatherRows(tables_, lookup, true, torch::kFloat32, options.pool);
  const Objective objective = objectives_.Of(Stage::kJoint, batch_, lookup, 0.0, kSeed);
  const double value = workers_.Backward(batch_, lookup, rows, objective).total;
  const double norm = GradientNorm(net_.weights(), workers_.pool());
  optimiser_.Step(kDenseRate, ClipFactor(norm, kClipNorm), workers_.pool());
  UpdateRows(lookup, rows, 1.0, tables_, workers_.pool());
  return value;
}

}  // namespace grab::bench
