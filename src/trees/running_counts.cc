#include "trees/running_counts.h"

#include <algorithm>
#include <numeric>

#include "absl/types/span.h"
#include "base/check.h"
#include "data/target_rule.h"

namespace grab {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kNever = std::numeric_limits<int64_t>::min();
constexpr float kMsPerS = 1000.0f;

// Events in the order of a time, each taken once.
class Queue {
 public:
  explicit Queue(std::vector<int64_t> time_ms) : time_ms_(std::move(time_ms)) {
    order_.resize(time_ms_.size());
    std::iota(order_.begin(), order_.end(), 0u);
    std::sort(order_.begin(), order_.end(),
              [&](uint32_t a, uint32_t b) { return time_ms_[a] < time_ms_[b]; });
  }

  // Passes every event of a time before `until_ms` to `take`.
  template <class F>
  void TakeBefore(int64_t until_ms, const F& take) {
    for (; next_ < order_.size() && time_ms_[order_[next_]] < until_ms; ++next_) {
      take(order_[next_]);
    }
  }

 private:
  std::vector<int64_t> time_ms_;  // per event
  std::vector<uint32_t> order_;
  size_t next_ = 0;
};

// Outcomes of one delay, which are final together.
struct Group {
  int64_t delay_s = 0;
  std::vector<size_t> outcomes;
};

// The first is without delay: exposures count with it.
std::vector<Group> GroupsOf(const FeaturePlan& plan) {
  std::vector<Group> groups = {{0, {}}};
  for (size_t outcome = 0; outcome < plan.outcomes.size(); ++outcome) {
    const int64_t delay_s = plan.outcomes[outcome].delay_s;
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const Group& known) { return known.delay_s == delay_s; });
    if (group == groups.end()) group = groups.insert(group, {delay_s, {}});
    group->outcomes.push_back(outcome);
  }
  return groups;
}

Queue QueueOf(const EventLog& log, const Group& group) {
  std::vector<int64_t> final_ms(log.size());
  for (size_t i = 0; i < log.size(); ++i) {
    final_ms[i] = LabelFinalMs(log.request_time_ms[i], log.known_time_ms[i], group.delay_s);
  }
  return Queue(std::move(final_ms));
}

class Counts {
 public:
  Counts(const EventLog& log, const FeaturePlan& plan)
      : log_(log),
        plan_(plan),
        stride_(1 + 2 * plan.outcomes.size()),
        last_ms_(log.cells[0].count, kNever),
        all_(stride_, 0) {
    for (const EventLog::Cells& cells : log.cells) {
      counts_.emplace_back(cells.count * stride_, 0);
    }
  }

  // What of `event` is final by the group's delay.
  void Add(uint32_t event, const Group& group) {
    if (log_.history[event] == 0) return;
    added_.clear();
    if (group.delay_s == 0) {
      added_.push_back(0);
      last_ms_[log_.cells[0].cells[event]] = log_.known_time_ms[event];
    }
    for (const size_t outcome : group.outcomes) {
      if ((log_.outcomes_known[event] >> outcome & 1) == 0) continue;
      added_.push_back(1 + 2 * outcome);
      if ((log_.outcomes[event] >> outcome & 1) != 0) added_.push_back(2 + 2 * outcome);
    }
    for (const size_t i : added_) ++all_[i];
    for (size_t c = 0; c < counts_.size(); ++c) {
      for (const uint32_t cell : CellsOf(c, event)) {
        if (cell == kNoCell) continue;
        for (const size_t i : added_) ++counts_[c][cell * stride_ + i];
      }
    }
  }

