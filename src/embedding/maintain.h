// Eviction between steps: rows that outlived their time or are seen too rarely, and the least seen
// ones of what passes a budget.
#pragma once

#include <cstdint>
#include <vector>

#include "base/worker_pool.h"
#include "embedding/table.h"

namespace grab {

// Rows over which one call looks for ttl_s and frequency_min, per table, in whole partitions: a
// larger table is looked through in turns, at most 64 calls long.
inline constexpr uint32_t kSweepRows = 1 << 16;
// What a budget that is used up is brought down to.
inline constexpr double kBudgetKept = 0.95;

// Call after every step. `now_s`: the clock of the data, the newest request trained so far.
// `tables_bytes_max` bounds bytes() of all tables (0: none); what is over is taken from the tables
// in proportion to their bytes. Never the unknown row. Rows are numbered anew where any went.
void MaintainTables(uint32_t now_s, uint64_t tables_bytes_max, std::vector<EmbeddingTable>& tables,
                    WorkerPool* pool);

}  // namespace grab
