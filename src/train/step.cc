#include "train/step.h"

#include <cmath>

#include "base/clock.h"
#include "base/hash.h"
#include "embedding/maintain.h"
#include "train/sparse.h"
#include "train/tensor_memory.h"

namespace grab {
namespace {

// The rows of a batch, for the message of a step that went wrong.
std::string DescribeBatch(const Batch& batch) {
  std::string text = absl::StrCat(batch.full.rows, " full and ", batch.partial.rows,
                                  " partial tokens, first events");
  for (size_t i = 0; i < std::min<size_t>(batch.event_id.size(), 5); ++i) {
    absl::StrAppend(&text, " ", absl::Hex(batch.event_id[i]), " (user ",
                    absl::Hex(batch.user_key[i]), ")");
  }
  return text;
}

}  // namespace

StepRunner::StepRunner(const ModelSpec& spec, const TrainConfig& config,
                       const std::vector<double>& task_weights, const ItemPopularity* popularity,
                       RunState& state, int threads, Precision precision)
    : config_(config),
      state_(state),
      objectives_(spec, config, task_weights, popularity),
      lookup_(spec.tokens),
      workers_(spec, state.net, threads, precision) {}

BatchLookup StepRunner::LookUp(Stage stage, const Batch& batch) {
  LookupOptions options;
  options.id_dropout = config_.id_dropout;
  options.seed =
      HashCombine(static_cast<uint64_t>(config_.seed), static_cast<uint64_t>(state_.counters.step));
  options.now_s = ClockSeconds(state_.counters.newest_request_s);
  options.tables_bytes_max = static_cast<uint64_t>(config_.tables_bytes_max);
  options.read_values = true;
  options.pool = &workers_.pool();
  return TrainsTables(stage) ? lookup_.FindOrInsert(batch, options, state_.tables)
                             : lookup_.Find(batch, state_.tables, options);
}

StatusOr<StepResult> StepRunner::Step(Stage stage, const Batch& batch, const RateFactors& rates) {
  const RunCounters& counters = state_.counters;
  Stopwatch watch;
  // Seconds since the last call.
  const auto lap = [&watch] {
    const double seconds = watch.Seconds();
    watch.Restart();
    return seconds;
  };
  for (const int64_t request_ms : batch.request_time_ms) {
    state_.counters.newest_request_s =
        std::max(state_.counters.newest_request_s, request_ms / 1000);
  }
  const BatchLookup lookup = LookUp(stage, batch);
  ResetTensorMemoryPeak();
  const int64_t before = ReadTensorMemory().in_use;
  const std::vector<torch::Tensor> rows =
      GatherRows(state_.tables, lookup, TrainsTables(stage), torch::kFloat32, &workers_.pool());
  seconds_.look_up += lap();
  const Objective objective = objectives_.Of(
      stage, batch, lookup, DualLossWeight(config_.dual_loss, counters.dual_loss, counters.targets),
      HashCombine(static_cast<uint64_t>(config_.seed), static_cast<uint64_t>(counters.step)));
  StepResult result;
  result.loss = workers_.Backward(batch, lookup, rows, objective);
  seconds_.forward += result.loss.forward_seconds;
  seconds_.backward += lap() - result.loss.forward_seconds;
  result.gradient_norm = GradientNorm(state_.net.weights(), workers_.pool());
  if (!std::isfinite(result.loss.total) || !std::isfinite(result.gradient_norm)) {
    return absl::DataLossError(absl::StrCat(
        "step ", counters.step, ", pass ", counters.pass, ", batch ", counters.batches_in_stage,
        " of the ", StageName(stage), " stage: loss is ", result.loss.total, ", gradient norm ",
        result.gradient_norm, "; batch: ", DescribeBatch(batch),
        ". Nothing was updated; lower the learning rates or check the numbers of these events"));
  }
  state_.optimiser.Step(config_.dense_lr * rates.dense,
                        ClipFactor(result.gradient_norm, config_.clip_norm), workers_.pool());
  seconds_.dense_update += lap();
  if (TrainsTables(stage)) {
    UpdateRows(lookup, rows, rates.tables, state_.tables, workers_.pool());
    MaintainTables(ClockSeconds(counters.newest_request_s),
                   static_cast<uint64_t>(config_.tables_bytes_max), state_.tables,
                   &workers_.pool());
  }
  seconds_.table_update += lap();
  Count(stage, batch, result.loss);
  step_peak_bytes_ = std::max(step_peak_bytes_, ReadTensorMemory().peak - before);
  return result;
}

void StepRunner::Count(Stage stage, const Batch& batch, const BatchLoss& loss) {
  RunCounters& counters = state_.counters;
  const int64_t targets = batch.full.rows;
  counters.step += 1;
  counters.batches_in_stage += 1;
  counters.tokens += static_cast<int64_t>(batch.tokens());
  if (TrainsTables(stage)) {
    counters.table_targets += targets;
    counters.table_targets_in_pass += targets;
  }
  if (!TrainsModel(stage)) return;
  counters.targets += targets;
  counters.targets_in_pass += targets;
  ObserveLoss(config_.dual_loss, loss.main, targets, counters.targets, counters.dual_loss);
}

std::vector<float> StepRunner::Logits(Stage stage, const Batch& batch) {
  LookupOptions options;
  options.read_values = true;
  options.pool = &workers_.pool();
  const BatchLookup lookup = lookup_.Find(batch, state_.tables, options);
  return workers_.Logits(batch, lookup,
                         GatherRows(state_.tables, lookup, false, torch::kFloat32, options.pool),
                         LogitsOf(stage));
}

}  // namespace grab
