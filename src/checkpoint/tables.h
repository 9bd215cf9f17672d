// Embedding tables in a safetensors file (docs/formats/checkpoint.md): keys and values; of tables
// that are trained also optimiser state, the life of the rows, and what the table knows of keys
// without one. Row 0 of the file is the unknown row.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "embedding/table.h"
#include "tokens/token_spec.h"

namespace grab {

// `tables`: one per spec, in its order. Equal tables give equal files, and a table that is read
// back goes on as the written one would have.
Status WriteTables(const std::vector<TableSpec>& specs, const std::vector<EmbeddingTable>& tables,
                   const std::string& path);

// What a server needs of the tables, in a file of its own: keys and values. kChanged writes a
// delta, only the rows that changed in the tables' period (and the unknown row), with the keys that
// lost theirs; the tables must remember all of those (Tombstones::complete).
enum class TableRows { kAll, kChanged };
Status WriteServedTables(const std::vector<TableSpec>& specs,
                         const std::vector<EmbeddingTable>& tables, TableRows rows,
                         const std::string& path);

// Brings tables without an optimiser to where the delta at `path` was written. On an error they are
// as before.
Status ApplyTables(const std::string& path, const std::vector<TableSpec>& specs,
                   std::vector<EmbeddingTable>& tables);

// Fills new tables (only the unknown row yet). A table without an optimiser takes the file's
// precision and ignores all but keys and values; one with an optimiser needs its own precision and
// all tensors. What is missing or of another shape, doubled keys, numbers that are not finite or
// out of range are errors naming file, tensor and row.
Status ReadTables(const std::string& path, const std::vector<TableSpec>& specs,
                  std::vector<EmbeddingTable>& tables);

// Whether the file has this table in its own precision with all that a table of its settings needs
// to go on training.
StatusOr<bool> HasTableState(const std::string& path, const TableSpec& spec,
                             const EmbeddingTable& table);

}  // namespace grab
