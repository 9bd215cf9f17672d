// The embedding tables of a run, from its settings.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "embedding/table.h"
#include "model/spec.h"
#include "nlohmann/json_fwd.hpp"

namespace grab {

// A budget has to hold as many rows of its table, or of every table.
inline constexpr uint64_t kBudgetRowsMin = 1024;

// One per spec.tokens.tables, empty yet. Rows of a pass (from 0) that starts with empty tables
// (restart_tables) have first values of their own, as in MEDA (arXiv 2305.19531).
std::vector<EmbeddingTable> MakeTables(const ModelSpec& spec, const TrainConfig& config,
                                       int64_t pass);

// What only the model's tables tell: a setting for a table that the model lacks, and budgets that
// hold too little. InvalidArgument naming the setting and what it needs at least.
Status CheckTables(const ModelSpec& spec, const TrainConfig& config);

// Rows, bytes and what happened to keys, of all tables together: for the log.
nlohmann::json DescribeTables(const std::vector<EmbeddingTable>& tables);

}  // namespace grab