  // [plan.columns()].
  void Write(uint32_t event, float* out) const {
    std::vector<uint64_t> sum(stride_);
    for (size_t c = 0; c < counts_.size(); ++c) {
      std::fill(sum.begin(), sum.end(), 0);
      bool missing = true;
      for (const uint32_t cell : CellsOf(c, event)) {
        if (cell == kNoCell) continue;
        missing = false;
        for (size_t i = 0; i < stride_; ++i) sum[i] += counts_[c][cell * stride_ + i];
      }
      *out++ = missing ? kMissing : static_cast<float>(sum[0]);
      for (size_t outcome = 0; outcome < plan_.outcomes.size(); ++outcome) {
        *out++ = missing ? kMissing : static_cast<float>(sum[2 + 2 * outcome]);
        *out++ = missing ? kMissing : Rate(sum, outcome);
      }
    }
    for (const std::vector<float>& numbers : log_.numbers) *out++ = numbers[event];
    const int64_t last_ms = last_ms_[log_.cells[0].cells[event]];
    *out = last_ms == kNever ? kMissing
                             : static_cast<float>(log_.request_time_ms[event] - last_ms) / kMsPerS;
  }

 private:
  absl::Span<const uint32_t> CellsOf(size_t counter, uint32_t event) const {
    const EventLog::Cells& cells = log_.cells[counter];
    if (!plan_.counters[counter].ids) return {&cells.cells[event], 1};
    return absl::MakeConstSpan(cells.cells)
        .subspan(cells.offsets[event], cells.offsets[event + 1] - cells.offsets[event]);
  }

  float Rate(const std::vector<uint64_t>& sum, size_t outcome) const {
    // Of all events; one positive of two before there are any.
    const double prior = (static_cast<double>(all_[2 + 2 * outcome]) + 1.0) /
                         (static_cast<double>(all_[1 + 2 * outcome]) + 2.0);
    return static_cast<float>(
        (static_cast<double>(sum[2 + 2 * outcome]) + plan_.smoothing * prior) /
        (static_cast<double>(sum[1 + 2 * outcome]) + plan_.smoothing));
  }

  const EventLog& log_;
  const FeaturePlan& plan_;
  const size_t stride_;                        // exposures, then per outcome: known, positive
  std::vector<std::vector<uint32_t>> counts_;  // per counter [cells][stride]
  std::vector<int64_t> last_ms_;               // per user: its newest known time, or kNever
  std::vector<uint64_t> all_;                  // [stride] over all events
  std::vector<size_t> added_;                  // places in the stride of the event at hand
};

}  // namespace

double CountBytes(const EventLog& log, const FeaturePlan& plan) {
  double cells = 0.0;
  for (const EventLog::Cells& counter : log.cells) cells += counter.count;
  const double counts =
      cells * static_cast<double>(sizeof(uint32_t) * (1 + 2 * plan.outcomes.size()));
  const double queues = static_cast<double>(log.size()) *
                        static_cast<double>(GroupsOf(plan).size()) *
                        (sizeof(int64_t) + sizeof(uint32_t));
  return counts + queues + log.cells[0].count * static_cast<double>(sizeof(int64_t));
}

std::vector<float> RunningFeatures(const EventLog& log, const FeaturePlan& plan,
                                   const std::vector<uint32_t>& targets, int64_t until_ms) {
  Counts counts(log, plan);
  const std::vector<Group> groups = GroupsOf(plan);
  std::vector<Queue> queues;
  for (const Group& group : groups) queues.push_back(QueueOf(log, group));
  std::vector<size_t> rows(targets.size());
  std::iota(rows.begin(), rows.end(), size_t{0});
  std::sort(rows.begin(), rows.end(), [&](size_t a, size_t b) {
    return log.request_time_ms[targets[a]] < log.request_time_ms[targets[b]];
  });
  std::vector<float> features(targets.size() * plan.columns());
  for (const size_t row : rows) {
    GRAB_CHECK(targets[row] < log.size());
    const int64_t time_ms = std::min(log.request_time_ms[targets[row]], until_ms);
    for (size_t g = 0; g < groups.size(); ++g) {
      queues[g].TakeBefore(time_ms, [&](uint32_t event) { counts.Add(event, groups[g]); });
    }
    counts.Write(targets[row], &features[row * plan.columns()]);
  }
  return features;
}

}  // namespace grab
