// A batch's keys to unique rows: each row once, every pair points to its own row, unseen keys and
// dropout go to the unknown row, and only what may be dropped is.
#include <gtest/gtest.h>

#include <set>

#include "batch/builder.h"
#include "embedding/lookup.h"
#include "embedding/row_batch.h"
#include "support/random_world.h"

namespace grab {
namespace {

struct World {
  Config config = testing::MakeConfig();
  Schema schema = *Schema::FromConfig(config);
  TokenSpec spec = *TokenSpec::FromConfig(config, schema, 4);
  Batch batch;
  std::vector<EmbeddingTable> tables;

  explicit World(uint64_t seed) {
    PackPlan plan;
    plan.channels = {{0, 10, 0}};
    const BatchBuilder builder = *BatchBuilder::Create(spec, plan);
    const UserBlock block = testing::MakeBlock(schema, seed, 6, 30);
    batch = builder.Empty();
    for (uint32_t user = 0; user < block.users(); ++user) {
      std::vector<uint32_t> targets;
      for (uint32_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i)
        targets.push_back(i);
      std::vector<TargetGroup> groups;
      builder.Plan(block, user, block.user_offsets[user], block.user_offsets[user + 1], targets,
                   1 << 20, groups);
      for (const TargetGroup& group : groups) builder.Append(block, group, batch);
    }
    for (const TableSpec& table : spec.tables) {
      tables.emplace_back(
          TableOptions{table.dim, SparseOptimiser::kAdagrad, 1.0, 3, RowPrecision::kF32, 0.5});
    }
  }

  // Calls check(table, key, row of the table that the pair reads) for every pair.
  template <class Check>
  void ForEachPair(const BatchLookup& lookup, const Check& check) const {
    const auto view = [&](const TokenColumns& columns,
                          const std::vector<std::vector<uint32_t>>& index) {
      for (size_t c = 0; c < columns.columns.size(); ++c) {
        const TokenSlot& slot = spec.slots[static_cast<size_t>(columns.slots[c])];
        if (slot.table < 0) continue;
        const auto table = static_cast<size_t>(slot.table);
        ASSERT_EQ(index[c].size(), columns.columns[c].keys.size());
        for (size_t i = 0; i < index[c].size(); ++i) {
          check(table, columns.columns[c].keys[i], lookup.unique_rows[table].at(index[c][i]));
        }
      }
    };
    view(batch.partial, lookup.partial_index);
    view(batch.full, lookup.full_index);
  }
};

TEST(Lookup, EveryPairReadsTheRowOfItsKeyAndRowsAreUnique) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    World world(seed);
    Lookup lookup(world.spec);
    for (int repeat = 0; repeat < 2; ++repeat) {  // the second batch finds clean scratch
      const BatchLookup found =
          lookup.FindOrInsert(world.batch, {.id_dropout = 0.0, .seed = 1}, world.tables);
      world.ForEachPair(found, [&](size_t table, uint64_t key, uint32_t row) {
        EXPECT_EQ(world.tables[table].key(row), key) << "seed " << seed;
      });
      for (const std::vector<uint32_t>& rows : found.unique_rows) {
        EXPECT_EQ(std::set<uint32_t>(rows.begin(), rows.end()).size(), rows.size());
      }
    }
  }
}

TEST(Lookup, FindNeverInsertsAndReadsTheUnknownRow) {
  World world(1);
  const BatchLookup found = Lookup(world.spec).Find(world.batch, world.tables);
  world.ForEachPair(found, [&](size_t, uint64_t, uint32_t row) { EXPECT_EQ(row, 0u); });
  for (const EmbeddingTable& table : world.tables) EXPECT_EQ(table.rows(), 1u);
}

TEST(Lookup, DropoutHitsItsShareOfDroppableTablesOnly) {
  World world(2);
  Lookup lookup(world.spec);
  lookup.FindOrInsert(world.batch, {.id_dropout = 0.0, .seed = 1}, world.tables);
  int64_t pairs = 0, dropped = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const BatchLookup found =
        lookup.FindOrInsert(world.batch, {.id_dropout = 0.3, .seed = seed}, world.tables);
    world.ForEachPair(found, [&](size_t table, uint64_t, uint32_t row) {
      if (!world.spec.tables[table].droppable) {
        EXPECT_NE(row, 0u);
      } else {
        ++pairs;
        dropped += row == 0 ? 1 : 0;
      }
    });
  }
  // 5 standard errors of a binomial share
  EXPECT_NEAR(double(dropped) / double(pairs), 0.3, 5 * std::sqrt(0.21 / double(pairs)));
  const BatchLookup a =
      lookup.FindOrInsert(world.batch, {.id_dropout = 0.3, .seed = 5}, world.tables);
  const BatchLookup b =
      lookup.FindOrInsert(world.batch, {.id_dropout = 0.3, .seed = 5}, world.tables);
  EXPECT_EQ(a.full_index, b.full_index);
  EXPECT_EQ(a.unique_rows, b.unique_rows);
}

