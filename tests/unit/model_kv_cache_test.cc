// The cache of keys and values as a container: pages, entries, eviction, pins, versions, figures.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/rng.h"
#include "model/kv_cache.h"

namespace grab {
namespace {

constexpr size_t kPageBytes = 1000;
constexpr size_t kPageStride = 1024;

// A cache of exactly `pages` pages.
std::unique_ptr<KvCache> MakeCache(size_t pages, size_t channels = 1) {
  for (size_t bytes = pages * kPageStride;; bytes += 16) {
    StatusOr<std::unique_ptr<KvCache>> cache = KvCache::Create({bytes, kPageBytes, channels});
    if (cache.ok() && (*cache)->pages() == pages) return *std::move(cache);
  }
}

TEST(KvCache, ABudgetBelowTwoPagesIsRefused) {
  const auto cache = KvCache::Create({kPageStride, kPageBytes, 1});
  EXPECT_EQ(cache.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(KvCache, TheBudgetCoversEverything) {
  for (const size_t channels : {1u, 3u}) {
    const size_t budget = 1 << 20;
    const auto cache = *KvCache::Create({budget, kPageBytes, channels});
    const size_t taken =
        cache->pages() * (kPageStride + 64 * 8 + sizeof(KvUser) + channels * sizeof(KvSequence));
    EXPECT_LE(taken, budget);
    EXPECT_GT(taken, budget * 9 / 10);
  }
}

TEST(KvCache, PagesAreZeroAndInOrder) {
  const auto cache = MakeCache(4);
  KvUser* user = *cache->Add(1, 10);
  ASSERT_TRUE(cache->Reserve(user, 0, 65).ok());
  const KvSequence& sequence = cache->sequence(user, 0);
  EXPECT_EQ(sequence.pages, 2u);
  EXPECT_EQ(cache->Stats().bytes, 2 * kPageStride);
  std::fill_n(cache->Data(sequence.front_page), kPageBytes, 0xFF);
  cache->KnownTimes(sequence.front_page)[63] = 123;
  ASSERT_TRUE(cache->Reserve(user, 0, 128).ok());  // fits already
  EXPECT_EQ(sequence.pages, 2u);

  cache->sequence(user, 0).keys = 128;
  cache->Release(user, 0, 63);  // key 63 is still needed
  EXPECT_EQ(sequence.first, 0);
  const uint32_t second = cache->Next(sequence.front_page);
  cache->Release(user, 0, 64);
  EXPECT_EQ(sequence.first, 64);
  EXPECT_EQ(sequence.last_released_ms, 123);
  EXPECT_EQ(sequence.front_page, second);
  EXPECT_EQ(cache->Stats().bytes, kPageStride);

  ASSERT_TRUE(cache->Reserve(user, 0, 64 * 5).ok());
  uint32_t page = sequence.front_page;
  for (uint32_t i = 0; i < sequence.pages; ++i, page = cache->Next(page)) {
    EXPECT_TRUE(std::all_of(cache->Data(page), cache->Data(page) + kPageBytes,
                            [](uint8_t byte) { return byte == 0; }));
  }
}

TEST(KvCache, EvictsTheLeastRecentlyUsedThatIsNotPinned) {
  const auto cache = MakeCache(3);
  for (uint64_t user = 1; user <= 3; ++user) {
    ASSERT_TRUE(cache->Reserve(*cache->Add(1, user), 0, 1).ok());
  }
  cache->Pin(cache->Peek(1, 1));
  EXPECT_NE(cache->Find(1, 2), nullptr);  // 3 is now the oldest that is not pinned
  ASSERT_TRUE(cache->Reserve(*cache->Add(1, 4), 0, 1).ok());
  EXPECT_NE(cache->Peek(1, 1), nullptr);
  EXPECT_NE(cache->Peek(1, 2), nullptr);
  EXPECT_EQ(cache->Peek(1, 3), nullptr);
  EXPECT_NE(cache->Peek(1, 4), nullptr);
  EXPECT_EQ(cache->Stats().evictions, 1u);
  EXPECT_EQ(cache->Stats().users, 3u);
}

TEST(KvCache, AUserNeverEvictsItself) {
  const auto cache = MakeCache(3);
  KvUser* user = *cache->Add(1, 1);
  ASSERT_TRUE(cache->Reserve(user, 0, 3 * 64).ok());
  EXPECT_EQ(cache->Reserve(user, 0, 3 * 64 + 1).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cache->Peek(1, 1), user);
}

TEST(KvCache, WhenAllArePinnedNothingIsTaken) {
  const auto cache = MakeCache(2);
  for (const uint64_t user : {1, 2}) {
    cache->Pin(*cache->Add(1, user));
    ASSERT_TRUE(cache->Reserve(cache->Peek(1, user), 0, 1).ok());
  }
  EXPECT_EQ(cache->Add(1, 3).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cache->Reserve(cache->Peek(1, 1), 0, 65).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cache->Stats().evictions, 0u);
}

TEST(KvCache, VersionsAreApart) {
  const auto cache = MakeCache(4);
  KvUser* old_version = *cache->Add(1, 5);
  EXPECT_EQ(cache->Find(2, 5), nullptr);
  KvUser* new_version = *cache->Add(2, 5);
  EXPECT_NE(old_version, new_version);
  EXPECT_EQ(cache->Find(1, 5), old_version);
  EXPECT_EQ(cache->Find(2, 5), new_version);
  EXPECT_EQ(cache->Stats().hits, 2u);
  EXPECT_EQ(cache->Stats().misses, 1u);
}

// Random calls against a plain model of what must be there; pages in use must add up throughout.
TEST(KvCache, RandomUseKeepsCount) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Rng rng(seed);
    const auto cache = MakeCache(12, 2);
    std::map<uint64_t, uint32_t> pins;
    for (int step = 0; step < 5000; ++step) {
      const uint64_t key = rng.Below(20);
      KvUser* user = cache->Peek(1, key);
      if (user == nullptr) {
        ASSERT_EQ(pins[key], 0u) << "a pinned user was evicted, seed " << seed;
        StatusOr<KvUser*> added = cache->Add(1, key);
        if (!added.ok()) continue;
        user = *added;
      }
      const auto channel = static_cast<size_t>(rng.Below(2));
      KvSequence& sequence = cache->sequence(user, channel);
      switch (rng.Below(5)) {
        case 0:
          if (pins[key] == 0) cache->Erase(user);
          break;
        case 1:
          if (cache->Reserve(user, channel, sequence.keys + 40).ok()) sequence.keys += 40;
          break;
        case 2:
          cache->Release(user, channel, sequence.keys - static_cast<int64_t>(rng.Below(100)));
          break;
        case 3:
          if (pins[key] == 0 && rng.Bernoulli(0.3)) {
            cache->Pin(user);
            ++pins[key];
          }
          break;
        case 4:
          if (pins[key] > 0) {
            cache->Unpin(user);
            --pins[key];
          }
          break;
      }
      size_t pages = 0, users = 0;
      for (uint64_t k = 0; k < 20; ++k) {
        const KvUser* there = cache->Peek(1, k);
        if (there == nullptr) continue;
        ++users;
        for (size_t c = 0; c < 2; ++c) pages += cache->sequence(there, c).pages;
      }
      ASSERT_EQ(cache->Stats().bytes, pages * kPageStride);
      ASSERT_EQ(cache->Stats().users, users);
    }
    EXPECT_GT(cache->Stats().evictions, 10u);
  }
}

}  // namespace
}  // namespace grab
