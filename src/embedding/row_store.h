// Rows of fixed size with their keys, found by key: the part of a table that one thread at a time
// may change. Rows lie without holes: erasing one moves the last row into its place.
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "embedding/key_index.h"
#include "embedding/page_memory.h"

namespace grab {

class RowStore {
 public:
  static constexpr uint32_t kNowhere = KeyIndex::kNowhere;
  static constexpr uint32_t kRowsMax = KeyIndex::kSizeMax;

  // Rows of `stride` bytes, a multiple of 8, the first 8 of which are the key.
  explicit RowStore(uint32_t stride) : stride_(stride) {}

  static uint64_t Hash(uint64_t key) { return Mix64(key); }

  uint32_t size() const { return size_; }
  std::byte* row(uint32_t place) const {
    return rows_.data() + static_cast<size_t>(place) * stride_;
  }
  uint64_t key(uint32_t place) const { return *reinterpret_cast<const uint64_t*>(row(place)); }

  // Find in three steps, for whoever overlaps the cache misses of many: the slot, the row that the
  // slot names, the key in it. `guess` is what Guess gave.
  void PrefetchSlot(uint64_t hash) const { index_.Prefetch(hash); }
  uint32_t Guess(uint64_t hash) const {
    const uint32_t guess = index_.Guess(hash);
    if (guess != kNowhere) __builtin_prefetch(row(guess), 1);
    return guess;
  }
  uint32_t FindGuessed(uint64_t hash, uint64_t key, uint32_t guess) const {
    return guess == kNowhere || this->key(guess) == key ? guess : Find(hash, key);
  }
  // The place of `key`, kNowhere if it has none.
  uint32_t Find(uint64_t hash, uint64_t key) const {
    return index_.Find(hash, [&](uint32_t place) { return this->key(place) == key; });
  }

  // A row for a key that has none, zero but for the key; its place, which is the old size().
  uint32_t Insert(uint64_t hash, uint64_t key);
  // The last row comes to stand at `place`. A pinned row (see Pin) is never erased.
  void Erase(uint32_t place);
  // A first row of key 0 that Find never finds.
  void Pin();

 private:
  uint64_t HashAt(uint32_t place) const { return Hash(key(place)); }
  uint32_t Append(uint64_t key);

  uint32_t stride_;
  uint32_t size_ = 0;
  uint32_t pinned_ = 0;  // rows that the index does not hold: 0 or 1, the first
  PageMemory rows_;
  KeyIndex index_;
};

}  // namespace grab
