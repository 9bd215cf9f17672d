// Rows that come and go: admission, time to live, frequency, budgets, 16-bit rows, checkpoints in
// the midst of it all, and what a release takes. Clocks are seconds of the data.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/file.h"
#include "base/rng.h"
#include "checkpoint/tables.h"
#include "embedding/maintain.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

TableOptions Options() {
  TableOptions options;
  options.dim = 4;
  options.optimiser = SparseOptimiser::kAdagrad;
  options.init_std = 0.1;
  options.seed = 5;
  options.learning_rate = 0.1;
  return options;
}

// A step of a trainer that reads `keys` once each; rows are updated with a gradient of the key.
void Step(EmbeddingTable& table, const std::vector<uint64_t>& keys, uint32_t now_s) {
  for (const uint64_t key : keys) {
    uint32_t row = 0;
    const uint32_t once = 1;
    std::vector<EmbeddingTable::Candidate> candidates;
    table.SeeRows({&key, 1}, &once, now_s, &row);
    if (row == EmbeddingTable::kUnknownRow) table.CountKeys({&key, 1}, &once, candidates);
    const bool fits = table.options().bytes_max == 0 || table.rows() < table.rows_max();
    table.Admit({&key, 1}, candidates, fits ? candidates.size() : 0, now_s, &row);
    const std::vector<float> gradient(table.dim(), 0.01f * static_cast<float>(key % 7 + 1));
    table.Update(row, gradient.data(), 0.1f);
  }
}

void Maintain(std::vector<EmbeddingTable>& tables, uint32_t now_s, uint64_t bytes_max = 0) {
  // A table is swept in turns of whole partitions.
  for (int call = 0; call < 64; ++call) MaintainTables(now_s, bytes_max, tables, nullptr);
}

bool Has(const EmbeddingTable& table, uint64_t key) {
  return table.Find(key) != EmbeddingTable::kUnknownRow;
}

std::map<uint64_t, std::vector<float>> Rows(const EmbeddingTable& table) {
  std::map<uint64_t, std::vector<float>> rows;
  table.ForEachRow([&](uint32_t row) {
    std::vector<float>& values = rows[table.key(row)];
    values.resize(table.dim());
    table.Read(row, values.data());
  });
  return rows;
}

// Keys that share counters may be admitted early, never late: whoever was seen often enough has a
// row, and in a roomy sketch nobody else has.
TEST(TableLife, AKeyIsAdmittedAtItsNthOccurrence) {
  for (const uint64_t sketch_bytes : {uint64_t{4096}, uint64_t{1} << 20}) {
    TableOptions options = Options();
    options.admission_count = 3;
    options.sketch_bytes = sketch_bytes;
    EmbeddingTable table(options);
    Rng rng(3);
    std::map<uint64_t, uint32_t> seen;
    int early = 0;
    for (int i = 0; i < 20000; ++i) {
      const uint64_t key = 1 + rng.Below(1 + rng.Below(9000));
      Step(table, {key}, 100);
      const bool due = ++seen[key] >= 3;
      if (due) {
        ASSERT_TRUE(Has(table, key)) << "key " << key << " after " << seen[key];
      }
      early += Has(table, key) && !due ? 1 : 0;
    }
    if (sketch_bytes > 4096) {
      EXPECT_LT(early, 20);
    }
    EXPECT_EQ(table.counts().admitted + 1, table.rows());
  }
}

TEST(TableLife, RowsThatOutlivedTheirTimeGo) {
  TableOptions options = Options();
  options.ttl_s = 50;
  std::vector<EmbeddingTable> tables;
  tables.emplace_back(options);
  EmbeddingTable& table = tables[0];
  for (uint64_t key = 1; key <= 300; ++key) Step(table, {key}, 1000);
  for (uint64_t key = 1; key <= 300; key += 3) Step(table, {key}, 1040);
  Maintain(tables, 1050);
  EXPECT_EQ(table.rows(), 301u) << "50 s are not more than 50 s";
  Maintain(tables, 1051);
  for (uint64_t key = 1; key <= 300; ++key) EXPECT_EQ(Has(table, key), key % 3 == 1) << key;
  EXPECT_EQ(table.counts().evicted_ttl, 200u);
  // A key that returns is a new one.
  Step(table, {2}, 1060);
  EXPECT_TRUE(Has(table, 2));
}

