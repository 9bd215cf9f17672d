// From keys to the places of their rows in 4 bytes a slot: the slot holds a place and as many bits
// of the key's hash as are left; the key itself is compared in the row, which whoever looks it up
// reads anyway. Linear probing, at most .8 full.
//
// Places count from 0 without gaps; the first few may be unindexed: found by no key.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "embedding/page_memory.h"

namespace grab {

class KeyIndex {
 public:
  static constexpr uint32_t kNowhere = ~0u;
  static constexpr uint32_t kSizeMax = 1u << 25;
  // Of index per row, just after it doubled.
  static constexpr double kBytesPerRowMax = 10.0;

  void Prefetch(uint64_t hash) const {
    if (bits_ > 0) __builtin_prefetch(slots() + Home(hash));
  }

  // The first place whose slot fits `hash`: the key's, if it has one, but for a collision; kNowhere
  // if the key has none.
  uint32_t Guess(uint64_t hash) const {
    return Find(hash, [](uint32_t) { return true; });
  }
  // The place p that fits `hash` and of which is_key(p) holds, kNowhere if there is none.
  template <class IsKey>
  uint32_t Find(uint64_t hash, const IsKey& is_key) const {
    if (bits_ == 0) return kNowhere;
    for (uint32_t at = Home(hash); slots()[at] != 0; at = Next(at)) {
      const uint32_t place = (slots()[at] & Mask()) - 1;
      if (slots()[at] == Slot(hash, place) && is_key(place)) return place;
    }
    return kNowhere;
  }

  // Adds `place`, of a key that has none; the places from `begin` to it are in the index.
  // `hash_of` gives the hash of the key at a place.
  template <class HashOf>
  void Insert(uint64_t hash, uint32_t place, uint32_t begin, const HashOf& hash_of) {
    if ((static_cast<uint64_t>(place) + 1) * 5 > static_cast<uint64_t>(Capacity()) * 4) {
      Double(begin, place, hash_of);
    }
    Put(hash, place);
  }

  // Removes `place`; slots behind it move up, so that no marks are left.
  template <class HashOf>
  void Erase(uint64_t hash, uint32_t place, const HashOf& hash_of) {
    uint32_t hole = SlotOf(hash, place);
    for (uint32_t at = Next(hole); slots()[at] != 0; at = Next(at)) {
      const uint32_t home = Home(hash_of((slots()[at] & Mask()) - 1));
      // How far the entry is from its home, and from the hole: it may move up to the hole only if
      // that is not before its home.
      if (((at - home) & Mask()) >= ((at - hole) & Mask())) {
        slots()[hole] = slots()[at];
        hole = at;
      }
    }
    slots()[hole] = 0;
  }

  // The key at place `from` moves to place `to`.
  void Rename(uint64_t hash, uint32_t from, uint32_t to) {
    slots()[SlotOf(hash, from)] = Slot(hash, to);
  }

 private:
  static constexpr uint32_t kBitsMin = 4;

  uint32_t* slots() const { return reinterpret_cast<uint32_t*>(memory_.data()); }
  uint32_t Capacity() const { return bits_ == 0 ? 0 : 1u << bits_; }
  uint32_t Mask() const { return (1u << bits_) - 1; }
  uint32_t Home(uint64_t hash) const { return static_cast<uint32_t>(hash >> (64 - bits_)); }
  uint32_t Next(uint32_t at) const { return (at + 1) & Mask(); }
  // Bits of the hash that neither Home nor a table's choice of partition (table.h) uses.
  uint32_t Slot(uint64_t hash, uint32_t place) const {
    return static_cast<uint32_t>(hash >> 6) << bits_ | (place + 1);
  }

  uint32_t SlotOf(uint64_t hash, uint32_t place) const {
    uint32_t at = Home(hash);
    while (slots()[at] != Slot(hash, place)) {
      GRAB_CHECK(slots()[at] != 0);
      at = Next(at);
    }
    return at;
  }

  void Put(uint64_t hash, uint32_t place) {
    uint32_t at = Home(hash);
    while (slots()[at] != 0) at = Next(at);
    slots()[at] = Slot(hash, place);
  }

  template <class HashOf>
  void Double(uint32_t begin, uint32_t end, const HashOf& hash_of) {
    GRAB_CHECK(end < kSizeMax);
    memory_ = PageMemory();
    bits_ = bits_ == 0 ? kBitsMin : bits_ + 1;
    memory_.Grow(sizeof(uint32_t) << bits_);
    for (uint32_t place = begin; place < end; ++place) Put(hash_of(place), place);
  }

  PageMemory memory_;
  uint32_t bits_ = 0;  // of the number of slots; 0: no slots yet
};

}  // namespace grab
