// A dynamic embedding table: 64-bit keys get rows as training meets them and lose them when they
// are no longer worth their bytes. Optimiser state lies beside the row. The unknown row is what a
// key reads that has none; id dropout trains it.
//
// Rows are in 64 partitions by the key's hash. What is said of threads is said of a partition: one
// thread at a time may change it, threads may work on different ones, and nothing depends on which
// does what. A row's number holds until rows are evicted (maintain.h); a table read back from a
// checkpoint numbers its rows as the one that was written.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "embedding/count_sketch.h"
#include "embedding/row_layout.h"
#include "embedding/row_store.h"

namespace grab {

// Seconds of the clock of the data as rows keep them, 1970 to 2106.
constexpr uint32_t ClockSeconds(int64_t unix_s) {
  constexpr int64_t kMax = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(std::clamp<int64_t>(unix_s, 0, kMax));
}

struct TableOptions {
  uint32_t dim = 0;
  SparseOptimiser optimiser = SparseOptimiser::kNone;
  double init_std = 0.0;
  uint64_t seed = 0;
  RowPrecision precision = RowPrecision::kF32;
  double learning_rate = 0.0;  // times the schedule's factor
  // A key gets a row at its `admission_count`th occurrence, counted in a sketch of `sketch_bytes`.
  uint32_t admission_count = 1;
  uint64_t sketch_bytes = 0;
  double ttl_s = 0.0;                  // rows not seen for longer are evicted; 0: never
  double frequency_min = 0.0;          // rows whose decayed occurrences fall below it are; 0: never
  double frequency_half_life_s = 0.0;  // of an occurrence's weight; 0: no decay
  uint64_t bytes_max = 0;              // of bytes(); 0: no limit
};

// What happened to keys since the table was new, or the run it resumed.
struct TableCounts {
  uint64_t admitted = 0;
  uint64_t refused = 0;  // would have got a row but for a budget; once per step
  uint64_t evicted_ttl = 0;
  uint64_t evicted_frequency = 0;
  uint64_t evicted_budget = 0;

  TableCounts& operator+=(const TableCounts& other);
};

class EmbeddingTable {
 public:
  static constexpr uint32_t kUnknownRow = 0;
  static constexpr uint32_t kPartitions = 64;
  static constexpr uint64_t kRowsMax = uint64_t{RowStore::kRowsMax} * kPartitions;
  // Evicted keys remembered per partition; with more the next release has to hold the whole table.
  static constexpr size_t kTombstonesMax = 1 << 18;

  explicit EmbeddingTable(TableOptions options);

  const TableOptions& options() const { return options_; }
  const RowLayout& layout() const { return layout_; }
  uint32_t dim() const { return options_.dim; }
  uint32_t state_width() const { return layout_.state_width; }
  uint64_t rows() const;  // the unknown row included
  TableCounts counts() const;

  // What rows are charged with: row_bytes() each, which covers the index at its emptiest, and what
  // the table takes beside them. bytes() is what a budget bounds.
  uint64_t row_bytes() const;
  uint64_t fixed_bytes() const;
  uint64_t bytes() const { return fixed_bytes() + rows() * row_bytes(); }
  uint64_t rows_max() const;  // that bytes_max allows

  static uint32_t PartitionOf(uint64_t key) {
    return static_cast<uint32_t>(RowStore::Hash(key) % kPartitions);
  }

  // The row of `key` (never the unknown row), kUnknownRow if it has none.
  uint32_t Find(uint64_t key) const;
  // Find for many keys, whose cache misses overlap. `rows` has room for one per key.
  void FindRows(absl::Span<const uint64_t> keys, uint32_t* rows) const;
  // As Find, but a new key (not 0) gets a row at once, whatever admission and budgets say, whose
  // first values depend only on (seed, key). It ages from the first sweep on.
  uint32_t FindOrInsert(uint64_t key);

  // A step's look-up of distinct keys, in parts, so that the caller can hold the last one to a
  // budget. `occurrences`: of each key in the step.
  // The keys that have rows are seen at `now_s`, the others read the unknown row. Threads may do so
  // at once, of any keys that differ, as long as nothing else changes the table.
  void SeeRows(absl::Span<const uint64_t> keys, const uint32_t* occurrences, uint32_t now_s,
               uint32_t* rows);
  // Of keys of one partition that have no row: those seen often enough become candidates.
  struct Candidate {
    uint32_t index;  // into keys
    uint32_t count;  // its occurrences so far
  };
  void CountKeys(absl::Span<const uint64_t> keys, const uint32_t* occurrences,
                 std::vector<Candidate>& candidates);
  // The first `granted` candidates get rows, the others are counted as refused.
  void Admit(absl::Span<const uint64_t> keys, absl::Span<const Candidate> candidates,
             size_t granted, uint32_t now_s, uint32_t* rows);

  // Of a table without an optimiser: takes the key's row out, if it has one.
  void Erase(uint64_t key);

