// One request on its way through the ranker.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "data/timeline.h"
#include "ranking/user_cache.h"

namespace grab {

using SteadyTime = std::chrono::steady_clock::time_point;

inline constexpr size_t kArms = 2;  // models that answer at once

struct RankResult {
  // UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, CANCELLED or what the engine said.
  Status status;
  std::vector<float> probabilities;  // [candidates, tasks]
  std::shared_ptr<const ServedModel> model;
  HistoryKnown history;
  double queued_s = 0.0, history_s = 0.0, score_s = 0.0;  // score_s: of its whole batch
};

struct RankJob {
  uint64_t user = 0;
  EventColumns candidates;  // of the store's schema, each with its request time
  size_t arm = 0;
  SteadyTime deadline = SteadyTime::max();
  std::function<bool()> cancelled;       // may be empty
  std::function<void(RankResult)> done;  // called once, from any thread; must be quick
};

}  // namespace grab
