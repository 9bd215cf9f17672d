// The training targets of a pass cut by request time: a pass walks the log forward, and both stages
// of a slice end before the next one begins, so that the model of a slice reads tables that have
// not seen its labels, as in production (DESIGN 4, "STS").
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "data/shard.h"

namespace grab {

struct Slice {
  int64_t from_ms = 0;  // request times [from_ms, to_ms)
  int64_t to_ms = 0;
  int64_t targets = 0;  // > 0
};

// A year of hours has 8,760.
inline constexpr int64_t kSlicesMax = 100'000;

// The slices of the training targets that hold any, in order, each `slice_s` long and counted from
// the first target; 0: one slice. Reads every block once unless it is one slice.
StatusOr<std::vector<Slice>> PlanSlices(const ShardSet& shards, double slice_s);

}  // namespace grab
