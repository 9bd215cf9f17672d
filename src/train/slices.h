// The training targets of a pass cut by request time: a pass walks the log forward, and both stages
// of a slice end before the next one begins, so that the model of a slice reads tables that have
// not seen its labels, as in production (DESIGN 4, "STS").
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "data/shard.h"

namespace grab {

struct Slice {
  Split split = Split::kTrain;
  int64_t from_ms = 0;  // request times [from_ms, to_ms)
  int64_t to_ms = 0;
  int64_t targets = 0;  // > 0
};

// The targets of `split` cut by request time, counted from the first; slices without any are left
// out. Reads every block once. More than kSlicesMax is an InvalidArgument.
StatusOr<std::vector<Slice>> CutTargets(const ShardSet& shards, Split split, double slice_s);

// A year of hours has 8,760.
inline constexpr int64_t kSlicesMax = 100'000;

// The slices of the training targets of `config` (its from, until, mode and slice_s) that hold any,
// in order and counted from the first target; one slice without stages or with slice_s 0. Reads
// every block once unless that is all targets in one slice. No target at all is an InvalidArgument.
StatusOr<std::vector<Slice>> PlanSlices(const ShardSet& shards, const TrainConfig& config);

}  // namespace grab
