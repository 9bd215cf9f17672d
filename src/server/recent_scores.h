// Newest predictions, kept until their labels come: what the live PCOC is made of.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grab {

// Thread-safe. One slot per key modulo the number of slots: an older prediction makes way.
class RecentScores {
 public:
  // `slots` is rounded up to a power of two; memory is slots * (8 + 4 * tasks) bytes.
  RecentScores(size_t slots, size_t tasks);

  static uint64_t KeyOf(uint64_t user_key, absl::string_view item_id, int64_t request_time_ms);

  void Add(uint64_t key, absl::Span<const float> probabilities);  // [tasks]
  // Copies what was added; false: it is gone, or never was.
  bool Find(uint64_t key, absl::Span<float> probabilities) const;

 private:
  mutable std::mutex mutex_;
  size_t tasks_;
  std::vector<uint64_t> keys_;        // 0: empty
  std::vector<float> probabilities_;  // [slots, tasks]
};

}  // namespace grab
