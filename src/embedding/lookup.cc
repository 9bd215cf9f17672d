#include "embedding/lookup.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/rng.h"
#include "embedding/row_batch.h"

namespace grab {
namespace {

constexpr uint32_t kNowhere = std::numeric_limits<uint32_t>::max();

}  // namespace

BatchLookup Lookup::Find(const Batch& batch, const std::vector<EmbeddingTable>& tables,
                         const LookupOptions& options) {
  BatchLookup lookup;
  const std::vector<std::vector<Column>> columns = ColumnsOf(batch, lookup);
  ForEach(options.pool, tables.size(), [&](size_t t) { CollectKeys(t, columns[t], options); });
  std::vector<size_t> sizes;
  for (Scratch& scratch : scratch_) {
    sizes.push_back(scratch.keys.keys().size());
    scratch.rows.resize(sizes.back());
  }
  ForEachRange(options.pool, sizes, [&](size_t t, size_t begin, size_t end) {
    const absl::Span<const uint64_t> keys = scratch_[t].keys.keys();
    tables[t].FindRows(keys.subspan(begin, end - begin), scratch_[t].rows.data() + begin);
  });
  ForEach(options.pool, tables.size(), [&](size_t t) { UniqueRows(t, columns[t], lookup); });
  return lookup;
}

BatchLookup Lookup::FindOrInsert(const Batch& batch, const LookupOptions& options,
                                 std::vector<EmbeddingTable>& tables) {
  BatchLookup lookup;
  const std::vector<std::vector<Column>> columns = ColumnsOf(batch, lookup);
  std::vector<std::vector<Group>> groups_of(tables.size());
  ForEach(options.pool, tables.size(), [&](size_t t) {
    CollectKeys(t, columns[t], options);
    GroupByPartition(t, groups_of[t]);
  });
  std::vector<Group> groups;
  for (std::vector<Group>& of_table : groups_of) {
    std::move(of_table.begin(), of_table.end(), std::back_inserter(groups));
  }
  ForEach(options.pool, groups.size(), [&](size_t g) {
    Group& group = groups[g];
    Scratch& scratch = scratch_[group.table];
    tables[group.table].SeeKeys(KeysOf(group), scratch.grouped_counts.data() + group.begin,
                                options.now_s, scratch.grouped_rows.data() + group.begin,
                                group.candidates);
  });
  Grant(tables, options.tables_bytes_max, groups);
  ForEach(options.pool, groups.size(), [&](size_t g) {
    const Group& group = groups[g];
    Scratch& scratch = scratch_[group.table];
    tables[group.table].Admit(KeysOf(group), group.candidates, group.granted, options.now_s,
                              scratch.grouped_rows.data() + group.begin);
    for (uint32_t i = group.begin; i < group.end; ++i) {
      scratch.rows[scratch.order[i]] = scratch.grouped_rows[i];
    }
  });
  ForEach(options.pool, tables.size(), [&](size_t t) { UniqueRows(t, columns[t], lookup); });
  return lookup;
}

// Per table, the columns that read it. Draws of id dropout are numbered through the whole batch,
// whoever makes them.
std::vector<std::vector<Lookup::Column>> Lookup::ColumnsOf(const Batch& batch,
                                                           BatchLookup& lookup) const {
  std::vector<std::vector<Column>> columns(spec_.tables.size());
  lookup.unique_rows.resize(spec_.tables.size());
  uint64_t draws = 0;
  const auto add = [&](const TokenColumns& view, std::vector<std::vector<uint32_t>>& index) {
    index.resize(view.columns.size());
    for (size_t c = 0; c < view.columns.size(); ++c) {
      const TokenSlot& slot = spec_.slots[static_cast<size_t>(view.slots[c])];
      if (slot.table < 0) continue;
      const auto table = static_cast<size_t>(slot.table);
      columns[table].push_back({&view.columns[c].keys, &index[c], draws});
      if (spec_.tables[table].droppable) draws += view.columns[c].keys.size();
    }
  };
  add(batch.partial, lookup.partial_index);
  add(batch.full, lookup.full_index);
  return columns;
}

// A dropped pair reads key 0, which no row has.
void Lookup::CollectKeys(size_t table, const std::vector<Column>& columns,
                         const LookupOptions& options) {
  constexpr size_t kAhead = 16;
  KeySet& distinct = scratch_[table].keys;
  distinct.Clear();
  const bool drops = options.id_dropout > 0.0 && spec_.tables[table].droppable;
  Rng rng(options.seed);
  for (const Column& column : columns) {
    rng.set_index(column.draws_before);
    const std::vector<uint64_t>& keys = *column.keys;
    column.index->resize(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      if (i + kAhead < keys.size()) distinct.Prefetch(keys[i + kAhead]);
      const bool drop = drops && rng.Bernoulli(options.id_dropout);
      (*column.index)[i] = distinct.Add(drop ? 0 : keys[i]);
    }
  }
}

void Lookup::GroupByPartition(size_t table, std::vector<Group>& groups) {
  constexpr uint32_t kPartitions = EmbeddingTable::kPartitions;
  Scratch& scratch = scratch_[table];
  const std::vector<uint64_t>& keys = scratch.keys.keys();
  scratch.rows.resize(keys.size());
  scratch.order.resize(keys.size());
  scratch.grouped_keys.resize(keys.size());
  scratch.grouped_counts.resize(keys.size());
  scratch.grouped_rows.resize(keys.size());
  std::array<uint32_t, kPartitions + 1> begin = {};
  for (const uint64_t key : keys) ++begin[EmbeddingTable::PartitionOf(key) + 1];
  for (uint32_t p = 0; p < kPartitions; ++p) {
    begin[p + 1] += begin[p];
    if (begin[p + 1] > begin[p]) groups.push_back({table, begin[p], begin[p + 1], {}, 0});
  }
  for (uint32_t i = 0; i < keys.size(); ++i) {
    const uint32_t to = begin[EmbeddingTable::PartitionOf(keys[i])]++;
    scratch.order[to] = i;
    scratch.grouped_keys[to] = keys[i];
    scratch.grouped_counts[to] = scratch.keys.counts()[i];
  }
}

absl::Span<const uint64_t> Lookup::KeysOf(const Group& group) const {
  return absl::MakeSpan(scratch_[group.table].grouped_keys)
      .subspan(group.begin, group.end - group.begin);
}

void Lookup::Grant(const std::vector<EmbeddingTable>& tables, uint64_t tables_bytes_max,
                   std::vector<Group>& groups) const {
  std::vector<uint64_t> free_rows;
  uint64_t free_bytes = std::numeric_limits<uint64_t>::max();
  uint64_t bytes = 0;
  for (const EmbeddingTable& table : tables) {
    bytes += table.bytes();
    free_rows.push_back(table.rows_max() - std::min(table.rows_max(), table.rows()));
  }
  if (tables_bytes_max > 0) free_bytes = tables_bytes_max - std::min(tables_bytes_max, bytes);
  for (Group& group : groups) {
    uint64_t& rows = free_rows[group.table];
    const uint64_t row_bytes = tables[group.table].row_bytes();
    group.granted = std::min<uint64_t>({group.candidates.size(), rows, free_bytes / row_bytes});
    rows -= group.granted;
    free_bytes -= group.granted * row_bytes;
  }
}

// The keys that read the unknown row share one place.
void Lookup::UniqueRows(size_t table, const std::vector<Column>& columns, BatchLookup& lookup) {
  const std::vector<uint32_t>& rows = scratch_[table].rows;
  std::vector<uint32_t>& unique = lookup.unique_rows[table];
  unique.reserve(rows.size());
  std::vector<uint32_t>& places = scratch_[table].order;
  places.resize(rows.size());
  uint32_t unknown = kNowhere;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool again = rows[i] == EmbeddingTable::kUnknownRow && unknown != kNowhere;
    places[i] = again ? unknown : static_cast<uint32_t>(unique.size());
    if (again) continue;
    if (rows[i] == EmbeddingTable::kUnknownRow) unknown = places[i];
    unique.push_back(rows[i]);
  }
  if (unique.size() == rows.size()) return;
  for (const Column& column : columns) {
    for (uint32_t& place : *column.index) place = places[place];
  }
}

}  // namespace grab