// A row seen n times has the score n 2^(-t / half life) t seconds later.
TEST(TableLife, RowsSeenTooRarelyGo) {
  TableOptions options = Options();
  options.frequency_min = 0.5;
  options.frequency_half_life_s = 10;
  std::vector<EmbeddingTable> tables;
  tables.emplace_back(options);
  for (int i = 0; i < 8; ++i) Step(tables[0], {8}, 1000);
  Step(tables[0], {1}, 1000);
  EXPECT_NEAR(tables[0].Score(tables[0].Find(8), 1030), 1.0, 1e-6);
  Maintain(tables, 1009);
  EXPECT_TRUE(Has(tables[0], 1));
  Maintain(tables, 1011);
  EXPECT_FALSE(Has(tables[0], 1));
  Maintain(tables, 1039);
  EXPECT_TRUE(Has(tables[0], 8));
  Maintain(tables, 1041);
  EXPECT_FALSE(Has(tables[0], 8));
  EXPECT_EQ(tables[0].counts().evicted_frequency, 2u);
}

TEST(TableLife, ABudgetKeepsTheMostSeen) {
  TableOptions options = Options();
  options.bytes_max =
      EmbeddingTable(options).fixed_bytes() + 1000 * EmbeddingTable(options).row_bytes();
  std::vector<EmbeddingTable> tables;
  tables.emplace_back(options);
  EmbeddingTable& table = tables[0];
  for (uint64_t key = 1; key <= 2000; ++key) {
    for (uint64_t n = 0; n <= key % 4; ++n) Step(table, {key}, 1000);
    ASSERT_LE(table.bytes(), options.bytes_max);
    MaintainTables(1000, 0, tables, nullptr);
    ASSERT_LE(table.bytes(), options.bytes_max);
    ASSERT_EQ(table.key(EmbeddingTable::kUnknownRow), 0u);
  }
  EXPECT_GT(table.counts().evicted_budget, 500u);
  EXPECT_GT(table.rows(), 900u);
  // Of the rows that stayed most were seen four times, none of the newest but few times only once.
  uint64_t often = 0, once = 0;
  for (uint64_t key = 1; key <= 1900; ++key) {
    often += Has(table, key) && key % 4 == 3 ? 1 : 0;
    once += Has(table, key) && key % 4 == 0 ? 1 : 0;
  }
  EXPECT_GT(often, 2 * once);
}

TEST(TableLife, ATotalBudgetIsSharedByTheTables) {
  std::vector<EmbeddingTable> tables;
  tables.emplace_back(Options());
  tables.emplace_back(Options());
  for (uint64_t key = 1; key <= 3000; ++key) Step(tables[0], {key}, 10);
  for (uint64_t key = 1; key <= 1000; ++key) Step(tables[1], {key}, 10);
  const uint64_t bytes = tables[0].bytes() + tables[1].bytes();
  MaintainTables(10, bytes * 3 / 4, tables, nullptr);
  EXPECT_LE(tables[0].bytes() + tables[1].bytes(), bytes * 3 / 4);
  EXPECT_GT(tables[0].rows(), 2 * tables[1].rows());
  EXPECT_GT(tables[1].rows(), 400u);
}

// A step a hundred times smaller than the spacing of bf16 near 1 must not be lost: over n steps the
// mean over 400 rows moves by their sum, within 5 standard errors of the random rounding.
TEST(TableLife, SixteenBitRowsKeepSmallSteps) {
  for (const RowPrecision precision : {RowPrecision::kBf16, RowPrecision::kF16}) {
    const double spacing = precision == RowPrecision::kBf16 ? 0x1p-7 : 0x1p-10;
    TableOptions options = Options();
    options.dim = 8;
    options.precision = precision;
    EmbeddingTable table(options);
    constexpr int kRows = 400, kSteps = 50;
    const std::vector<float> ones(options.dim, 1.0f);
    double sum = 0.0;
    for (uint64_t key = 1; key <= kRows; ++key) {
      const uint32_t row = table.FindOrInsert(key);
      table.Write(row, ones.data());
      double rate = 0.01 * spacing;
      const std::vector<float> gradient(options.dim, -1.0f);
      for (int step = 0; step < kSteps; ++step) {
        // Row-wise Adagrad divides by the root of the steps so far: undone by the rate.
        table.Update(row, gradient.data(), static_cast<float>(rate * std::sqrt(step + 1.0)));
      }
      std::vector<float> values(options.dim);
      table.Read(row, values.data());
      for (const float value : values) sum += value - 1.0;
    }
    const double mean = sum / (kRows * options.dim);
    // Every step rounds up with probability .01 (or near it): a variance of .01 spacing^2 each.
    const double error = spacing * std::sqrt(0.01 * kSteps / (kRows * options.dim));
    EXPECT_NEAR(mean, 0.01 * spacing * kSteps, 5 * error);
  }
}

