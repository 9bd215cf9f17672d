// Whether a model may be served in a low precision: what it costs on a validation split.
#pragma once

#include <string>
#include <vector>

#include "base/progress.h"
#include "config/settings.h"
#include "data/shard.h"
#include "eval/scores.h"
#include "model/packed_model.h"

namespace grab {

// Largest differences to f32 that a precision may show.
struct PrecisionLimits {
  double auc = 0.0;            // |AUC - AUC of f32|
  double pcoc_relative = 0.0;  // |PCOC / PCOC of f32 - 1|
};
PrecisionLimits LimitsOf(Precision precision);

// Of one task; a metric that the split does not define is left at 0.
struct PrecisionCost {
  std::string task;
  double auc_f32 = 0.0, auc = 0.0;
  double pcoc_f32 = 0.0, pcoc = 0.0;
  bool within = false;           // the limits, as far as they are measured
  bool measured = false;         // the split has both classes of the task
  std::string ToString() const;  // one line
};

// Scores of a split through the serving engine, timelines replayed.
StatusOr<ScoreTable> ScoreThroughEngine(const Model& model, Precision precision,
                                        const ShardSet& shards, const EvalConfig& config,
                                        Split split, Progress& progress);

// The same by a model that is packed.
StatusOr<ScoreTable> ScoreThroughEngine(const PackedModel& packed, const ShardSet& shards,
                                        const EvalConfig& config, Split split, Progress& progress);

// Compares two score tables of the same targets. InvalidArgument if no task has both classes.
StatusOr<std::vector<PrecisionCost>> ComparePrecision(Precision precision, const ScoreTable& f32,
                                                      const ScoreTable& other);

}  // namespace grab
