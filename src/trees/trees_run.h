// One run of the boosted-trees baseline over prepared shards (docs/zoo.md).
#pragma once

#include <string>

#include "base/progress.h"
#include "base/status.h"
#include "config/settings.h"

namespace grab {

struct TreesOptions {
  std::string shards_dir;
  std::string out_dir;
};

// A model per task, fitted to the training targets and stopped by the validation targets. Writes
// into out_dir what a training run does: config.toml, valid_scores.csv, test_scores.csv and,
// last, metrics.json; and the trees, TASK.ubj. A folder that has a metrics.json is an
// AlreadyExists, data without training targets or without a known label of a task an
// InvalidArgument, data that does not fit into trees.memory_limit_mb a ResourceExhausted.
Status TrainTrees(const Config& config, const TreesOptions& options, Progress& progress);

}  // namespace grab
