// Statistics of the generator over fixed seeds: the runs are the same on every machine, so a bound
// either always holds or never does. Bounds are 5 standard deviations of the ideal distribution,
// which an ideal generator would break about once in 1.7 million checks; there are fewer than 200
// here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

#include "base/rng.h"

namespace grab {
namespace {

constexpr uint64_t kSeeds[] = {0, 1, 2, 42, 0xffffffffffffffffULL};
constexpr int kDraws = 200000;

TEST(RngTest, Mix64IsSplitMix64) {
  // The first outputs of the published splitmix64.c for state 0, whose n-th output is Mix64((n - 1)
  // * golden gamma).
  EXPECT_EQ(Mix64(0), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(Mix64(0x9e3779b97f4a7c15ULL), 0x6e789e6aa1b965f4ULL);
}

TEST(RngTest, SameSeedAndStreamRepeatOthersDiffer) {
  std::set<uint64_t> values;
  for (const uint64_t seed : kSeeds) {
    for (uint64_t stream = 0; stream < 20; ++stream) {
      Rng a(seed, stream), b(seed, stream);
      for (int i = 0; i < 50; ++i) {
        const uint64_t value = a.Next();
        ASSERT_EQ(value, b.Next());
        values.insert(value);
      }
    }
  }
  // 5000 draws of 64 bits: one collision has probability below 1e-12.
  EXPECT_EQ(values.size(), std::size(kSeeds) * 20 * 50);
}

TEST(RngTest, IndexResumesExactly) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng whole(seed, 3);
    for (int i = 0; i < 17; ++i) whole.Normal();
    Rng resumed(seed, 3);
    resumed.set_index(whole.index());
    for (int i = 0; i < 100; ++i) ASSERT_EQ(whole.Next(), resumed.Next());
  }
}

TEST(RngTest, UniformMomentsAndRange) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rng rng(seed);
    double sum = 0, sum_squares = 0, sum_products = 0, previous = 0.5;
    for (int i = 0; i < kDraws; ++i) {
      const double x = rng.Uniform();
      ASSERT_GE(x, 0.0);
      ASSERT_LT(x, 1.0);
      sum += x;
      sum_squares += (x - 0.5) * (x - 0.5);
      sum_products += (x - 0.5) * (previous - 0.5);
      previous = x;
    }
    // Var(x) = 1/12; Var((x - 1/2)^2) = 1/180; Var of the product of two independent draws = 1/144.
    EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
    EXPECT_NEAR(sum_squares / kDraws, 1.0 / 12, 5 * std::sqrt(1.0 / 180 / kDraws));
    EXPECT_NEAR(sum_products / kDraws, 0.0, 5 * std::sqrt(1.0 / 144 / kDraws));
  }
}

TEST(RngTest, NormalMoments) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const int draws = 1000000;  // enough for 1 % of variance to show
    Rng rng(seed);
    double sums[4] = {0, 0, 0, 0};
    for (int i = 0; i < draws; ++i) {
      const double x = rng.Normal();
      ASSERT_TRUE(std::isfinite(x));
      double power = 1;
      for (double& total : sums) total += power *= x;
    }
    // Moments 0, 1, 0, 3 with variances of x, x^2, x^3, x^4: 1, 2, 15, 96.
    EXPECT_NEAR(sums[0] / draws, 0, 5 * std::sqrt(1.0 / draws));
    EXPECT_NEAR(sums[1] / draws, 1, 5 * std::sqrt(2.0 / draws));
    EXPECT_NEAR(sums[2] / draws, 0, 5 * std::sqrt(15.0 / draws));
    EXPECT_NEAR(sums[3] / draws, 3, 5 * std::sqrt(96.0 / draws));
  }
}

// Around powers of two, where a modulo or a mask would go wrong, and a bound beyond 32 bits.
TEST(RngTest, BelowIsUniformAndInRange) {
  for (const uint64_t n : {1u, 2u, 3u, 7u, 8u, 9u, 100u}) {
    SCOPED_TRACE(testing::Message() << "seed 5, n " << n);
    Rng rng(5, n);
    std::vector<int> counts(n, 0);
    for (int i = 0; i < kDraws; ++i) {
      const uint64_t value = rng.Below(n);
      ASSERT_LT(value, n);
      ++counts[value];
    }
    const double p = 1.0 / static_cast<double>(n);
    for (const int count : counts) {
      EXPECT_NEAR(count, kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)) + 1e-9);
    }
  }
  Rng rng(6);
  const uint64_t large = (uint64_t{1} << 40) + 1;
  double sum = 0;
  for (int i = 0; i < kDraws; ++i) {
    const uint64_t value = rng.Below(large);
    ASSERT_LT(value, large);
    sum += static_cast<double>(value) / static_cast<double>(large);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
}

TEST(RngTest, BernoulliRateAndEnds) {
  for (const double p : {0.0, 0.001, 0.3, 0.5, 1.0}) {
    SCOPED_TRACE(testing::Message() << "seed 7, p " << p);
    Rng rng(7);
    int hits = 0;
    for (int i = 0; i < kDraws; ++i) hits += rng.Bernoulli(p) ? 1 : 0;
    EXPECT_NEAR(hits, kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)));
  }
}

// Neighbouring seeds and streams are what runs and users get; their sequences must not be related.
TEST(RngTest, NeighbouringStreamsAreUncorrelated) {
  for (const uint64_t seed : kSeeds) {
    for (const uint64_t stream : {0u, 1u, 1000u}) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << " stream " << stream);
      Rng a(seed, stream), b(seed, stream + 1), c(seed + 1, stream);
      double with_stream = 0, with_seed = 0;
      for (int i = 0; i < kDraws; ++i) {
        const double x = a.Uniform() - 0.5;
        with_stream += x * (b.Uniform() - 0.5);
        with_seed += x * (c.Uniform() - 0.5);
      }
      EXPECT_NEAR(with_stream / kDraws, 0.0, 5 * std::sqrt(1.0 / 144 / kDraws));
      EXPECT_NEAR(with_seed / kDraws, 0.0, 5 * std::sqrt(1.0 / 144 / kDraws));
    }
  }
}

// Every item is equally likely at every place: counts over many shuffles of 6 items.
TEST(ShuffleTest, IsAPermutationAndUniform) {
  const int rounds = 30000;
  const int size = 6;
  SCOPED_TRACE("seed 11");
  Rng rng(11);
  std::vector<std::vector<int>> counts(size, std::vector<int>(size, 0));
  for (int round = 0; round < rounds; ++round) {
    std::vector<int> items(size);
    std::iota(items.begin(), items.end(), 0);
    Shuffle(items, rng);
    ASSERT_TRUE(std::is_permutation(items.begin(), items.end(),
                                    std::vector<int>{0, 1, 2, 3, 4, 5}.begin()));
    for (int place = 0; place < size; ++place) ++counts[place][items[place]];
  }
  const double p = 1.0 / size;
  for (const auto& row : counts) {
    for (const int count : row) {
      EXPECT_NEAR(count, rounds * p, 5 * std::sqrt(rounds * p * (1 - p)));
    }
  }
}

TEST(ShuffleTest, EmptyAndSingle) {
  Rng rng(1);
  std::vector<int> empty, one = {7};
  Shuffle(empty, rng);
  Shuffle(one, rng);
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(one, std::vector<int>{7});
}

}  // namespace
}  // namespace grab
