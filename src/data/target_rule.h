// Which events are scoring targets, and which of their labels count.
//
// The label of a task is final at max(known time, request time + the task's delay). What counts:
//   by split           a target's every known label, except a delayed one that is not yet final
//                      where the next part of the data begins: for training targets
//                      split.valid_from, for all others split.end
//   by pass [from, to) the labels that become final in it. So over passes that tile time every
//                      (event, task) counts exactly once, and never before it is final.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "data/time_range.h"
#include "data/timeline.h"

namespace grab {

// When the label of a task of that delay is final.
inline int64_t LabelFinalMs(int64_t request_time_ms, int64_t known_time_ms, int64_t delay_s) {
  constexpr int64_t kMsPerS = 1000;
  return std::max(known_time_ms, request_time_ms + delay_s * kMsPerS);
}

class TargetRule {
 public:
  // By split without `pass`. Errors: InvalidArgument for times of [split] that are missing, do not
  // parse or do not ascend.
  static StatusOr<TargetRule> Create(const Config& config, const std::optional<TimeRange>& pass);

  bool by_pass() const { return pass_.has_value(); }

  // The split of an event whose [[events]] has no split expression. By pass every event may be a
  // target (kTrain); without [split] none may.
  Split SplitOf(int64_t request_time_ms) const;

  // The split of an event whose split expression says `given`: by pass, where there is one part
  // only, every part is kTrain.
  Split SplitAs(Split given) const;

  // Bit t is set where the label of task t counts, if it is known.
  uint32_t LabelsThatCount(Split split, int64_t request_time_ms, int64_t known_time_ms) const;

 private:
  struct SplitTimes {
    int64_t train_from_ms = 0, valid_from_ms = 0, test_from_ms = 0, end_ms = 0;
  };
  static StatusOr<SplitTimes> ParseSplitTimes(const SplitConfig& config);

  std::optional<TimeRange> pass_;
  std::optional<SplitTimes> split_times_;
  std::vector<int64_t> delay_s_;  // per task
};

}  // namespace grab
