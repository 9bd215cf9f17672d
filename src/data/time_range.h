#pragma once

#include <cstdint>

namespace grab {

// The end of year 9999: no event is later.
inline constexpr int64_t kTimeMaxMs = 253402300799999;

// [from_ms, to_ms) in Unix ms.
struct TimeRange {
  int64_t from_ms = 0;
  int64_t to_ms = 0;

  bool Contains(int64_t time_ms) const { return from_ms <= time_ms && time_ms < to_ms; }
  bool operator==(const TimeRange&) const = default;
};

}  // namespace grab
