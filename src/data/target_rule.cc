#include "data/target_rule.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "config/config.h"

namespace grab {
StatusOr<TargetRule::SplitTimes> TargetRule::ParseSplitTimes(const SplitConfig& config) {
  SplitTimes times;
  const std::pair<const char*, const std::string*> given[] = {{"train_from", &config.train_from},
                                                              {"valid_from", &config.valid_from},
                                                              {"test_from", &config.test_from},
                                                              {"end", &config.end}};
  int64_t* const parsed[] = {&times.train_from_ms, &times.valid_from_ms, &times.test_from_ms,
                             &times.end_ms};
  for (size_t i = 0; i < std::size(given); ++i) {
    const StatusOr<int64_t> time_ms = ParseTimeMs(*given[i].second);
    if (!time_ms.ok()) {
      return Annotate(time_ms.status(), absl::StrCat("[split] ", given[i].first));
    }
    *parsed[i] = *time_ms;
    if (i > 0 && *parsed[i] < *parsed[i - 1]) {
      return absl::InvalidArgumentError(
          absl::StrCat("[split] ", given[i].first, " lies before ", given[i - 1].first));
    }
  }
  return times;
}

StatusOr<TargetRule> TargetRule::Create(const Config& config,
                                        const std::optional<TimeRange>& pass) {
  GRAB_CHECK(config.tasks.size() <= kTasksMax);
  TargetRule rule;
  for (const TaskConfig& task : config.tasks) rule.delay_s_.push_back(task.delay_s);
  if (pass.has_value()) {
    rule.pass_ = pass;
    return rule;
  }
  const SplitConfig& split = config.split;
  const std::string* const times[] = {&split.train_from, &split.valid_from, &split.test_from,
                                      &split.end};
  if (std::any_of(std::begin(times), std::end(times), [](auto* text) { return !text->empty(); })) {
    GRAB_ASSIGN_OR_RETURN(rule.split_times_, ParseSplitTimes(split));
  }
  return rule;
}

Split TargetRule::SplitOf(int64_t request_time_ms) const {
  if (pass_.has_value()) return Split::kTrain;
  if (!split_times_.has_value() || request_time_ms < split_times_->train_from_ms ||
      request_time_ms >= split_times_->end_ms) {
    return Split::kContext;
  }
  if (request_time_ms < split_times_->valid_from_ms) return Split::kTrain;
  return request_time_ms < split_times_->test_from_ms ? Split::kValid : Split::kTest;
}

Split TargetRule::SplitAs(Split given) const {
  return pass_.has_value() && given != Split::kContext ? Split::kTrain : given;
}

uint32_t TargetRule::LabelsThatCount(Split split, int64_t request_time_ms,
                                     int64_t known_time_ms) const {
  uint32_t labels = 0;
  for (size_t t = 0; t < delay_s_.size(); ++t) {
    const int64_t final_ms = LabelFinalMs(request_time_ms, known_time_ms, delay_s_[t]);
    bool counts = true;
    if (pass_.has_value()) {
      counts = pass_->Contains(final_ms);
    } else if (delay_s_[t] > 0 && split_times_.has_value()) {
      counts =
          final_ms < (split == Split::kTrain ? split_times_->valid_from_ms : split_times_->end_ms);
    }
    if (counts) labels |= uint32_t{1} << t;
  }
  return labels;
}

}  // namespace grab
