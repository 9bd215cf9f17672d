// A batch's keys to table rows, each row of a table once: what one step reads, and updates once
// whatever the multiplicity.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/worker_pool.h"
#include "batch/batch.h"
#include "embedding/key_set.h"
#include "embedding/table.h"
#include "tokens/token_spec.h"

namespace grab {

struct BatchLookup {
  static constexpr uint32_t kNowhere = std::numeric_limits<uint32_t>::max();

  std::vector<std::vector<uint32_t>> unique_rows;  // per table, in the order of first appearance
  // Per column of Batch::partial and Batch::full: for every pair, its place in unique_rows of the
  // slot's table.
  std::vector<std::vector<uint32_t>> partial_index;
  std::vector<std::vector<uint32_t>> full_index;
  std::vector<uint32_t> unknown_place;  // per table: of the unknown row; kNowhere: it is not read
  // Per table f32 [unique rows, dim], if they were asked for. A Lookup writes its next batch's to
  // the same memory once nobody else holds it.
  std::vector<std::shared_ptr<AlignedBuffer>> values;
};

struct LookupOptions {
  // A share of the pairs of droppable tables reads the unknown row instead, by a generator seeded
  // with `seed` (another one per step). Such a pair does not count as an occurrence of its key.
  double id_dropout = 0.0;
  uint64_t seed = 0;
  // FindOrInsert only: the clock of the data, and a bound on bytes() of all tables (0: none).
  uint32_t now_s = 0;
  uint64_t tables_bytes_max = 0;
  // Also reads the rows' values while they are near: half of what finding them costs is that they
  // are not.
  bool read_values = false;
  // Shares the work; null: the calling thread does it. The rows are the same.
  WorkerPool* pool = nullptr;
};

class Lookup {
 public:
  // `spec` must outlive it.
  explicit Lookup(const TokenSpec& spec) : spec_(spec), scratch_(spec.tables.size()) {}

  // Keys without a row read the unknown row. `tables`: one per spec.tables.
  BatchLookup Find(const Batch& batch, const std::vector<EmbeddingTable>& tables,
                   const LookupOptions& options = {});

  // For training: keys that are admitted and fit the budgets get a row, and what is read counts as
  // seen. Budgets grant rows table by table and partition by partition, in the order of the batch.
  BatchLookup FindOrInsert(const Batch& batch, const LookupOptions& options,
                           std::vector<EmbeddingTable>& tables);

 private:
  struct Column {
    const std::vector<uint64_t>* keys;
    std::vector<uint32_t>* index;
    uint64_t draws_before;  // of id dropout, by columns before it
  };
  // Keys of one partition of a table that have no row.
  struct Group {
    size_t table;
    uint32_t begin, end;  // in the scratch's grouped keys
    std::vector<EmbeddingTable::Candidate> candidates;
    size_t granted = 0;
  };
  struct Scratch {  // of a table, kept between batches
    KeySet keys;
    std::vector<uint32_t> rows;  // per distinct key
    std::shared_ptr<AlignedBuffer> values;
    std::vector<uint32_t> order;  // those without a row by partition, for what follows
    std::vector<uint64_t> grouped_keys;
    std::vector<uint32_t> grouped_counts, grouped_rows;
  };

  std::vector<std::vector<Column>> ColumnsOf(const Batch& batch, BatchLookup& lookup) const;
  void CollectKeys(size_t table, const std::vector<Column>& columns, const LookupOptions& options);
  std::vector<size_t> MakeRoom(const std::vector<EmbeddingTable>& tables, bool read_values);
  float* ValuesOf(size_t table, size_t place) const;
  void GroupByPartition(size_t table, std::vector<Group>& groups);
  void AdmitGroup(const Group& group, const LookupOptions& options, EmbeddingTable& table);
  void Grant(const std::vector<EmbeddingTable>& tables, uint64_t tables_bytes_max,
             std::vector<Group>& groups) const;
  absl::Span<const uint64_t> KeysOf(const Group& group) const;
  BatchLookup UniqueRows(const std::vector<std::vector<Column>>& columns,
                         const LookupOptions& options, BatchLookup lookup);
  void UniqueRowsOf(size_t table, const std::vector<Column>& columns, bool has_values,
                    BatchLookup& lookup);

  const TokenSpec& spec_;
  std::vector<Scratch> scratch_;  // per table
  std::vector<uint32_t> dims_;    // of the tables of the current batch
};

}  // namespace grab
