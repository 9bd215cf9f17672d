// Memory that a step may take, asked for before it is taken.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace grab {

class MemoryBudget {
 public:
  explicit MemoryBudget(int64_t limit_mb) : limit_(static_cast<uint64_t>(limit_mb) << 20) {}

  // ResourceExhausted when `bytes` more are over the limit. A double: a product cannot overflow.
  Status Take(double bytes, absl::string_view what) {
    taken_ += bytes;
    if (taken_ <= static_cast<double>(limit_)) return absl::OkStatus();
    constexpr double kMb = 1 << 20;
    return absl::ResourceExhaustedError(
        absl::StrCat(what, ": ", static_cast<int64_t>(taken_ / kMb) + 1,
                     " MB are needed, trees.memory_limit_mb allows ", limit_ >> 20));
  }
  void GiveBack(double bytes) { taken_ -= bytes; }

 private:
  uint64_t limit_;
  double taken_ = 0.0;
};

}  // namespace grab
