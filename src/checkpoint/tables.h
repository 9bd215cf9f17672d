// Embedding tables in a safetensors file: per table "table.NAME.keys" U64 [rows], ".values" F32
// [rows, dim] and, if it has optimiser state, ".state" F32 [rows, state width]. Row 0 is the
// unknown row, with key 0.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "embedding/table.h"
#include "tokens/token_spec.h"

namespace grab {

// `tables`: one per spec, in its order.
Status WriteTables(const std::vector<TableSpec>& specs, const std::vector<EmbeddingTable>& tables,
                   const std::string& path);

// Fills new tables (only the unknown row yet). A table without optimiser state ignores the file's;
// one with state needs it. Missing tables, other widths, doubled keys and non-finite values are
// errors naming file, table and row.
// Without `with_state` state stays as new.
Status ReadTables(const std::string& path, const std::vector<TableSpec>& specs,
                  std::vector<EmbeddingTable>& tables, bool with_state = true);

// Whether the file has optimiser state of this table's kind and width.
StatusOr<bool> HasTableState(const std::string& path, const TableSpec& spec,
                             const EmbeddingTable& table);

}  // namespace grab
