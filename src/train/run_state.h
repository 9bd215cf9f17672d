// Everything a training run is, and its checkpoint (docs/formats/checkpoint.md): restoring one
// continues bit for bit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "embedding/table.h"
#include "model/spec.h"
#include "train/adamw.h"
#include "train/dual_loss.h"
#include "train/net.h"

namespace grab {

// Where a run stands. Batches and seeds follow from it.
struct RunCounters {
  int64_t step = 0;                       // optimiser steps
  int64_t pass = 0;                       // passes begun, from 0
  int64_t slice = 0;                      // of the current pass, from 0 (train/slices.h)
  int64_t stage = 0;                      // of the current slice, from 0 (train/stage.h)
  int64_t batches_in_stage = 0;           // trained
  int64_t targets_in_pass = 0;            // that trained the model
  int64_t table_targets_in_pass = 0;      // that trained the tables
  int64_t validations_in_pass = 0;        // in stages that train the model
  int64_t table_validations_in_pass = 0;  // in the others
  int64_t targets = 0;                    // that trained the model, all passes
  int64_t table_targets = 0;              // that trained the tables, all passes
  int64_t tokens = 0;                     // trained, all passes
  double train_seconds = 0.0;             // spent in steps
  double wait_seconds = 0.0;              // spent waiting for batches
  double best_logloss =
      0.0;  // of the main task on the validation targets; meaningless while best_step is 0
  int64_t best_step = 0;
  int64_t worse_validations = 0;  // since the best
  int64_t newest_request_s = 0;   // the clock of the tables: of the requests trained
  bool finished = false;          // passes done or stopped early
  int64_t warmup_targets = 0;     // over which a following run's rates rise; 0: not known yet
  int64_t threads = 0;            // workers of the steps so far; another number rounds differently
  DualLossState dual_loss;
};

struct RunState {
  // `spec` must outlive it.
  RunState(const ModelSpec& spec, const TrainConfig& config);

  Net net;
  std::vector<EmbeddingTable> tables;
  AdamW optimiser;
  RunCounters counters;
};

// Writes `state` as a checkpoint of its step under `dir` and removes all but the newest `kept`. One
// that is already there is the same state, or stands before what takes no step; false: it stays.
StatusOr<bool> SaveRunState(RunState& state, const ModelSpec& spec, const std::string& dir,
                            int64_t kept);

// Restores the newest usable checkpoint under `dir`; its model spec must equal `spec`. `skipped`:
// why newer ones, which are damaged, were passed over.
Status LoadRunState(const std::string& dir, const ModelSpec& spec, const TrainConfig& config,
                    RunState& state, std::vector<std::string>& skipped);

}  // namespace grab
