#include "train/slices.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "batch/stream.h"

namespace grab {

StatusOr<std::vector<Slice>> PlanSlices(const ShardSet& shards, double slice_s) {
  constexpr int64_t kAlways = std::numeric_limits<int64_t>::max();
  if (slice_s == 0.0) {
    return std::vector<Slice>{{std::numeric_limits<int64_t>::min(), kAlways,
                               static_cast<int64_t>(CountTargets(shards, Split::kTrain))}};
  }
  std::vector<int64_t> times_ms;
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    for (size_t i = 0; i < block.events.size(); ++i) {
      if (block.events.split[i] == Split::kTrain) {
        times_ms.push_back(block.events.request_time_ms[i]);
      }
    }
  }
  std::sort(times_ms.begin(), times_ms.end());
  std::vector<Slice> slices;
  const int64_t slice_ms = std::llround(slice_s * 1000.0);
  for (size_t i = 0; i < times_ms.size();) {
    const int64_t from_ms = times_ms[0] + (times_ms[i] - times_ms[0]) / slice_ms * slice_ms;
    const auto end =
        std::lower_bound(times_ms.begin(), times_ms.end(), from_ms + slice_ms) - times_ms.begin();
    slices.push_back({from_ms, from_ms + slice_ms, end - static_cast<int64_t>(i)});
    i = static_cast<size_t>(end);
  }
  if (slices.size() > static_cast<size_t>(kSlicesMax)) {
    return absl::InvalidArgumentError(absl::StrCat("train.slice_s = ", slice_s, " makes ",
                                                   slices.size(), " slices, at most ", kSlicesMax));
  }
  return slices;
}

}  // namespace grab
