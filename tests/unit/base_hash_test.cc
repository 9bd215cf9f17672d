// Keys go into shards and checkpoints, so their values are part of the formats.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <set>
#include <string>

#include "base/hash.h"

namespace grab {
namespace {

// Fixed values, printed once by libxxhash 0.8.1; the first is also XXH3's published value of the
// empty input. A change of hash or of seed would orphan every shard and table.
TEST(HashTest, IsUnseededXxh3) {
  EXPECT_EQ(HashId(absl::string_view("")), 0x2d06800538d394c2ULL);
  EXPECT_EQ(HashId(absl::string_view("grab")), 0x558e6c0f5e6c0ffaULL);
  EXPECT_EQ(HashBytes("grab", 4), 0x558e6c0f5e6c0ffaULL);
  EXPECT_EQ(HashId(absl::string_view("0123456789abcdef0123456789abcdef")), 0x01121d5b6c0ac055ULL);
  EXPECT_NE(HashBytes("grab", 4, 1), HashBytes("grab", 4));
}

// 42 in Parquet (an integer) and in CSV (text) must be one key: over the edges of the type and
// every length of decimal text.
TEST(HashTest, IntegerIsHashedAsItsDecimalText) {
  const auto check = [](int64_t value) {
    EXPECT_EQ(HashId(value), HashId(absl::string_view(std::to_string(value)))) << value;
  };
  for (int64_t value = -1000; value <= 1000; ++value) check(value);
  for (int64_t power = 1; power <= std::numeric_limits<int64_t>::max() / 10; power *= 10) {
    check(power - 1);
    check(power);
    check(-power);
  }
  check(std::numeric_limits<int64_t>::min());
  check(std::numeric_limits<int64_t>::max());
}

// 0 means "missing". No input that hashes to 0 is known, so what can be checked is that ordinary
// keys are not 0 and distinct: among 2e5 keys a collision has probability about 1e-9.
TEST(HashTest, KeysAreNonZeroAndDistinct) {
  std::set<uint64_t> keys;
  const int64_t count = 200000;
  for (int64_t value = 0; value < count; ++value) {
    const uint64_t key = HashId(value);
    ASSERT_NE(key, 0u);
    keys.insert(key);
  }
  EXPECT_EQ(keys.size(), static_cast<size_t>(count));
}

TEST(HashTest, CombineDependsOnOrderAndOnBoth) {
  std::set<uint64_t> keys;
  for (uint64_t a = 0; a < 200; ++a) {
    for (uint64_t b = 0; b < 200; ++b) {
      const uint64_t key = HashCombine(a, b);
      ASSERT_NE(key, 0u);
      keys.insert(key);
    }
  }
  EXPECT_EQ(keys.size(), 200u * 200u);  // (a, b) and (b, a) included
}

TEST(HashTest, EmbeddedNulAndLengthCount) {
  const std::string with_nul("a\0b", 3);
  EXPECT_NE(HashId(absl::string_view(with_nul)), HashId(absl::string_view("a")));
  EXPECT_NE(HashBytes("aaaa", 3), HashBytes("aaaa", 4));
}

}  // namespace
}  // namespace grab
