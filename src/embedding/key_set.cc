#include "embedding/key_set.h"

#include <algorithm>

namespace grab {

void KeySet::Clear() {
  keys_.clear();
  counts_.clear();
  std::fill(slots_.begin(), slots_.end(), 0u);
}

void KeySet::Grow() {
  constexpr size_t kSlotsMin = 64;
  slots_.assign(std::max(kSlotsMin, slots_.size() * 2), 0u);
  for (uint32_t place = 0; place < keys_.size(); ++place) SlotOf(keys_[place]) = place + 1;
}

}  // namespace grab
