// A prepared log sent through a running server as it was lived: every event observed when it became
// known, every target of a split ranked at its request.
#pragma once

#include <cstdint>
#include <vector>

#include "base/progress.h"
#include "base/status.h"
#include "client/connection.h"
#include "config/settings.h"
#include "data/shard.h"
#include "eval/scores.h"
#include "model/spec.h"

namespace grab {

struct ReplayOptions {
  Split split = Split::kTest;
  int connections = 4;           // users are dealt out to them; each sends its own in time order
  int observe_events_max = 256;  // of one call
  double timeout_s = 60.0;       // of one call
  int retries = 20;              // of a call that is refused past capacity
};

struct ReplayCounts {
  uint64_t observed = 0;  // events sent
  uint64_t stored = 0, duplicates = 0, too_old = 0;
  uint64_t ranked = 0;         // candidates
  uint64_t rank_requests = 0;  // a user's targets of one time
  uint64_t degraded = 0;       // answers from a shorter history
  uint64_t retried = 0;
  double seconds = 0.0;
};

struct ReplayResult {
  ScoreTable scores;  // as offline evaluation makes them
  ReplayCounts counts;
};

// All shards are held in memory. `spec` is of the model that serves. Events of after the split's
// last request are not sent. The server must not know of the log's future: its users start empty,
// or were replayed before.
StatusOr<ReplayResult> ReplayLog(Connection& connection, const ShardSet& shards,
                                 const ModelSpec& spec, const EvalConfig& config,
                                 const ReplayOptions& options, Progress& progress);

}  // namespace grab
