#include "serve/precision_check.h"

#include <cmath>

#include "absl/strings/str_format.h"
#include "base/check.h"
#include "eval/metrics.h"
#include "eval/score_split.h"
#include "serve/replay.h"

namespace grab {
namespace {

StatusOr<Metrics> TaskMetrics(const ScoreTable& scores, size_t task) {
  const TaskScores of_task = ScoresOf(scores, task);
  return ComputeMetrics(of_task.p, of_task.label);
}

}  // namespace

PrecisionLimits LimitsOf(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return {0.0, 0.0};
    case Precision::kBf16:
      return {1e-4, 0.005};
    case Precision::kInt8:
      return {3e-4, 0.01};
  }
  GRAB_CHECK(false);
  return {};
}

std::string PrecisionCost::ToString() const {
  if (!measured) {
    return absl::StrCat(task, ": not measured, the split has no labels of both classes");
  }
  return absl::StrFormat("%s: AUC %.6f, f32 %.6f (%+.2g); PCOC %.5f, f32 %.5f (%+.2g %%)", task,
                         auc, auc_f32, auc - auc_f32, pcoc, pcoc_f32,
                         pcoc_f32 == 0.0 ? 0.0 : 100.0 * (pcoc / pcoc_f32 - 1.0));
}

StatusOr<ScoreTable> ScoreThroughEngine(const Model& model, Precision precision,
                                        const ShardSet& shards, const EvalConfig& config,
                                        Split split, Progress& progress) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<PackedModel> packed,
                        PackedModel::Create(model, precision));
  return ScoreThroughEngine(*packed, shards, config, split, progress);
}

StatusOr<ScoreTable> ScoreThroughEngine(const PackedModel& packed, const ShardSet& shards,
                                        const EvalConfig& config, Split split, Progress& progress) {
  std::unique_ptr<KvCache> cache;
  if (!packed.spec().channels.empty()) {
    const size_t bytes = Engine::BytesOfOneUser(packed);  // users come one after the other
    GRAB_ASSIGN_OR_RETURN(cache, KvCache::Create(Engine::CacheOptions(packed, bytes)));
  }
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                        Engine::Create(packed, /*version=*/0, cache.get()));
  return ScoreSplitByUser(
      shards, packed.spec(), config, {split, false},
      [&](const UserBlock& block, uint32_t user, const std::vector<uint32_t>& targets,
          float* logits) { return ReplayUser(*engine, block, user, targets, logits); },
      progress);
}

StatusOr<std::vector<PrecisionCost>> ComparePrecision(Precision precision, const ScoreTable& f32,
                                                      const ScoreTable& other) {
  GRAB_CHECK(f32.event_id == other.event_id && f32.tasks == other.tasks);
  const PrecisionLimits limits = LimitsOf(precision);
  std::vector<PrecisionCost> costs;
  bool measured = false;
  for (size_t t = 0; t < f32.tasks.size(); ++t) {
    GRAB_ASSIGN_OR_RETURN(const Metrics before, TaskMetrics(f32, t));
    GRAB_ASSIGN_OR_RETURN(const Metrics after, TaskMetrics(other, t));
    PrecisionCost cost = {f32.tasks[t],
                          before.auc.value_or(0.0),
                          after.auc.value_or(0.0),
                          before.pcoc.value_or(0.0),
                          after.pcoc.value_or(0.0),
                          true,
                          before.auc.has_value()};
    cost.within = std::abs(cost.auc - cost.auc_f32) <= limits.auc &&
                  std::abs(cost.pcoc - cost.pcoc_f32) <= limits.pcoc_relative * cost.pcoc_f32;
    measured = measured || cost.measured;
    costs.push_back(cost);
  }
  if (!measured) {
    return absl::InvalidArgumentError(
        "the split has no task with both classes: the cost of a precision cannot be measured");
  }
  return costs;
}

}  // namespace grab
