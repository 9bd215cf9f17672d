// Steps of tables that live: keys come and go, admission, every kind of eviction and a total budget
// at work, in every precision and optimiser, driven by a seed.
#pragma once

#include <cmath>
#include <vector>

#include "base/worker_pool.h"
#include "embedding/lookup.h"
#include "embedding/maintain.h"
#include "embedding/row_batch.h"
#include "support/random_world.h"

namespace grab::testing {

class LivingTables {
 public:
  explicit LivingTables(uint64_t seed) : seed_(seed), tables(Empty()) {}

  std::vector<EmbeddingTable> Empty() const {
    constexpr RowPrecision kPrecisions[] = {RowPrecision::kF32, RowPrecision::kBf16,
                                            RowPrecision::kF16};
    std::vector<EmbeddingTable> empty;
    for (const TableSpec& table : spec.tables) {
      const size_t t = empty.size();
      TableOptions options;
      options.dim = table.dim;
      options.optimiser = t % 2 == 0 ? SparseOptimiser::kAdagrad : SparseOptimiser::kAdam;
      options.precision = kPrecisions[t % 3];
      options.init_std = 0.1;
      options.seed = t;
      options.learning_rate = 0.01 * static_cast<double>(t + 1);
      options.admission_count = t % 2 == 0 ? 2 : 1;
      options.sketch_bytes = 1 << 14;
      options.ttl_s = 400;
      options.frequency_min = 0.4;
      options.frequency_half_life_s = 100;
      options.bytes_max = 250000;
      empty.emplace_back(options);
    }
    return empty;
  }

  void Step(uint64_t step, WorkerPool* pool) {
    const Batch batch = MakeBatch(step);
    LookupOptions options;
    options.id_dropout = 0.1;
    options.seed = step;
    options.now_s = static_cast<uint32_t>(1000 + 20 * step);
    options.tables_bytes_max = 900000;
    options.read_values = step % 2 == 0;
    options.pool = pool;
    const BatchLookup found = lookup_.FindOrInsert(batch, options, tables);
    std::vector<std::vector<float>> rows(tables.size());
    std::vector<float*> out;
    std::vector<const float*> gradients;
    for (size_t t = 0; t < tables.size(); ++t) {
      rows[t].resize(found.unique_rows[t].size() * tables[t].dim());
      out.push_back(rows[t].data());
      gradients.push_back(t == 1 && step % 3 == 0 ? nullptr : out.back());
    }
    if (options.read_values) {
      for (size_t t = 0; t < tables.size(); ++t) {
        std::copy_n(static_cast<const float*>(found.values[t]->data()), rows[t].size(), out[t]);
      }
    } else {
      GatherRows(tables, found.unique_rows, out, pool);
    }
    for (std::vector<float>& values : rows) {
      for (size_t i = 0; i < values.size(); ++i) values[i] += 0.01f * static_cast<float>(i % 7);
    }
    UpdateRows(found.unique_rows, gradients, 0.5, tables, pool);
    MaintainTables(options.now_s, options.tables_bytes_max, tables, pool);
    if (step % 9 == 5) tables[0].EndPeriod();
  }

  const Config config = MakeConfig();
  const Schema schema = *Schema::FromConfig(config);
  const TokenSpec spec = *TokenSpec::FromConfig(config, schema, 4);

 private:
  // A batch of full tokens whose keys drift: what was common becomes rare.
  Batch MakeBatch(uint64_t step) const {
    constexpr uint32_t kRows = 500;
    Rng rng(seed_, step);
    Batch batch;
    batch.full.rows = kRows;
    for (size_t s = 0; s < spec.slots.size(); ++s) {
      if (spec.slots[s].table < 0) continue;
      batch.full.slots.push_back(static_cast<int>(s));
      SlotColumn& column = batch.full.columns.emplace_back();
      for (uint32_t r = 0; r < kRows; ++r) {
        const double u = rng.Uniform();
        column.keys.push_back(1 + 200 * step + static_cast<uint64_t>(4000 * u * u));
      }
    }
    return batch;
  }

  uint64_t seed_;
  Lookup lookup_{spec};

 public:
  std::vector<EmbeddingTable> tables;
};

}  // namespace grab::testing
