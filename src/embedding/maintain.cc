#include "embedding/maintain.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "embedding/row_batch.h"

namespace grab {
namespace {

constexpr uint32_t kPartitions = EmbeddingTable::kPartitions;
using Rank = EmbeddingTable::Rank;

void EvictOutlived(uint32_t now_s, std::vector<EmbeddingTable>& tables, WorkerPool* pool) {
  std::vector<std::pair<size_t, uint32_t>> due;
  for (size_t t = 0; t < tables.size(); ++t) {
    const TableOptions& options = tables[t].options();
    if (options.ttl_s == 0.0 && options.frequency_min == 0.0) continue;
    uint32_t& at = tables[t].sweep_at();
    uint32_t rows = 0;
    for (uint32_t swept = 0; swept < kPartitions && rows < kSweepRows; ++swept) {
      due.emplace_back(t, at);
      rows += tables[t].partition_rows(at);
      at = (at + 1) % kPartitions;
    }
  }
  ForEach(pool, due.size(),
          [&](size_t i) { tables[due[i].first].EvictOutlived(due[i].second, now_s); });
}

// How many rows there are by the 16 bits at `shift` of their rank, among those whose higher bits
// are `prefix`.
std::vector<uint64_t> CountDigits(const EmbeddingTable& table, Rank prefix, int shift,
                                  uint32_t now_s, WorkerPool* pool) {
  constexpr size_t kDigits = 1 << 16;
  const size_t parts = pool == nullptr ? 1 : static_cast<size_t>(pool->threads());
  std::vector<std::vector<uint64_t>> counts(parts, std::vector<uint64_t>(kDigits));
  ForEach(pool, parts, [&](size_t part) {
    for (auto p = static_cast<uint32_t>(part); p < kPartitions; p += static_cast<uint32_t>(parts)) {
      table.ForEachRowOf(p, [&](uint32_t row) {
        const Rank rank = table.RankOf(row, now_s);
        if (row == EmbeddingTable::kUnknownRow || rank >> (shift + 16) != prefix) return;
        ++counts[part][static_cast<size_t>(rank >> shift) % kDigits];
      });
    }
  });
  for (size_t part = 1; part < parts; ++part) {
    for (size_t i = 0; i < kDigits; ++i) counts[0][i] += counts[part][i];
  }
  return counts[0];
}

// The rank below which there are `lowest` rows, fewer than the table has beside the unknown one;
// digit by digit, as ranks of so many rows are not kept.
Rank RankAbove(const EmbeddingTable& table, uint64_t lowest, uint32_t now_s, WorkerPool* pool) {
  constexpr int kRankBits = 96;
  Rank prefix = 0;
  for (int shift = kRankBits - 16; shift >= 0; shift -= 16) {
    const std::vector<uint64_t> counts = CountDigits(table, prefix, shift, now_s, pool);
    size_t digit = 0;
    while (lowest >= counts[digit]) lowest -= counts[digit++];
    prefix = prefix << 16 | digit;
    if (lowest == 0) return prefix << shift;
  }
  GRAB_CHECK(false);  // ranks are distinct, as keys are
  return 0;
}

void EvictLowest(uint64_t rows, uint32_t now_s, EmbeddingTable& table, WorkerPool* pool) {
  rows = std::min(rows, table.rows() - 1);
  if (rows == 0) return;
  const bool all = rows == table.rows() - 1;
  const Rank bound = all ? ~Rank{0} : RankAbove(table, rows, now_s, pool);
  ForEach(pool, kPartitions,
          [&](size_t p) { table.EvictBelow(static_cast<uint32_t>(p), bound, now_s); });
}

void EvictOverTotal(uint32_t now_s, uint64_t bytes_max, std::vector<EmbeddingTable>& tables,
                    WorkerPool* pool) {
  uint64_t bytes = 0, row_bytes_max = 0;
  for (const EmbeddingTable& table : tables) {
    bytes += table.bytes();
    row_bytes_max = std::max(row_bytes_max, table.row_bytes());
  }
  if (bytes + row_bytes_max <= bytes_max) return;
  const double share =
      1.0 - kBudgetKept * static_cast<double>(bytes_max) / static_cast<double>(bytes);
  for (EmbeddingTable& table : tables) {
    const double over = share * static_cast<double>(table.bytes());
    EvictLowest(static_cast<uint64_t>(std::ceil(over / static_cast<double>(table.row_bytes()))),
                now_s, table, pool);
  }
}

}  // namespace

void MaintainTables(uint32_t now_s, uint64_t tables_bytes_max, std::vector<EmbeddingTable>& tables,
                    WorkerPool* pool) {
  EvictOutlived(now_s, tables, pool);
  for (EmbeddingTable& table : tables) {
    const uint64_t rows_max = table.rows_max();
    if (table.options().bytes_max == 0 || table.rows() < rows_max) continue;
    const auto kept = static_cast<uint64_t>(kBudgetKept * static_cast<double>(rows_max));
    EvictLowest(table.rows() - kept, now_s, table, pool);
  }
  if (tables_bytes_max > 0) EvictOverTotal(now_s, tables_bytes_max, tables, pool);
}

}  // namespace grab
