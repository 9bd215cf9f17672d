// Tables whose keys come and go (support/living_tables.h): the same bits for any number of threads,
// and for any step at which they were saved and read back, down to the bytes of the checkpoint.
#include <gtest/gtest.h>

#include "base/file.h"
#include "checkpoint/tables.h"
#include "support/base_temp_dir.h"
#include "support/living_tables.h"
#include "support/table_ops.h"

namespace grab {
namespace {

using testing::LivingTables;
using testing::RowsByKey;

constexpr uint64_t kSteps = 40;

std::string FileOf(const LivingTables& living, const TempDir& dir) {
  const std::string path = dir.File("tables.safetensors");
  EXPECT_TRUE(WriteTables(living.spec.tables, living.tables, path).ok());
  return ReadFile(path, 1 << 30).value();
}

void ExpectSame(const LivingTables& a, const LivingTables& b) {
  for (size_t t = 0; t < a.tables.size(); ++t) {
    ASSERT_EQ(RowsByKey(a.tables[t]), RowsByKey(b.tables[t])) << "table " << t;
    ASSERT_EQ(a.tables[t].CollectTombstones().keys, b.tables[t].CollectTombstones().keys);
  }
}

// The steps do what the test is for.
TEST(TableLife, EverythingHappensInTheseSteps) {
  LivingTables living(1);
  for (uint64_t step = 0; step < kSteps; ++step) living.Step(step, nullptr);
  TableCounts counts;
  for (const EmbeddingTable& table : living.tables) counts += table.counts();
  EXPECT_GT(counts.admitted, 1000u);
  EXPECT_GT(counts.refused, 0u);
  EXPECT_GT(counts.evicted_frequency, 100u);
  EXPECT_GT(counts.evicted_budget, 100u);
  EXPECT_FALSE(living.tables[0].CollectTombstones().keys.empty());
}

TEST(TableLife, TheNumberOfThreadsChangesNothing) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    TempDir dir;
    LivingTables alone(seed);
    for (uint64_t step = 0; step < kSteps; ++step) alone.Step(step, nullptr);
    for (const int threads : {1, 2, 5}) {
      LivingTables shared(seed);
      WorkerPool pool(threads);
      for (uint64_t step = 0; step < kSteps; ++step) shared.Step(step, &pool);
      ExpectSame(alone, shared);
      EXPECT_EQ(FileOf(alone, dir), FileOf(shared, dir)) << threads;
    }
  }
}

TEST(TableLife, SavedAndReadBackAtAnyStepChangesNothing) {
  TempDir dir;
  LivingTables whole(4);
  for (uint64_t step = 0; step < kSteps; ++step) whole.Step(step, nullptr);
  const std::string expected = FileOf(whole, dir);
  for (const uint64_t stop : {1u, 7u, 20u, 39u, 40u}) {
    SCOPED_TRACE(::testing::Message() << "saved after " << stop);
    LivingTables resumed(4);
    for (uint64_t step = 0; step < stop; ++step) resumed.Step(step, nullptr);
    FileOf(resumed, dir);
    resumed.tables = resumed.Empty();
    const Status status =
        ReadTables(dir.File("tables.safetensors"), resumed.spec.tables, resumed.tables);
    ASSERT_TRUE(status.ok()) << status;
    for (uint64_t step = stop; step < kSteps; ++step) resumed.Step(step, nullptr);
    ExpectSame(whole, resumed);
    EXPECT_EQ(FileOf(resumed, dir), expected);
  }
}

// A model for serving takes each table's precision from the file, and holds the same numbers.
TEST(TableLife, ServedTablesHoldTheSameRows) {
  TempDir dir;
  LivingTables living(5);
  for (uint64_t step = 0; step < 10; ++step) living.Step(step, nullptr);
  FileOf(living, dir);
  std::vector<EmbeddingTable> served;
  for (const TableSpec& table : living.spec.tables) served.emplace_back(TableOptions{table.dim});
  ASSERT_TRUE(ReadTables(dir.File("tables.safetensors"), living.spec.tables, served).ok());
  for (size_t t = 0; t < served.size(); ++t) {
    const EmbeddingTable& trained = living.tables[t];
    EXPECT_EQ(served[t].layout().precision, trained.layout().precision);
    ASSERT_EQ(served[t].rows(), trained.rows());
    EXPECT_LT(served[t].row_bytes(), trained.row_bytes());
    trained.ForEachRow([&](uint32_t row) {
      EXPECT_EQ(testing::Values(served[t], row), testing::Values(trained, row));
    });
  }
}

}  // namespace
}  // namespace grab
