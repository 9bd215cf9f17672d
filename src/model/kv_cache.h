// Cached keys and values of users' histories, or what they are made from: per user and channel one
// sequence of pages, a page holding 64 consecutive keys of all layers, in one block of memory whose
// size never changes.
//
// Keys of a sequence have absolute indices, counted from the user's first event in the channel; a
// page begins at a multiple of 64. Pages that no query can see any more are given back from the
// front.
//
// State belongs to a (model version, user): another version never finds it. When pages or entries
// run out, the least recently used users that nobody pinned are evicted whole. After construction
// nothing is allocated and nothing moves. Thread-compatible: one thread at a time, but that any
// thread may read a user that it keeps pinned, with its sequences and pages, and unpin it, while
// another changes other users.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "hwy/aligned_allocator.h"

namespace grab {

inline constexpr int64_t kPageKeys = 64;

struct KvCacheOptions {
  size_t bytes_max = 0;   // of pages, entries and index together
  size_t page_bytes = 0;  // what one page holds for its caller: 64 keys of one channel, all layers
  size_t channels = 0;    // >= 1
};

struct KvCacheStats {
  size_t bytes_max = 0;  // taken at construction
  size_t bytes = 0;      // of pages in use
  uint64_t users = 0;
  uint64_t hits = 0;  // of Find
  uint64_t misses = 0;
  uint64_t evictions = 0;  // of users
};

// One channel of a user. Keys [first, keys) are cached.
struct KvSequence {
  int64_t first = 0;  // a multiple of 64
  int64_t keys = 0;
  int64_t last_released_ms = 0;  // known time of key first - 1, if first > 0
  uint32_t front_page = 0;
  uint32_t back_page = 0;
  uint32_t pages = 0;
};

struct KvUser {
  uint64_t version = 0;
  uint64_t user = 0;
  uint64_t events = 0;          // appended, whatever channel they are in
  int64_t newest_known_ms = 0;  // of the last event, if events > 0
  uint32_t pins = 0;
  // The cache's own.
  uint32_t newer = 0, older = 0, next_in_bucket = 0;
};

class KvCache {
 public:
  // Takes bytes_max of memory, which must hold two pages at least (InvalidArgument).
  static StatusOr<std::unique_ptr<KvCache>> Create(const KvCacheOptions& options);

  // What a page takes of the budget, its share of entries and index included.
  static size_t BytesPerPage(const KvCacheOptions& options);

  // Null if not cached; otherwise the user becomes the most recently used. Counted as a hit or a
  // miss. Pointers stay valid until the user is erased or evicted.
  KvUser* Find(uint64_t version, uint64_t user);
  // As Find, uncounted, and the order of use stays.
  KvUser* Peek(uint64_t version, uint64_t user);
  void Touch(KvUser* user);  // makes it the most recently used
  // A user that is not cached, with empty sequences. ResourceExhausted if every entry is pinned.
  StatusOr<KvUser*> Add(uint64_t version, uint64_t user);
  void Erase(KvUser* user);  // not while pinned

  // A pinned user is never evicted.
  static void Pin(KvUser* user);
  static void Unpin(KvUser* user);
  static uint32_t Pins(const KvUser* user);  // what the thread that unpinned has read is behind it

  KvSequence& sequence(const KvUser* user, size_t channel);
  const KvSequence& sequence(const KvUser* user, size_t channel) const;

  // Gives the sequence pages for keys up to `keys`, zeroed; evicts others for them, never `user`.
  // ResourceExhausted if that is not enough; pages it got until then stay with the sequence.
  Status Reserve(KvUser* user, size_t channel, int64_t keys);
  // Gives back pages that lie wholly before key `first`.
  void Release(KvUser* user, size_t channel, int64_t first);

  // Walks a sequence: page of its first cached key, and of the next ones.
  uint32_t Next(uint32_t page) const { return next_page_[page]; }
  uint8_t* Data(uint32_t page) const { return memory_.get() + page * page_stride_; }
  int64_t* KnownTimes(uint32_t page) {  // [64] ms
    return known_ms_.data() + static_cast<size_t>(page) * kPageKeys;
  }

  size_t channels() const { return options_.channels; }
  size_t page_bytes() const { return options_.page_bytes; }
  size_t pages() const { return next_page_.size(); }
  KvCacheStats Stats() const;

 private:
  static constexpr uint32_t kNone = 0xFFFFFFFFu;

  KvCache(const KvCacheOptions& options, size_t pages, size_t page_stride);
  uint32_t Index(const KvUser* user) const { return static_cast<uint32_t>(user - entries_.data()); }
  uint32_t& Bucket(uint64_t version, uint64_t user);
  uint32_t FindIndex(uint64_t version, uint64_t user) const;
  void Unlink(KvUser* user);
  void LinkNewest(KvUser* user);
  bool EvictOne(const KvUser* keep);
  uint32_t TakePage(const KvUser* keep);  // kNone if there is none

  KvCacheOptions options_;
  size_t page_stride_;
  hwy::AlignedFreeUniquePtr<uint8_t[]> memory_;  // [pages, page_stride]
  std::vector<int64_t> known_ms_;                // [pages, 64]
  std::vector<uint32_t> next_page_;              // [pages], of a sequence or of the free list
  std::vector<KvUser> entries_;
  std::vector<KvSequence> sequences_;  // [entries, channels]
  std::vector<uint32_t> buckets_;      // a power of two; first entry of each chain
  uint32_t free_page_ = 0;
  uint32_t free_entry_ = 0;
  uint32_t newest_ = kNone, oldest_ = kNone;
  KvCacheStats stats_;
};

}  // namespace grab
