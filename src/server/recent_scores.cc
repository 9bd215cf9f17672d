#include "server/recent_scores.h"

#include <algorithm>
#include <bit>

#include "base/hash.h"

namespace grab {

RecentScores::RecentScores(size_t slots, size_t tasks)
    : tasks_(tasks),
      keys_(std::bit_ceil(std::max<size_t>(1, slots)), 0),
      probabilities_(keys_.size() * tasks) {}

uint64_t RecentScores::KeyOf(uint64_t user_key, absl::string_view item_id,
                             int64_t request_time_ms) {
  return HashCombine(HashCombine(user_key, HashId(item_id)),
                     static_cast<uint64_t>(request_time_ms));
}

void RecentScores::Add(uint64_t key, absl::Span<const float> probabilities) {
  const size_t slot = key & (keys_.size() - 1);
  const std::scoped_lock lock(mutex_);
  keys_[slot] = key;
  std::copy(probabilities.begin(), probabilities.end(),
            probabilities_.begin() + static_cast<ptrdiff_t>(slot * tasks_));
}

bool RecentScores::Find(uint64_t key, absl::Span<float> probabilities) const {
  const size_t slot = key & (keys_.size() - 1);
  const std::scoped_lock lock(mutex_);
  if (keys_[slot] != key) return false;
  std::copy_n(probabilities_.begin() + static_cast<ptrdiff_t>(slot * tasks_), tasks_,
              probabilities.begin());
  return true;
}

}  // namespace grab
