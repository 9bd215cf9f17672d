// Trains one model on prepared shards, end to end: all parameters on packed users (or shuffled
// impressions for a model without history), validated on the validation targets, checkpointed,
// resumable.
//
// The run folder:
//   config.toml      the effective config            spec.json      the model (model/spec.h)
//   log.jsonl        a line per start, logged step, validation and checkpoint
//   checkpoints/     the newest ones                 best/          the best validation's, or the
//   last one metrics.json, test_scores.csv, valid_scores.csv  evaluation of the best
#pragma once

#include <cstdint>
#include <string>

#include "base/progress.h"
#include "base/status.h"
#include "config/settings.h"
#include "model/spec.h"

namespace grab {

struct TrainOptions {
  ModelKind kind = ModelKind::kGrab;
  std::string shards_dir;
  std::string out_dir;
  bool resume = false;    // continue from the newest checkpoint of out_dir
  int64_t steps_max = 0;  // stop after this many steps of this call, with a checkpoint; 0: no limit
};

// Without `resume` a folder that already holds a run is refused.
Status Train(const Config& config, const TrainOptions& options, Progress& progress);

}  // namespace grab
