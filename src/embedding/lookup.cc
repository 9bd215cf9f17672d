#include "embedding/lookup.h"

#include <algorithm>
#include <limits>

#include "base/rng.h"

namespace grab {
namespace {

constexpr uint32_t kNowhere = std::numeric_limits<uint32_t>::max();

}  // namespace

Lookup::Lookup(const TokenSpec& spec) : spec_(spec), place_of_row_(spec.tables.size()) {}

BatchLookup Lookup::Find(const Batch& batch, const std::vector<EmbeddingTable>& tables) {
  return Resolve(batch, [&](size_t table, uint64_t key) { return tables[table].Find(key); });
}

BatchLookup Lookup::FindOrInsert(const Batch& batch, double id_dropout, uint64_t seed,
                                 std::vector<EmbeddingTable>& tables) {
  Rng rng(seed);
  return Resolve(batch, [&](size_t table, uint64_t key) {
    const bool drop =
        id_dropout > 0.0 && spec_.tables[table].droppable && rng.Bernoulli(id_dropout);
    return drop ? EmbeddingTable::kUnknownRow : tables[table].FindOrInsert(key);
  });
}

template <class RowOf>
BatchLookup Lookup::Resolve(const Batch& batch, const RowOf& row_of) {
  BatchLookup lookup;
  lookup.unique_rows.resize(spec_.tables.size());
  const auto index = [&](const TokenColumns& view, std::vector<std::vector<uint32_t>>& out) {
    out.resize(view.columns.size());
    for (size_t c = 0; c < view.columns.size(); ++c) {
      const TokenSlot& slot = spec_.slots[static_cast<size_t>(view.slots[c])];
      if (slot.table < 0) continue;
      const auto table = static_cast<size_t>(slot.table);
      out[c].reserve(view.columns[c].keys.size());
      for (const uint64_t key : view.columns[c].keys) {
        out[c].push_back(Place(table, row_of(table, key), lookup));
      }
    }
  };
  index(batch.partial, lookup.partial_index);
  index(batch.full, lookup.full_index);
  for (size_t t = 0; t < spec_.tables.size(); ++t) {
    for (const uint32_t row : lookup.unique_rows[t]) place_of_row_[t][row] = kNowhere;
  }
  return lookup;
}

uint32_t Lookup::Place(size_t table, uint32_t row, BatchLookup& lookup) {
  std::vector<uint32_t>& place_of_row = place_of_row_[table];
  if (row >= place_of_row.size())
    place_of_row.resize(std::max<size_t>(row + 1, 2 * place_of_row.size()), kNowhere);
  uint32_t& place = place_of_row[row];
  if (place == kNowhere) {
    place = static_cast<uint32_t>(lookup.unique_rows[table].size());
    lookup.unique_rows[table].push_back(row);
  }
  return place;
}

}  // namespace grab
