// A batch's keys to table rows, each row of a table once: what one step reads, and updates once
// whatever the multiplicity.
#pragma once

#include <cstdint>
#include <vector>

#include "batch/batch.h"
#include "embedding/table.h"
#include "tokens/token_spec.h"

namespace grab {

struct BatchLookup {
  std::vector<std::vector<uint32_t>> unique_rows;  // per table
  // Per column of Batch::partial and Batch::full: for every pair, its place in unique_rows of the
  // slot's table.
  std::vector<std::vector<uint32_t>> partial_index;
  std::vector<std::vector<uint32_t>> full_index;
};

class Lookup {
 public:
  // `spec` must outlive it.
  explicit Lookup(const TokenSpec& spec);

  // Keys without a row read the unknown row. `tables`: one per spec.tables.
  BatchLookup Find(const Batch& batch, const std::vector<EmbeddingTable>& tables);

  // For training: keys without a row get one, and a share `id_dropout` of the pairs of droppable
  // tables reads the unknown row instead, by a generator seeded with `seed` (another one per step).
  BatchLookup FindOrInsert(const Batch& batch, double id_dropout, uint64_t seed,
                           std::vector<EmbeddingTable>& tables);

 private:
  template <class RowOf>
  BatchLookup Resolve(const Batch& batch, const RowOf& row_of);
  uint32_t Place(size_t table, uint32_t row, BatchLookup& lookup);

  const TokenSpec& spec_;
  std::vector<std::vector<uint32_t>> place_of_row_;  // per table; kNowhere between batches
};

}  // namespace grab
