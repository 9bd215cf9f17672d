// An open-loop load generator: requests leave when they are due, however the server does, and
// latency counts from when they were due.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/status.h"
#include "client/connection.h"
#include "client/load_mix.h"

namespace grab {

struct LoadOptions {
  double ranks_per_s = 100.0;  // Poisson arrivals
  double observes_per_s = 0.0;
  double warm_s = 2.0;  // before what is measured
  double seconds = 10.0;
  double timeout_s = 1.0;  // of a call
  int connections = 2;
  size_t in_flight_max = 4096;  // what would be more is counted as not sent
  uint64_t seed = 1;
};

// Calls of one kind that were due while it was measured.
struct CallStats {
  uint64_t due = 0;
  uint64_t ok = 0;
  uint64_t refused = 0;   // RESOURCE_EXHAUSTED
  uint64_t expired = 0;   // DEADLINE_EXCEEDED
  uint64_t failed = 0;    // anything else
  uint64_t not_sent = 0;  // too many under way
  double p50_ms = 0.0, p90_ms = 0.0, p99_ms = 0.0, p999_ms = 0.0, max_ms = 0.0;  // of the OK ones
  std::string failure;                                                           // the first
};

struct LoadResult {
  CallStats rank, observe;
  uint64_t degraded = 0;        // of rank.ok
  double seconds = 0.0;         // measured
  double ok_ranks_per_s = 0.0;  // goodput
  double late_p99_ms = 0.0;     // how late requests left: the generator's own limit
};

LoadResult RunLoad(const Connection& connection, const LoadMix& mix, const LoadOptions& options);

nlohmann::json ToJson(const LoadResult& result);

}  // namespace grab
