// All events of a data set, in shard order, with what counting needs of them: times, labels, and
// the keys of each counter as numbers from 0, its cells.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/status.h"
#include "data/shard.h"
#include "trees/feature_plan.h"
#include "trees/memory_budget.h"

namespace grab {

inline constexpr uint32_t kNoCell = ~0u;

// Columns over n events.
struct EventLog {
  // The keys of one counter.
  struct Cells {
    std::vector<uint32_t> offsets;  // of ids: n + 1, into cells
    std::vector<uint32_t> cells;    // n, kNoCell = missing; of ids: all, an event's without repeats
    uint32_t count = 0;             // cells are below it
  };

  std::vector<int64_t> request_time_ms;
  std::vector<int64_t> known_time_ms;
  std::vector<Split> split;
  std::vector<uint8_t> history;    // 0: a candidate only, which is not counted
  std::vector<uint64_t> outcomes;  // bits in the plan's order: labels of the tasks, then actions
  std::vector<uint64_t> outcomes_known;
  std::vector<Cells> cells;                 // per counter of the plan
  std::vector<std::vector<float>> numbers;  // per number field of the plan, NaN = missing

  size_t size() const { return request_time_ms.size(); }
};

// Reads block by block. `memory` covers the log and the maps from keys to cells, not the one
// decoded block (at most kBlockBytesMax): what a block adds by new keys and lists is seen after it
// is read.
StatusOr<EventLog> LoadEventLog(const ShardSet& shards, const FeaturePlan& plan,
                                MemoryBudget& memory, Progress& progress);

}  // namespace grab
