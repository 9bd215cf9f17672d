// What tests of embedding tables share.
#pragma once

#include <map>
#include <vector>

#include "embedding/table.h"

namespace grab::testing {

inline std::vector<float> Values(const EmbeddingTable& table, uint32_t row) {
  std::vector<float> values(table.dim());
  table.Read(row, values.data());
  return values;
}

// All that a table is, by key, whatever its rows are numbered.
struct RowCopy {
  std::vector<float> values, state;
  uint32_t last_seen_s, updates;
  float score;
  bool changed;

  bool operator==(const RowCopy&) const = default;
};

inline std::map<uint64_t, RowCopy> RowsByKey(const EmbeddingTable& table) {
  std::map<uint64_t, RowCopy> rows;
  table.ForEachRow([&](uint32_t row) {
    const RowLife& life = table.life(row);
    rows[table.key(row)] = {
        Values(table, row), {table.state(row), table.state(row) + table.state_width()},
        life.last_seen_s,   life.updates,
        life.score,         table.changed(row)};
  });
  return rows;
}

}  // namespace grab::testing