  uint64_t key(uint32_t row) const { return StoreOf(row).key(PlaceOf(row)); }  // 0: unknown row
  // All rows: the unknown row, then partition by partition.
  template <class F>
  void ForEachRow(const F& visit) const {
    for (uint32_t p = 0; p < kPartitions; ++p) ForEachRowOf(p, visit);
  }
  template <class F>
  void ForEachRowOf(uint32_t partition, const F& visit) const {
    const uint32_t size = partitions_[partition].rows.size();
    for (uint32_t place = 0; place < size; ++place) visit(RowAt(partition, place));
  }

  // Values as f32. `out` [dim], or [rows, dim].
  void Read(uint32_t row, float* out) const;
  void ReadRows(absl::Span<const uint32_t> rows, float* out) const;
  void AddTo(uint32_t row, float weight, float* out) const;  // out += weight * values
  void Write(uint32_t row, const float* values);             // rounds at random, as an update does

  // One optimiser step of one row; call once per row and step with the summed gradient [dim].
  void Update(uint32_t row, const float* gradient, float learning_rate);
  void UpdateRows(absl::Span<const uint32_t> rows, const float* gradients, float learning_rate);

  // As stored, for checkpoints. Of tables with an optimiser only: state [state_width()], life.
  std::byte* stored_values(uint32_t row) { return RowData(row) + layout_.values_at; }
  const std::byte* stored_values(uint32_t row) const { return RowData(row) + layout_.values_at; }
  float* state(uint32_t row) { return reinterpret_cast<float*>(RowData(row) + layout_.state_at); }
  const float* state(uint32_t row) const {
    return reinterpret_cast<const float*>(RowData(row) + layout_.state_at);
  }
  RowLife& life(uint32_t row) { return *reinterpret_cast<RowLife*>(RowData(row) + kLifeAt); }
  const RowLife& life(uint32_t row) const {
    return *reinterpret_cast<const RowLife*>(RowData(row) + kLifeAt);
  }

  // Eviction (maintain.h). The occurrences of a row decayed to `now_s`; rows of a partition that
  // outlived ttl_s or fell below frequency_min; rows whose Rank lies below `bound`.
  float Score(uint32_t row, uint32_t now_s) const;
  using Rank = unsigned __int128;  // orders rows by their score, equal ones by key
  Rank RankOf(uint32_t row, uint32_t now_s) const;
  void EvictOutlived(uint32_t partition, uint32_t now_s);
  void EvictBelow(uint32_t partition, Rank bound, uint32_t now_s);

  // Releases: rows that changed and keys that went since the last one. A period ends with
  // EndPeriod, after both were taken.
  template <class F>
  void ForEachChanged(const F& visit) const {
    ForEachRow([&](uint32_t row) {
      if (changed(row)) visit(row);
    });
  }
  bool changed(uint32_t row) const { return life(row).changed_in == period_; }
  void MarkChanged(uint32_t row) { life(row).changed_in = period_; }
  struct Tombstones {
    std::vector<uint64_t> keys;  // ascending; without those that have rows again
    bool complete = true;        // false: there were too many, only a whole release is right
  };
  Tombstones CollectTombstones() const;
  void EndPeriod();

  // What a checkpoint keeps beside the rows.
  struct PartitionLife {
    CountSketch sketch{0};
    std::vector<uint64_t> tombstones;  // in the order of eviction; a key may return, and go again
    bool tombstones_lost = false;
    TableCounts counts;
  };
  PartitionLife& partition_life(uint32_t partition) { return partitions_[partition].life; }
  const PartitionLife& partition_life(uint32_t partition) const {
    return partitions_[partition].life;
  }
  uint32_t& sweep_at() { return sweep_at_; }  // the partition that is next to be swept
  uint32_t sweep_at() const { return sweep_at_; }
  uint32_t partition_rows(uint32_t partition) const { return partitions_[partition].rows.size(); }

 private:
  static constexpr uint32_t kLifeAt = sizeof(uint64_t);
  static constexpr size_t kCacheLine = 64;
  static constexpr size_t kPrefetchedBytesMax = 8 * kCacheLine;

  struct Partition {
    RowStore rows;
    PartitionLife life;
  };

  static uint32_t RowAt(uint32_t partition, uint32_t place) {
    return place * kPartitions + partition;
  }
  static uint32_t PlaceOf(uint32_t row) { return row / kPartitions; }
  const RowStore& StoreOf(uint32_t row) const { return partitions_[row % kPartitions].rows; }
  std::byte* RowData(uint32_t row) const { return StoreOf(row).row(PlaceOf(row)); }
  void Prefetch(uint32_t row) const {
    const std::byte* data = RowData(row);
    const size_t bytes = std::min<size_t>(layout_.stride, kPrefetchedBytesMax);
    for (size_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(data + at, 1);
    __builtin_prefetch(data + bytes - 1, 1);
  }
  void UpdateAdagradRows(absl::Span<const uint32_t> rows, const float* gradients,
                         float learning_rate);
  void Initialise(uint32_t row);
  void Store(uint32_t row, const float* values);
  void Evict(uint32_t partition, uint32_t place);

  TableOptions options_;
  RowLayout layout_;
  std::vector<Partition> partitions_;
  uint32_t period_ = 1;
  uint32_t sweep_at_ = 0;
};

}  // namespace grab
