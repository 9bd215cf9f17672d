// kill -9 of a server under load, again and again: what it acknowledged must be there, once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/schema.h"

namespace grab::bench {

struct ObserveKillOptions {
  std::string binary;     // grab-serve
  std::string model_dir;  // of `schema`
  Schema schema;
  std::string work_dir;  // exists; gets the state and the log
  int kills = 30;
  double run_s_max = 0.5;  // of the instants, drawn between 0 and this after it serves
  int clients = 4;         // each observes events of its own, one call after the other, and ranks
  uint64_t seed = 1;
};

struct ObserveKillResult {
  int kills = 0;
  uint64_t acknowledged = 0;  // events
  uint64_t unanswered = 0;    // calls that a kill cut off; their events were sent again
  uint64_t lost = 0;          // acknowledged events that are not stored
  uint64_t duplicates = 0;    // events that are stored more than once
  std::vector<double> restart_s;
};

// Errors: a server that does not start, a store that cannot be read.
StatusOr<ObserveKillResult> KillWhileObserving(const ObserveKillOptions& options);

}  // namespace grab::bench