// n steps equal k steps, written, read back, and n - k steps: with rows that are admitted, evicted
// by age, frequency and budget, and in 16 bits.
TEST(TableLife, ASavedTableGoesOnAsIfNothingHappened) {
  for (const RowPrecision precision : {RowPrecision::kF32, RowPrecision::kBf16}) {
    TableOptions options = Options();
    options.precision = precision;
    options.admission_count = 2;
    options.sketch_bytes = 4096;
    options.ttl_s = 150;
    options.frequency_min = 0.1;
    options.frequency_half_life_s = 30;
    options.bytes_max =
        EmbeddingTable(options).fixed_bytes() + 1100 * EmbeddingTable(options).row_bytes();
    const auto steps = [](std::vector<EmbeddingTable>& tables, int begin, int end) {
      for (int step = begin; step < end; ++step) {
        Rng rng(9, static_cast<uint64_t>(step));
        std::vector<uint64_t> keys;
        for (int i = 0; i < 60; ++i) keys.push_back(1 + rng.Below(50 + rng.Below(4000)));
        Step(tables[0], keys, static_cast<uint32_t>(1000 + 5 * step));
        MaintainTables(static_cast<uint32_t>(1000 + 5 * step), 0, tables, nullptr);
      }
    };
    const TempDir dir;
    const std::vector<TableSpec> specs = {{"t", options.dim, true}};
    std::vector<EmbeddingTable> whole, stopped;
    whole.emplace_back(options);
    stopped.emplace_back(options);
    steps(whole, 0, 200);
    steps(stopped, 0, 90);
    ASSERT_TRUE(WriteTables(specs, stopped, dir.File("t")).ok());
    std::vector<EmbeddingTable> resumed;
    resumed.emplace_back(options);
    const Status status = ReadTables(dir.File("t"), specs, resumed);
    ASSERT_TRUE(status.ok()) << status;
    steps(resumed, 90, 200);
    EXPECT_EQ(Rows(resumed[0]), Rows(whole[0]));
    const TableCounts counts = whole[0].counts();
    EXPECT_GT(counts.evicted_ttl + counts.evicted_frequency, 50u);
    EXPECT_GT(counts.admitted, 500u);
    ASSERT_TRUE(WriteTables(specs, whole, dir.File("a")).ok());
    ASSERT_TRUE(WriteTables(specs, resumed, dir.File("b")).ok());
    EXPECT_EQ(*ReadFile(dir.File("a"), 1 << 28), *ReadFile(dir.File("b"), 1 << 28));
  }
}

// A full release and the deltas after it give the table that is in training, evictions included.
TEST(TableLife, DeltasBringAServedTableUpToDate) {
  TableOptions options = Options();
  options.ttl_s = 60;
  const TempDir dir;
  const std::vector<TableSpec> specs = {{"t", options.dim, true}};
  std::vector<EmbeddingTable> tables, served;
  tables.emplace_back(options);
  served.emplace_back(TableOptions{.dim = options.dim});
  uint32_t now_s = 1000;
  const auto train = [&](uint64_t seed) {
    for (int step = 0; step < 20; ++step, now_s += 3) {
      Rng rng(seed, static_cast<uint64_t>(step));
      std::vector<uint64_t> keys;
      for (int i = 0; i < 30; ++i) keys.push_back(1 + rng.Below(600));
      Step(tables[0], keys, now_s);
      Maintain(tables, now_s);
    }
  };
  train(1);
  ASSERT_TRUE(WriteServedTables(specs, tables, TableRows::kAll, dir.File("full")).ok());
  tables[0].EndPeriod();
  ASSERT_TRUE(ReadTables(dir.File("full"), specs, served).ok());
  EXPECT_EQ(Rows(served[0]), Rows(tables[0]));
  for (uint64_t release = 2; release <= 5; ++release) {
    train(release);
    const std::string path = dir.File("delta");
    ASSERT_TRUE(WriteServedTables(specs, tables, TableRows::kChanged, path).ok());
    EXPECT_FALSE(tables[0].CollectTombstones().keys.empty());
    tables[0].EndPeriod();
    EXPECT_TRUE(tables[0].CollectTombstones().keys.empty());
    const Status status = ApplyTables(path, specs, served);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(Rows(served[0]), Rows(tables[0])) << "release " << release;
  }
  // A whole file is no delta, and leaves the table as it is.
  const auto before = Rows(served[0]);
  EXPECT_EQ(ApplyTables(dir.File("full"), specs, served).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Rows(served[0]), before);
}

}  // namespace
}  // namespace grab
