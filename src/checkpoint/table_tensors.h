// The tensors of one embedding table, as tables.h writes and reads them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/safetensors_header.h"
#include "embedding/table.h"

namespace grab {

inline constexpr uint32_t kTableRowsPerPart = 4096;  // read and written at a time

// Names behind "table.NAME.".
inline constexpr char kTableKeys[] = "keys";              // U64 [rows]
inline constexpr char kTableValues[] = "values";          // F32, BF16 or F16 [rows, dim]
inline constexpr char kTableState[] = "state";            // F32 [rows, state width]
inline constexpr char kTableLastSeen[] = "last_seen_s";   // U32 [rows]
inline constexpr char kTableScore[] = "score";            // F32 [rows]
inline constexpr char kTableUpdates[] = "updates";        // U32 [rows]
inline constexpr char kTableChanged[] = "changed";        // U8 [rows], 0 or 1
inline constexpr char kTableTombstones[] = "tombstones";  // U64 [evicted keys]
inline constexpr char kTableSketch[] = "sketch";          // U8 [partitions, counters]
inline constexpr char kTableLife[] = "life";              // I64 [TableLife::kSize]

inline Dtype ValuesDtype(RowPrecision precision) {
  switch (precision) {
    case RowPrecision::kF32:
      return Dtype::kF32;
    case RowPrecision::kBf16:
      return Dtype::kBF16;
    case RowPrecision::kF16:
      return Dtype::kF16;
  }
  return Dtype::kF32;
}

// The numbers of a table that no row has: its counts, the partition to sweep next, then of each
// partition the additions to its sketch, and whether tombstones were lost.
struct TableLife {
  static constexpr size_t kSingle = 6;
  static constexpr size_t kSize = kSingle + 2 * EmbeddingTable::kPartitions;

  static std::vector<int64_t> Of(const EmbeddingTable& table);
  // False if a number is out of range; `table` may then be half filled.
  static bool Restore(const std::vector<int64_t>& numbers, EmbeddingTable& table);
};

}  // namespace grab
