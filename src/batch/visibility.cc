#include "batch/visibility.h"

#include <algorithm>

namespace grab {
namespace {

// First index in [begin, end) known no longer than the window before `time_ms`.
uint32_t AfterTimeLimit(const ChannelPlan& plan, const ChannelTimeline& timeline, int64_t time_ms,
                        uint32_t begin, uint32_t end) {
  if (plan.window_time_ms == 0) return begin;
  const auto first = timeline.known_time_ms.begin();
  return static_cast<uint32_t>(
      std::lower_bound(first + begin, first + end, time_ms - plan.window_time_ms) - first);
}

uint32_t LengthLimit(uint32_t end, int64_t tokens) {
  return end > tokens ? end - static_cast<uint32_t>(tokens) : 0;
}

}  // namespace

KeyRange PartialHistory(const ChannelPlan& plan, const ChannelTimeline& timeline, uint32_t i) {
  const uint32_t begin = LengthLimit(i, std::max<int64_t>(0, plan.window_len - 1));
  return {AfterTimeLimit(plan, timeline, timeline.known_time_ms[i], begin, i), i};
}

KeyRange FullHistory(const ChannelPlan& plan, const ChannelTimeline& timeline,
                     int64_t request_time_ms, int64_t history_until_ms) {
  const auto first = timeline.known_time_ms.begin();
  const auto end =
      static_cast<uint32_t>(std::lower_bound(first, timeline.known_time_ms.end(),
                                             std::min(request_time_ms, history_until_ms)) -
                            first);
  const uint32_t begin = LengthLimit(end, plan.window_len);
  return {AfterTimeLimit(plan, timeline, request_time_ms, begin, end), end};
}

uint32_t ReachBegin(const ChannelPlan& plan, const ChannelTimeline& timeline, uint32_t begin,
                    int layers) {
  for (int layer = 1; layer < layers && begin < timeline.events.size(); ++layer) {
    begin = PartialHistory(plan, timeline, begin).begin;
  }
  return begin;
}

}  // namespace grab
