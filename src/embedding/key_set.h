// The distinct keys of a batch in the order of their first appearance, and how often each came.
#pragma once

#include <cstdint>
#include <vector>

#include "base/rng.h"

namespace grab {

class KeySet {
 public:
  // The place of `key` among the distinct ones.
  uint32_t Add(uint64_t key) {
    if (keys_.size() * 2 >= slots_.size()) Grow();
    uint32_t& slot = SlotOf(key);
    if (slot == 0) {
      keys_.push_back(key);
      counts_.push_back(0);
      slot = static_cast<uint32_t>(keys_.size());
    }
    ++counts_[slot - 1];
    return slot - 1;
  }
  // Ahead of Add, so that cache misses overlap.
  void Prefetch(uint64_t key) const {
    if (!slots_.empty()) __builtin_prefetch(&slots_[Home(key)], 1);
  }

  const std::vector<uint64_t>& keys() const { return keys_; }
  const std::vector<uint32_t>& counts() const { return counts_; }  // per distinct key

  // Keeps its memory for the next batch.
  void Clear();

 private:
  size_t Home(uint64_t key) const { return Mix64(key) & (slots_.size() - 1); }
  uint32_t& SlotOf(uint64_t key) {
    size_t at = Home(key);
    while (slots_[at] != 0 && keys_[slots_[at] - 1] != key) at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
  }
  void Grow();

  std::vector<uint64_t> keys_;
  std::vector<uint32_t> counts_;
  std::vector<uint32_t> slots_;  // place + 1, 0 for none; a power of two, at most half full
};

}  // namespace grab
