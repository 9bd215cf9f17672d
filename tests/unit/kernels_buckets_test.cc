// Bucket tables: in range, monotone, exact where promised, self bucket reserved.
#include <gtest/gtest.h>

#include "kernels/rab_buckets.h"

namespace grab {
namespace {

TEST(PositionBuckets, CoverDistancesMonotonicallyAndReserveSelf) {
  for (const int64_t buckets : {2, 3, 6, 32, 257}) {
    for (const int64_t distance_max : {1, 2, 5, 50, 1000, 65536}) {
      SCOPED_TRACE(::testing::Message()
                   << "buckets " << buckets << " distance_max " << distance_max);
      const std::vector<uint16_t> table = PositionBuckets(buckets, distance_max);
      ASSERT_EQ(table.size(), static_cast<size_t>(distance_max) + 1);
      EXPECT_EQ(table[0], 0);
      const int64_t exact = std::max<int64_t>(1, (buckets - 1) / 2);
      for (int64_t distance = 1; distance <= distance_max; ++distance) {
        const int64_t bucket = table[static_cast<size_t>(distance)];
        EXPECT_GE(bucket, 1);
        EXPECT_LT(bucket, buckets);
        EXPECT_GE(bucket, table[static_cast<size_t>(distance) - 1]);
        if (distance <= exact) {
          EXPECT_EQ(bucket, distance);
        }
      }
    }
  }
}

TEST(PositionBuckets, UseTheLastBucketForTheFarthestTokens) {
  EXPECT_EQ(PositionBuckets(32, 1000).back(), 31);
  EXPECT_EQ(PositionBuckets(32, 50).back(), 31);
}

TEST(TimeBuckets, SplitAtTheirBounds) {
  const std::vector<int64_t> bounds = TimeBoundsMs(5, 1000.0);  // 1 s, 31.6 s, 1000 s
  ASSERT_EQ(bounds.size(), 3u);
  EXPECT_EQ(bounds[0], 1000);
  EXPECT_EQ(bounds[1], 31623);
  EXPECT_EQ(bounds[2], 1000000);
  const auto bucket = [&](int64_t age_ms) { return TimeBucket(bounds.data(), 3, age_ms); };
  EXPECT_EQ(bucket(0), 1);
  EXPECT_EQ(bucket(1000), 1);
  EXPECT_EQ(bucket(1001), 2);
  EXPECT_EQ(bucket(31623), 2);
  EXPECT_EQ(bucket(1000000), 3);
  EXPECT_EQ(bucket(1000001), 4);
  EXPECT_EQ(bucket(int64_t{1} << 60), 4);
}

TEST(TimeBuckets, TwoBucketsHaveNoBounds) {
  EXPECT_TRUE(TimeBoundsMs(2, 10.0).empty());
  EXPECT_EQ(TimeBucket(nullptr, 0, 12345), 1);
}

}  // namespace
}  // namespace grab
