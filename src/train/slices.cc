#include "train/slices.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "batch/stream.h"
#include "config/config.h"
#include "train/stage.h"

namespace grab {
namespace {

constexpr int64_t kEarliest = std::numeric_limits<int64_t>::min();
constexpr int64_t kLatest = std::numeric_limits<int64_t>::max();

StatusOr<int64_t> TimeOr(const std::string& text, int64_t otherwise) {
  if (text.empty()) return otherwise;
  return ParseTimeMs(text);
}

// Request times of the targets of `split` in [from_ms, until_ms), ascending.
StatusOr<std::vector<int64_t>> TargetTimes(const ShardSet& shards, Split split, int64_t from_ms,
                                           int64_t until_ms) {
  std::vector<int64_t> times_ms;
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    if (shards.info(ref).targets[static_cast<size_t>(split)] == 0) continue;
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref, split));
    for (const int64_t time_ms : block.events.request_time_ms) {
      if (time_ms >= from_ms && time_ms < until_ms) times_ms.push_back(time_ms);
    }
  }
  std::sort(times_ms.begin(), times_ms.end());
  return times_ms;
}

// Slices of ascending `times_ms`, of `slice_s` seconds from the first.
StatusOr<std::vector<Slice>> Cut(const std::vector<int64_t>& times_ms, Split split,
                                 double slice_s) {
  const int64_t slice_ms = std::max<int64_t>(1, std::llround(slice_s * 1000.0));
  std::vector<Slice> slices;
  for (size_t i = 0; i < times_ms.size();) {
    const int64_t begin_ms = times_ms[0] + (times_ms[i] - times_ms[0]) / slice_ms * slice_ms;
    const int64_t end_ms = begin_ms + slice_ms;
    const auto end = std::lower_bound(times_ms.begin(), times_ms.end(), end_ms);
    const auto next = static_cast<size_t>(end - times_ms.begin());
    slices.push_back({split, begin_ms, end_ms, static_cast<int64_t>(next - i)});
    i = next;
    if (slices.size() > static_cast<size_t>(kSlicesMax)) {
      return absl::InvalidArgumentError(
          absl::StrCat("train: slice_s = ", slice_s, " makes more than ", kSlicesMax, " slices"));
    }
  }
  return slices;
}

}  // namespace

StatusOr<std::vector<Slice>> CutTargets(const ShardSet& shards, Split split, double slice_s) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<int64_t> times_ms,
                        TargetTimes(shards, split, kEarliest, kLatest));
  return Cut(times_ms, split, slice_s);
}

StatusOr<std::vector<Slice>> PlanSlices(const ShardSet& shards, const TrainConfig& config) {
  GRAB_ASSIGN_OR_RETURN(const int64_t from_ms, TimeOr(config.from, kEarliest));
  GRAB_ASSIGN_OR_RETURN(const int64_t until_ms, TimeOr(config.until, kLatest));
  const bool sliced = StagesOf(config).size() > 1 && config.slice_s > 0.0;
  std::vector<Slice> slices;
  if (!sliced && from_ms == kEarliest && until_ms == kLatest) {
    slices.push_back({Split::kTrain, from_ms, until_ms,
                      static_cast<int64_t>(CountTargets(shards, Split::kTrain))});
  } else {
    GRAB_ASSIGN_OR_RETURN(const std::vector<int64_t> times_ms,
                          TargetTimes(shards, Split::kTrain, from_ms, until_ms));
    if (sliced) {
      GRAB_ASSIGN_OR_RETURN(slices, Cut(times_ms, Split::kTrain, config.slice_s));
    } else {
      slices.push_back({Split::kTrain, from_ms, until_ms, static_cast<int64_t>(times_ms.size())});
    }
  }
  if (slices.empty() || slices[0].targets == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(shards.dir(),
                     ": no training targets; check [split] or the events' split, and "
                     "train.from and until"));
  }
  return slices;
}

}  // namespace grab
