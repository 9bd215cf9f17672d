// Who sees whom (DESIGN 3.1): the strict, user-isolated, windowed mask, as ranges.
//
// An event that is a candidate only (EventColumns::history) has no partial token: nobody sees it.
// Partial tokens of a channel are ordered by (known time, log order), so what a query sees is one
// range [begin, end) of them, and itself:
//   partial token i   begin .. i         at most window_len tokens with itself, known at most
//   window_time before it full token at r   begin .. end       the last window_len tokens with
//   known time < r, and no older than window_time
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace grab {

struct ChannelPlan {
  uint32_t actions = 0;        // an event with any of these bits is in the channel; 0: every event
  int64_t window_len = 1;      // >= 0; 0: nobody sees any history
  int64_t window_time_ms = 0;  // 0: no limit

  bool operator==(const ChannelPlan&) const = default;
};

struct KeyRange {
  uint32_t begin = 0;
  uint32_t end = 0;
};

// The partial tokens of one user in one channel.
struct ChannelTimeline {
  std::vector<uint32_t> events;        // ascending indices of the user's events
  std::vector<int64_t> known_time_ms;  // of each, ascending
};

// History of partial token `i` of the timeline, itself excluded: end == i.
KeyRange PartialHistory(const ChannelPlan& plan, const ChannelTimeline& timeline, uint32_t i);

// History of a candidate requested at `request_time_ms` when nothing known at or after
// `history_until_ms` counts.
KeyRange FullHistory(const ChannelPlan& plan, const ChannelTimeline& timeline,
                     int64_t request_time_ms,
                     int64_t history_until_ms = std::numeric_limits<int64_t>::max());

// First partial token whose state can reach a query that sees from `begin` on, through `layers`
// layers.
uint32_t ReachBegin(const ChannelPlan& plan, const ChannelTimeline& timeline, uint32_t begin,
                    int layers);

}  // namespace grab
