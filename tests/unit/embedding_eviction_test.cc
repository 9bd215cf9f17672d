// The corners of eviction: rows of no clock, sweeps in turns, which rows a budget takes to the last
// tie, how a total is shared, and what a release is told. What rows live for is
// embedding_life_test's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/rng.h"
#include "embedding/maintain.h"
#include "embedding/table.h"

namespace grab {
namespace {

TableOptions Trained(uint32_t dim = 4) { return {dim, SparseOptimiser::kAdagrad, 0.1, 7}; }

// What Lookup does for one table: sees the keys, grants as many rows as the budget allows.
void See(EmbeddingTable& table, const std::vector<uint64_t>& keys, uint32_t now_s,
         uint32_t occurrences = 1) {
  for (const uint64_t key : keys) {
    uint32_t row = 0;
    std::vector<EmbeddingTable::Candidate> candidates;
    table.SeeRows({&key, 1}, &occurrences, now_s, &row);
    if (row == EmbeddingTable::kUnknownRow) table.CountKeys({&key, 1}, &occurrences, candidates);
    const uint64_t room = table.rows_max() - std::min(table.rows_max(), table.rows());
    table.Admit({&key, 1}, candidates, std::min<uint64_t>(room, candidates.size()), now_s, &row);
  }
}

std::vector<uint64_t> KeysUpTo(uint64_t last, uint64_t first = 1) {
  std::vector<uint64_t> keys;
  for (uint64_t key = first; key <= last; ++key) keys.push_back(key);
  return keys;
}

void Maintain(EmbeddingTable& table, uint32_t now_s, uint64_t total_max = 0) {
  std::vector<EmbeddingTable> tables;
  tables.push_back(std::move(table));
  MaintainTables(now_s, total_max, tables, nullptr);
  table = std::move(tables[0]);
}

uint64_t BudgetFor(const TableOptions& options, uint64_t rows) {
  const EmbeddingTable empty(options);
  return empty.fixed_bytes() + rows * empty.row_bytes();
}

// Rows that came without a clock, as those of a warm start, are young when the clock begins.
TEST(TimeToLive, RowsOfNoClockAgeFromTheFirstSweep) {
  TableOptions options = Trained();
  options.ttl_s = 100;
  options.frequency_min = 0.5;
  options.frequency_half_life_s = 1000;
  EmbeddingTable table(options);
  for (const uint64_t key : KeysUpTo(10)) table.FindOrInsert(key);
  Maintain(table, 5000);
  Maintain(table, 5100);
  EXPECT_EQ(table.rows(), 11u);
  Maintain(table, 5101);
  EXPECT_EQ(table.rows(), 1u);
}

// A table too large for one sweep: every row that is due is gone after 64 calls.
TEST(Sweep, AllOfALargeTableIsSweptWithinSixtyFourCalls) {
  TableOptions options = Trained(1);
  options.init_std = 0.0;
  options.ttl_s = 1;
  EmbeddingTable table(options);
  See(table, KeysUpTo(3 * kSweepRows), 10);
  Maintain(table, 100);
  EXPECT_LT(table.rows(), 3 * kSweepRows - kSweepRows / 2);
  EXPECT_GT(table.rows(), kSweepRows);
  for (int call = 1; call < 64; ++call) Maintain(table, 100);
  EXPECT_EQ(table.rows(), 1u);
}

// Random scores with many ties; which rows go is decided by sorting all of them here.
TEST(Budget, TheLeastSeenGoTiesByKey) {
  TableOptions options = Trained();
  options.bytes_max = BudgetFor(options, 2000);
  options.frequency_half_life_s = 50;
  EmbeddingTable table(options);
  EXPECT_EQ(table.rows_max(), 2000u);
  Rng rng(5);
  for (uint64_t i = 0; i < 1999; ++i) {
    See(table, {rng.Next() | 1}, 100 + static_cast<uint32_t>(rng.Below(3)),
        static_cast<uint32_t>(1 + rng.Below(4)));
  }
  ASSERT_EQ(table.rows(), 2000u);
  std::vector<std::pair<double, uint64_t>> ranked;
  table.ForEachRow([&](uint32_t row) {
    const RowLife& life = table.life(row);
    const double age_s = 110.0 - life.last_seen_s;
    if (row != 0) ranked.emplace_back(life.score * float(std::exp2(-age_s / 50)), table.key(row));
  });
  std::sort(ranked.begin(), ranked.end());
  Maintain(table, 110);
  EXPECT_EQ(table.rows(), 1900u);
  EXPECT_EQ(table.counts().evicted_budget, 100u);
  for (size_t i = 0; i < ranked.size(); ++i) {
    EXPECT_EQ(table.Find(ranked[i].second) == 0, i < 100) << i;
  }
}

TEST(Budget, InsertionsStopAtItAndAreCounted) {
  TableOptions options = Trained();
  options.bytes_max = BudgetFor(options, 1100);
  EmbeddingTable table(options);
  See(table, KeysUpTo(1500), 1);
  EXPECT_EQ(table.rows(), 1100u);
  EXPECT_LE(table.bytes(), options.bytes_max);
  EXPECT_EQ(table.counts().refused, 1500u - 1099u);
  Maintain(table, 1);
  EXPECT_EQ(table.rows(), 1045u);
  See(table, KeysUpTo(1500, 1491), 2);
  EXPECT_NE(table.Find(1500), EmbeddingTable::kUnknownRow);
}

TEST(Budget, TheTotalIsSharedInProportion) {
  std::vector<EmbeddingTable> tables;
  for (const uint32_t dim : {4u, 16u}) tables.emplace_back(Trained(dim));
  See(tables[0], KeysUpTo(4000), 1);
  See(tables[1], KeysUpTo(8000), 1);
  uint64_t bytes = 0;
  std::vector<uint64_t> before;
  for (const EmbeddingTable& table : tables) {
    before.push_back(table.bytes());
    bytes += table.bytes();
  }
  MaintainTables(1, bytes + 1000000, tables, nullptr);
  EXPECT_EQ(tables[0].bytes() + tables[1].bytes(), bytes);
  MaintainTables(1, bytes / 2, tables, nullptr);
  for (size_t t = 0; t < tables.size(); ++t) {
    const double kept = double(tables[t].bytes()) / double(before[t]);
    EXPECT_NEAR(kept, 0.475, double(tables[t].row_bytes()) / double(before[t])) << t;
  }
}

// Even the smallest budget leaves it; and a budget of nothing grants nothing.
TEST(Budget, TheUnknownRowStays) {
  TableOptions options = Trained();
  options.bytes_max = 1;
  EmbeddingTable table(options);
  See(table, KeysUpTo(10), 1);
  EXPECT_EQ(table.rows(), 1u);
  Maintain(table, 1);
  EXPECT_EQ(table.rows(), 1u);
  EXPECT_EQ(table.key(0), 0u);
}

TEST(Release, TombstonesAreWhatWentAndDidNotReturn) {
  TableOptions options = Trained();
  options.ttl_s = 10;
  EmbeddingTable table(options);
  See(table, KeysUpTo(20), 100);
  Maintain(table, 200);
  EXPECT_EQ(table.rows(), 1u);
  See(table, {3, 4}, 200);
  Maintain(table, 300);  // they go again
  See(table, {4, 5}, 300);
  std::vector<uint64_t> expected = KeysUpTo(20);
  std::erase_if(expected, [](uint64_t key) { return key == 4 || key == 5; });
  const EmbeddingTable::Tombstones tombstones = table.CollectTombstones();
  EXPECT_EQ(tombstones.keys, expected);
  EXPECT_TRUE(tombstones.complete);
  table.EndPeriod();
  EXPECT_TRUE(table.CollectTombstones().keys.empty());
}

TEST(Release, ChangedRowsAreNewOrUpdatedOnes) {
  EmbeddingTable table(Trained());
  See(table, KeysUpTo(10), 1);
  const auto changed = [&] {
    std::set<uint64_t> keys;
    table.ForEachChanged([&](uint32_t row) { keys.insert(table.key(row)); });
    return keys;
  };
  EXPECT_EQ(changed().size(), 11u);  // the unknown row is new too
  table.EndPeriod();
  EXPECT_TRUE(changed().empty());
  See(table, {1, 2, 3, 11}, 2);  // being seen changes nothing that is served
  const float gradient[4] = {1, 2, 3, 4};
  table.Update(table.Find(3), gradient, 0.1f);
  EXPECT_EQ(changed(), (std::set<uint64_t>{3, 11}));
  table.EndPeriod();
  EXPECT_TRUE(changed().empty());
}

}  // namespace
}  // namespace grab
