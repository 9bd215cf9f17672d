// AUC and GAUC against a count of all pairs, and independence of the rows' order. Sizes 2 to 500
// cover one tie run, many, and none; p takes 1 to ~n distinct values so that most sizes have ties.
// The quadratic count is exact in integers, so AUC may differ by the rounding of one division
// (1e-15); GAUC adds a weighted mean (1e-12).
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "eval/metrics.h"

namespace grab {
namespace {

struct Sample {
  std::vector<double> p;
  std::vector<uint8_t> label;
  std::vector<uint64_t> group;
};

Sample RandomSample(Rng& rng) {
  const uint64_t n = 2 + rng.Below(499);
  const uint64_t distinct = 1 + rng.Below(rng.Bernoulli(0.5) ? 5 : n);
  const uint64_t groups = 1 + rng.Below(n);
  const double rate = rng.Uniform();
  Sample sample;
  for (uint64_t i = 0; i < n; ++i) {
    sample.p.push_back(static_cast<double>(rng.Below(distinct + 1)) /
                       static_cast<double>(distinct));
    sample.label.push_back(rng.Bernoulli(rate) ? 1 : 0);
    sample.group.push_back(rng.Below(groups));  // 0 occurs: no group
  }
  return sample;
}

struct Pairs {
  uint64_t halves = 0;  // 2 per pair in order, 1 per tie
  uint64_t all = 0;
};

Pairs CountPairs(const Sample& sample, const std::vector<size_t>& rows) {
  Pairs pairs;
  for (const size_t i : rows) {
    for (const size_t j : rows) {
      if (sample.label[i] != 1 || sample.label[j] != 0) continue;
      ++pairs.all;
      pairs.halves += sample.p[i] > sample.p[j] ? 2 : sample.p[i] == sample.p[j] ? 1 : 0;
    }
  }
  return pairs;
}

TEST(MetricsProperty, AucAndGaucEqualAllPairs) {
  int with_gauc = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    const Sample sample = RandomSample(rng);
    std::vector<size_t> all(sample.p.size());
    std::iota(all.begin(), all.end(), 0);
    const auto metrics = ComputeMetrics(sample.p, sample.label);
    const auto gauc = ComputeGauc(sample.p, sample.label, sample.group);
    ASSERT_TRUE(metrics.ok() && gauc.ok());

    const Pairs pairs = CountPairs(sample, all);
    ASSERT_EQ(metrics->auc.has_value(), pairs.all > 0);
    if (pairs.all > 0) {
      EXPECT_NEAR(*metrics->auc,
                  0.5 * static_cast<double>(pairs.halves) / static_cast<double>(pairs.all), 1e-15);
    }

    std::map<uint64_t, std::vector<size_t>> members;
    for (const size_t i : all) {
      if (sample.group[i] != 0) members[sample.group[i]].push_back(i);
    }
    double weighted = 0;
    size_t rows_used = 0;
    for (const auto& [group, rows] : members) {
      const Pairs inside = CountPairs(sample, rows);
      if (inside.all == 0) continue;
      rows_used += rows.size();
      weighted += static_cast<double>(rows.size()) * 0.5 * static_cast<double>(inside.halves) /
                  static_cast<double>(inside.all);
    }
    EXPECT_EQ(gauc->rows_used, rows_used);
    EXPECT_EQ(gauc->groups, members.size());
    ASSERT_EQ(gauc->gauc.has_value(), rows_used > 0);
    if (rows_used > 0) {
      ++with_gauc;
      EXPECT_NEAR(*gauc->gauc, weighted / static_cast<double>(rows_used), 1e-12);
    }
  }
  EXPECT_GT(with_gauc, 200);  // otherwise the samples test little
}

TEST(MetricsProperty, OrderOfRowsDoesNotMatter) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed, 1);
    const Sample sample = RandomSample(rng);
    std::vector<size_t> order(sample.p.size());
    std::iota(order.begin(), order.end(), 0);
    Shuffle(order, rng);
    Sample shuffled;
    for (const size_t i : order) {
      shuffled.p.push_back(sample.p[i]);
      shuffled.label.push_back(sample.label[i]);
      shuffled.group.push_back(sample.group[i]);
    }
    const auto a = ComputeMetrics(sample.p, sample.label);
    const auto b = ComputeMetrics(shuffled.p, shuffled.label);
    ASSERT_TRUE(a.ok() && b.ok());
    EXPECT_EQ(a->auc, b->auc);  // integers inside: exactly equal
    EXPECT_EQ(a->clipped, b->clipped);
    EXPECT_NEAR(*a->logloss, *b->logloss, 1e-12 * (1 + *a->logloss));
    ASSERT_EQ(a->pcoc.has_value(), b->pcoc.has_value());
    if (a->pcoc.has_value()) {
      EXPECT_NEAR(*a->pcoc, *b->pcoc, 1e-12 * (1 + *a->pcoc));
    }
    const auto gauc_a = ComputeGauc(sample.p, sample.label, sample.group);
    const auto gauc_b = ComputeGauc(shuffled.p, shuffled.label, shuffled.group);
    ASSERT_TRUE(gauc_a.ok() && gauc_b.ok());
    EXPECT_EQ(gauc_a->gauc, gauc_b->gauc);  // groups are summed in the order of their keys
  }
}

TEST(MetricsProperty, MonotoneMapsKeepAuc) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed, 2);
    Sample sample = RandomSample(rng);
    const auto before = ComputeMetrics(sample.p, sample.label);
    for (double& p : sample.p) p = 0.25 + 0.5 * p;
    const auto after = ComputeMetrics(sample.p, sample.label);
    ASSERT_TRUE(before.ok() && after.ok());
    EXPECT_EQ(before->auc, after->auc);
  }
}

}  // namespace
}  // namespace grab