// Look-ups that train, gathers and updates with one to four workers leave the same bits, over
// batches that insert, and every duplicate key is updated once.
TEST(Lookup, ThreadsDoNotChangeABit) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    std::vector<std::vector<float>> left;
    for (const int threads : {1, 2, 4}) {
      WorkerPool pool(threads);
      World world(seed);
      Lookup lookup(world.spec);
      for (uint64_t step = 0; step < 4; ++step) {
        const LookupOptions options = {.id_dropout = 0.2, .seed = step, .pool = &pool};
        const BatchLookup found = lookup.FindOrInsert(world.batch, options, world.tables);
        std::vector<std::vector<float>> values;
        std::vector<float*> out;
        for (size_t t = 0; t < world.tables.size(); ++t) {
          values.emplace_back(found.unique_rows[t].size() * world.tables[t].dim());
          out.push_back(values.back().data());
        }
        GatherRows(world.tables, found.unique_rows, out, &pool);
        UpdateRows(found.unique_rows, {out.begin(), out.end()}, 0.1, world.tables, &pool);
      }
      std::vector<float> all;
      for (const EmbeddingTable& table : world.tables) {
        table.ForEachRow([&](uint32_t row) {
          std::vector<float> row_values(table.dim());
          table.Read(row, row_values.data());
          all.push_back(static_cast<float>(table.key(row) % 1000));
          all.insert(all.end(), row_values.begin(), row_values.end());
        });
      }
      left.push_back(std::move(all));
    }
    EXPECT_EQ(left[0], left[1]) << "seed " << seed;
    EXPECT_EQ(left[0], left[2]) << "seed " << seed;
  }
}

// Reading drops the same pairs as inserting with the same seed, and inserts nothing.
TEST(Lookup, FindDropsAsFindOrInsertDoes) {
  World world(3);
  Lookup lookup(world.spec);
  const BatchLookup inserted = lookup.FindOrInsert(world.batch, {}, world.tables);
  EXPECT_EQ(lookup.Find(world.batch, world.tables).unique_rows, inserted.unique_rows);
  const BatchLookup a =
      lookup.FindOrInsert(world.batch, {.id_dropout = 0.3, .seed = 5}, world.tables);
  const BatchLookup b = lookup.Find(world.batch, world.tables, {.id_dropout = 0.3, .seed = 5});
  EXPECT_EQ(a.unique_rows, b.unique_rows);
  EXPECT_EQ(a.partial_index, b.partial_index);
  EXPECT_EQ(a.full_index, b.full_index);
  EXPECT_NE(a.full_index, inserted.full_index);
}

// Values read by the look-up are those of its rows, whether it inserts or not, with dropout and
// keys without a row; the buffer of a batch that somebody still holds is left alone.
TEST(Lookup, ReadsTheValuesOfItsRows) {
  World world(5);
  Lookup lookup(world.spec);
  for (EmbeddingTable& table : world.tables) {
    for (uint64_t key = 1; key <= 200; key += 2) table.FindOrInsert(key);
  }
  const auto expect_values = [&](const BatchLookup& found) {
    for (size_t t = 0; t < world.tables.size(); ++t) {
      std::vector<float> rows(found.unique_rows[t].size() * world.tables[t].dim());
      world.tables[t].ReadRows(found.unique_rows[t], rows.data());
      const auto* values = static_cast<const float*>(found.values[t]->data());
      EXPECT_TRUE(std::equal(rows.begin(), rows.end(), values)) << "table " << t;
    }
  };
  const LookupOptions options = {.id_dropout = 0.2, .seed = 3, .read_values = true};
  const BatchLookup kept = lookup.Find(world.batch, world.tables, options);
  expect_values(kept);
  expect_values(lookup.FindOrInsert(world.batch, options, world.tables));
  expect_values(lookup.Find(world.batch, world.tables, options));
  expect_values(kept);
  EXPECT_TRUE(lookup.Find(world.batch, world.tables).values.empty());
}

// Rows stand where their first pair is, the unknown row too: against the plainest loop.
TEST(Lookup, UniqueRowsAreInOrderOfFirstAppearance) {
  World world(4);
  Lookup lookup(world.spec);
  for (size_t t = 0; t < world.tables.size(); ++t) {
    for (uint64_t key = 1; key <= 100; ++key) {
      if (key % 3 != 0) world.tables[t].FindOrInsert(key);
    }
  }
  const BatchLookup found = lookup.Find(world.batch, world.tables);
  std::vector<std::vector<uint32_t>> expected(world.tables.size());
  world.ForEachPair(found, [&](size_t table, uint64_t key, uint32_t row) {
    EXPECT_EQ(row, world.tables[table].Find(key));
    std::vector<uint32_t>& rows = expected[table];
    if (std::find(rows.begin(), rows.end(), row) == rows.end()) rows.push_back(row);
  });
  EXPECT_EQ(found.unique_rows, expected);
}

}  // namespace
}  // namespace grab
