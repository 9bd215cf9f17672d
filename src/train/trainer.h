// Trains one model on prepared shards in the stages of its mode (train/stage.h): validated on the
// validation targets, checkpointed, resumable.
//
// The run folder:
//   config.toml      the effective config            spec.json      the model (model/spec.h)
//   log.jsonl        a line per start, logged step, validation and checkpoint
//   checkpoints/     the newest ones                 best/          the best validation's, or the
//                                                                   last one
//   warm_start.json  what a warm start took          metrics.json, test_scores.csv,
//                                                    valid_scores.csv   evaluation of the best
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
  bool resume = false;     // continue from the newest checkpoint of out_dir
  std::string warm_start;  // run or checkpoint folder that a new run starts from; empty: cold
  int64_t steps_max = 0;  // stop after this many steps of this call, with a checkpoint; 0: no limit
};

// Without `resume` a folder that already holds a run is refused.
Status Train(const Config& config, const TrainOptions& options, Progress& progress);

}  // namespace grab
