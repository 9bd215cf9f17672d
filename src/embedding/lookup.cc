#include "embedding/lookup.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/rng.h"
#include "embedding/row_batch.h"

namespace grab {
namespace {

constexpr uint32_t kNowhere = BatchLookup::kNowhere;

// Keys found, and rows read, at a time: what is found is still near when it is read.
constexpr size_t kBlockKeys = 512;

void ForEachBlock(WorkerPool* pool, const std::vector<size_t>& sizes,
                  const std::function<void(size_t, size_t, size_t)>& body) {
  ForEachRange(pool, sizes, [&](size_t t, size_t begin, size_t end) {
    for (; begin < end; begin += kBlockKeys) body(t, begin, std::min(end, begin + kBlockKeys));
  });
}

}  // namespace

BatchLookup Lookup::Find(const Batch& batch, const std::vector<EmbeddingTable>& tables,
                         const LookupOptions& options) {
  BatchLookup lookup;
  const std::vector<std::vector<Column>> columns = ColumnsOf(batch, lookup);
  ForEach(options.pool, tables.size(), [&](size_t t) { CollectKeys(t, columns[t], options); });
  const std::vector<size_t> sizes = MakeRoom(tables, options.read_values);
  ForEachBlock(options.pool, sizes, [&](size_t t, size_t begin, size_t end) {
    Scratch& scratch = scratch_[t];
    uint32_t* rows = scratch.rows.data() + begin;
    tables[t].FindRows(absl::MakeSpan(scratch.keys.keys()).subspan(begin, end - begin), rows);
    if (options.read_values) tables[t].ReadRows({rows, end - begin}, ValuesOf(t, begin));
  });
  return UniqueRows(columns, options, std::move(lookup));
}

BatchLookup Lookup::FindOrInsert(const Batch& batch, const LookupOptions& options,
                                 std::vector<EmbeddingTable>& tables) {
  BatchLookup lookup;
  const std::vector<std::vector<Column>> columns = ColumnsOf(batch, lookup);
  ForEach(options.pool, tables.size(), [&](size_t t) { CollectKeys(t, columns[t], options); });
  const std::vector<size_t> sizes = MakeRoom(tables, options.read_values);
  ForEachBlock(options.pool, sizes, [&](size_t t, size_t begin, size_t end) {
    Scratch& scratch = scratch_[t];
    uint32_t* rows = scratch.rows.data() + begin;
    tables[t].SeeRows(absl::MakeSpan(scratch.keys.keys()).subspan(begin, end - begin),
                      scratch.keys.counts().data() + begin, options.now_s, rows);
    if (options.read_values) tables[t].ReadRows({rows, end - begin}, ValuesOf(t, begin));
  });
  std::vector<std::vector<Group>> groups_of(tables.size());
  ForEach(options.pool, tables.size(), [&](size_t t) { GroupByPartition(t, groups_of[t]); });
  std::vector<Group> groups;
  for (std::vector<Group>& of_table : groups_of) {
    std::move(of_table.begin(), of_table.end(), std::back_inserter(groups));
  }
  ForEach(options.pool, groups.size(), [&](size_t g) {
    Group& group = groups[g];
    tables[group.table].CountKeys(
        KeysOf(group), scratch_[group.table].grouped_counts.data() + group.begin, group.candidates);
  });
  Grant(tables, options.tables_bytes_max, groups);
  ForEach(options.pool, groups.size(),
          [&](size_t g) { AdmitGroup(groups[g], options, tables[groups[g].table]); });
  return UniqueRows(columns, options, std::move(lookup));
}

void Lookup::AdmitGroup(const Group& group, const LookupOptions& options, EmbeddingTable& table) {
  Scratch& scratch = scratch_[group.table];
  table.Admit(KeysOf(group), group.candidates, group.granted, options.now_s,
              scratch.grouped_rows.data() + group.begin);
  for (size_t c = 0; c < group.granted; ++c) {
    const uint32_t i = group.begin + group.candidates[c].index;
    scratch.rows[scratch.order[i]] = scratch.grouped_rows[i];
    if (options.read_values) {
      table.Read(scratch.grouped_rows[i], ValuesOf(group.table, scratch.order[i]));
    }
  }
}

// Per table, the columns that read it. Draws of id dropout are numbered through the whole batch,
// whoever makes them.
std::vector<std::vector<Lookup::Column>> Lookup::ColumnsOf(const Batch& batch,
                                                           BatchLookup& lookup) const {
  std::vector<std::vector<Column>> columns(spec_.tables.size());
  lookup.unique_rows.resize(spec_.tables.size());
  lookup.unknown_place.assign(spec_.tables.size(), kNowhere);
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

// For what is found; the number of distinct keys per table.
std::vector<size_t> Lookup::MakeRoom(const std::vector<EmbeddingTable>& tables, bool read_values) {
  std::vector<size_t> sizes;
  dims_.clear();
  for (size_t t = 0; t < tables.size(); ++t) {
    Scratch& scratch = scratch_[t];
    sizes.push_back(scratch.keys.keys().size());
    dims_.push_back(tables[t].dim());
    scratch.rows.resize(sizes[t]);
    if (!read_values) continue;
    const size_t bytes = sizes[t] * dims_[t] * sizeof(float);
    const bool taken = scratch.values == nullptr || scratch.values.use_count() > 1;
    if (taken || scratch.values->bytes() < bytes) {
      scratch.values = std::make_shared<AlignedBuffer>(bytes + bytes / 8);
    }
  }
  return sizes;
}

float* Lookup::ValuesOf(size_t table, size_t place) const {
  return static_cast<float*>(scratch_[table].values->data()) + place * dims_[table];
}

void Lookup::GroupByPartition(size_t table, std::vector<Group>& groups) {
  constexpr uint32_t kPartitions = EmbeddingTable::kPartitions;
  Scratch& scratch = scratch_[table];
  const std::vector<uint64_t>& keys = scratch.keys.keys();
  const auto lacks_row = [&](size_t i) {
    return scratch.rows[i] == EmbeddingTable::kUnknownRow && keys[i] != 0;
  };
  std::array<uint32_t, kPartitions + 1> begin = {};
  for (size_t i = 0; i < keys.size(); ++i) {
    if (lacks_row(i)) ++begin[EmbeddingTable::PartitionOf(keys[i]) + 1];
  }
  for (uint32_t p = 0; p < kPartitions; ++p) {
    begin[p + 1] += begin[p];
    if (begin[p + 1] > begin[p]) groups.push_back({table, begin[p], begin[p + 1], {}, 0});
  }
  const uint32_t absent = begin[kPartitions];
  scratch.order.resize(absent);
  scratch.grouped_keys.resize(absent);
  scratch.grouped_counts.resize(absent);
  scratch.grouped_rows.resize(absent);
  for (size_t i = 0; absent > 0 && i < keys.size(); ++i) {
    if (!lacks_row(i)) continue;
    const uint32_t to = begin[EmbeddingTable::PartitionOf(keys[i])]++;
    scratch.order[to] = static_cast<uint32_t>(i);
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

BatchLookup Lookup::UniqueRows(const std::vector<std::vector<Column>>& columns,
                               const LookupOptions& options, BatchLookup lookup) {
  ForEach(options.pool, columns.size(),
          [&](size_t t) { UniqueRowsOf(t, columns[t], options.read_values, lookup); });
  if (!options.read_values) return lookup;
  for (const Scratch& scratch : scratch_) lookup.values.push_back(scratch.values);
  return lookup;
}

// The keys that read the unknown row share one place.
void Lookup::UniqueRowsOf(size_t table, const std::vector<Column>& columns, bool has_values,
                          BatchLookup& lookup) {
  const std::vector<uint32_t>& rows = scratch_[table].rows;
  std::vector<uint32_t>& unique = lookup.unique_rows[table];
  unique.reserve(rows.size());
  std::vector<uint32_t>& places = scratch_[table].order;
  places.resize(rows.size());
  uint32_t& unknown = lookup.unknown_place[table];
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool again = rows[i] == EmbeddingTable::kUnknownRow && unknown != kNowhere;
    places[i] = again ? unknown : static_cast<uint32_t>(unique.size());
    if (again) continue;
    if (rows[i] == EmbeddingTable::kUnknownRow) unknown = places[i];
    if (has_values && places[i] != i) {
      std::copy_n(ValuesOf(table, i), dims_[table], ValuesOf(table, places[i]));
    }
    unique.push_back(rows[i]);
  }
  if (unique.size() == rows.size()) return;
  for (const Column& column : columns) {
    for (uint32_t& place : *column.index) place = places[place];
  }
}

}  // namespace grab
