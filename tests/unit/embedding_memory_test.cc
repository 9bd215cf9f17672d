// What tables are built of: memory that grows, an index from keys to places, a sketch of counts.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/rng.h"
#include "embedding/count_sketch.h"
#include "embedding/key_set.h"
#include "embedding/page_memory.h"
#include "embedding/row_store.h"

namespace grab {
namespace {

// From a few bytes over the heap's largest block and a huge page to 40 MB: what was written stays,
// what is new is zero.
TEST(PageMemory, KeepsItsBytesAndAddsZeros) {
  PageMemory memory;
  size_t written = 0;
  for (size_t bytes = 8; bytes < 40'000'000; bytes = bytes * 3 + 8) {
    memory.Grow(bytes);
    ASSERT_GE(memory.bytes(), bytes);
    for (size_t i = 0; i < written; i += 997) {
      ASSERT_EQ(memory.data()[i], std::byte(i % 251)) << bytes;
    }
    for (size_t i = written; i < memory.bytes(); ++i) {
      ASSERT_EQ(memory.data()[i], std::byte(0)) << bytes << " at " << i;
      memory.data()[i] = std::byte(i % 251);
    }
    written = memory.bytes();
  }
  PageMemory other(std::move(memory));
  EXPECT_EQ(memory.data(), nullptr);
  EXPECT_EQ(other.data()[1], std::byte(1));
}

// 60,000 random insertions, erasures and look-ups over 3,000 keys against std::map. Rows carry
// their key twice, so that a row that moved to the wrong place shows.
TEST(RowStore, IsAMapWhateverIsErased) {
  RowStore store(16);
  store.Pin();
  std::map<uint64_t, uint64_t> expected;
  Rng rng(3);
  const auto payload = [&](uint32_t place) -> uint64_t& {
    return reinterpret_cast<uint64_t*>(store.row(place))[1];
  };
  for (int i = 0; i < 60000; ++i) {
    // Waves: mostly insertions, then mostly erasures.
    const bool insert = rng.Bernoulli(i / 10000 % 2 == 0 ? 0.8 : 0.2);
    const uint64_t key = 1 + rng.Below(3000);
    const uint32_t place = store.Find(RowStore::Hash(key), key);
    ASSERT_EQ(place != RowStore::kNowhere, expected.contains(key));
    if (insert && place == RowStore::kNowhere) {
      payload(store.Insert(RowStore::Hash(key), key)) = expected[key] = rng.Next();
    } else if (!insert && place != RowStore::kNowhere) {
      store.Erase(place);
      expected.erase(key);
    }
    ASSERT_EQ(store.size(), expected.size() + 1);
  }
  ASSERT_GT(expected.size(), 100u);
  for (const auto& [key, value] : expected) {
    const uint32_t place = store.Find(RowStore::Hash(key), key);
    ASSERT_NE(place, RowStore::kNowhere);
    EXPECT_EQ(payload(place), value);
  }
  EXPECT_EQ(store.key(0), 0u);
}

// A sketch with far too few counters for its keys, so that nearly all collide: a count is never
// below the true one.
TEST(CountSketch, NeverCountsTooLittle) {
  for (const uint64_t counters : {64u, 1000u, 100000u}) {
    CountSketch sketch(counters);
    std::map<uint64_t, uint32_t> exact;
    Rng rng(counters);
    uint64_t over = 0;
    const uint64_t additions = std::min<uint64_t>(8 * counters - 1, 5000);  // before it halves
    for (uint64_t i = 0; i < additions; ++i) {
      const uint64_t key = rng.Below(500);
      const auto occurrences = static_cast<uint32_t>(1 + rng.Below(3));
      const uint32_t expected = std::min(255u, exact[key] += occurrences);
      const uint32_t count = sketch.Add(Mix64(key), occurrences);
      ASSERT_GE(count, expected);
      over += count > expected ? 1 : 0;
    }
    // 500 keys in 100,000 counters: a key is overestimated only if all 4 of its counters are
    // shared, which has probability (4 * 500 / 100000)^4.
    EXPECT_EQ(over > 0, counters < 100000);
  }
}

TEST(CountSketch, HalvesAndSaturates) {
  CountSketch sketch(64);
  EXPECT_EQ(sketch.Add(1, 1000), 255u);
  EXPECT_EQ(sketch.Add(1, 1), 255u);
  for (int i = 2; i < 8 * 64 - 1; ++i) sketch.Add(1, 1);
  EXPECT_EQ(sketch.additions(), 8 * 64 - 1u);
  EXPECT_EQ(sketch.Add(1, 1), 255u);
  EXPECT_EQ(sketch.additions(), 0u);
  EXPECT_EQ(sketch.Add(1, 1), 128u);
}

TEST(KeySet, CountsInOrderOfFirstAppearance) {
  KeySet set;
  Rng rng(9);
  for (int batch = 0; batch < 3; ++batch) {
    set.Clear();
    std::vector<uint64_t> order;
    std::map<uint64_t, uint32_t> counts;
    for (int i = 0; i < 5000; ++i) {
      const uint64_t key = rng.Below(700);  // 0 is a key like any other
      if (counts[key]++ == 0) order.push_back(key);
      ASSERT_EQ(order[set.Add(key)], key);
    }
    EXPECT_EQ(set.keys(), order);
    for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(set.counts()[i], counts[order[i]]);
  }
}

}  // namespace
}  // namespace grab
