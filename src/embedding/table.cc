#include "embedding/table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/rng.h"
#include "kernels/half_rows.h"
#include "kernels/sparse_step.h"

namespace grab {
namespace {

constexpr uint32_t kDimMax = 4096;
// Rows a loop over many is ahead of itself with: as many misses as a core has in flight.
constexpr size_t kRowsAhead = 12;

}  // namespace

TableCounts& TableCounts::operator+=(const TableCounts& other) {
  admitted += other.admitted;
  refused += other.refused;
  evicted_ttl += other.evicted_ttl;
  evicted_frequency += other.evicted_frequency;
  evicted_budget += other.evicted_budget;
  return *this;
}

EmbeddingTable::EmbeddingTable(TableOptions options)
    : options_(options), layout_(RowLayout::Of(options.dim, options.precision, options.optimiser)) {
  GRAB_CHECK(options.dim > 0 && options.dim <= kDimMax);
  GRAB_CHECK(options.admission_count >= 1 && options.admission_count <= CountSketch::kCountMax);
  const uint64_t counters = options.admission_count > 1 ? options.sketch_bytes / kPartitions : 0;
  GRAB_CHECK(options.admission_count == 1 || counters > 0);
  partitions_.reserve(kPartitions);
  for (uint32_t p = 0; p < kPartitions; ++p) {
    partitions_.push_back({RowStore(layout_.stride), {}});
    partitions_[p].life.sketch = CountSketch(counters);
  }
  partitions_[0].rows.Pin();
  Initialise(kUnknownRow);
}

uint64_t EmbeddingTable::rows() const {
  uint64_t rows = 0;
  for (const Partition& partition : partitions_) rows += partition.rows.size();
  return rows;
}

TableCounts EmbeddingTable::counts() const {
  TableCounts counts;
  for (const Partition& partition : partitions_) counts += partition.life.counts;
  return counts;
}

uint64_t EmbeddingTable::row_bytes() const {
  return layout_.stride + static_cast<uint64_t>(KeyIndex::kBytesPerRowMax);
}

uint64_t EmbeddingTable::fixed_bytes() const {
  return sizeof(EmbeddingTable) + kPartitions * sizeof(Partition) +
         (options_.admission_count > 1 ? options_.sketch_bytes : 0);
}

uint64_t EmbeddingTable::rows_max() const {
  if (options_.bytes_max == 0) return kRowsMax;
  const uint64_t fixed = fixed_bytes();
  return options_.bytes_max < fixed ? 0 : (options_.bytes_max - fixed) / row_bytes();
}

uint32_t EmbeddingTable::Find(uint64_t key) const {
  const uint64_t hash = RowStore::Hash(key);
  const auto partition = static_cast<uint32_t>(hash % kPartitions);
  const uint32_t place = partitions_[partition].rows.Find(hash, key);
  return place == RowStore::kNowhere ? kUnknownRow : RowAt(partition, place);
}

void EmbeddingTable::FindRows(absl::Span<const uint64_t> keys, uint32_t* rows) const {
  constexpr size_t kAhead = 16;
  constexpr size_t kRing = 2 * kAhead;
  struct Flight {
    uint64_t hash;
    uint32_t guess;
  };
  std::array<Flight, kRing> ring;
  const auto store = [this](uint64_t hash) -> const RowStore& {
    return partitions_[hash % kPartitions].rows;
  };
  for (size_t i = 0; i < keys.size() + kRing; ++i) {
    if (i >= kRing) {
      const size_t k = i - kRing;
      const auto& [hash, guess] = ring[k % kRing];
      const uint32_t place = store(hash).FindGuessed(hash, keys[k], guess);
      rows[k] = place == RowStore::kNowhere
                    ? kUnknownRow
                    : RowAt(static_cast<uint32_t>(hash % kPartitions), place);
    }
    if (i >= kAhead && i - kAhead < keys.size()) {
      Flight& flight = ring[(i - kAhead) % kRing];
      flight.guess = store(flight.hash).Guess(flight.hash);
    }
    if (i < keys.size()) {
      ring[i % kRing].hash = RowStore::Hash(keys[i]);
      store(ring[i % kRing].hash).PrefetchSlot(ring[i % kRing].hash);
    }
  }
}

uint32_t EmbeddingTable::FindOrInsert(uint64_t key) {
  GRAB_CHECK(key != 0);
  const uint64_t hash = RowStore::Hash(key);
  const auto partition = static_cast<uint32_t>(hash % kPartitions);
  RowStore& store = partitions_[partition].rows;
  const uint32_t found = store.Find(hash, key);
  if (found != RowStore::kNowhere) return RowAt(partition, found);
  const uint32_t row = RowAt(partition, store.Insert(hash, key));
  Initialise(row);
  return row;
}

void EmbeddingTable::SeeRows(absl::Span<const uint64_t> keys, const uint32_t* occurrences,
                             uint32_t now_s, uint32_t* rows) {
  GRAB_CHECK(layout_.lives);
  FindRows(keys, rows);
  for (size_t i = 0; i < keys.size(); ++i) {
    if (rows[i] == kUnknownRow) continue;
    const float score = Score(rows[i], now_s) + static_cast<float>(occurrences[i]);
    RowLife& seen = life(rows[i]);
    seen.score = score;
    seen.last_seen_s = std::max(seen.last_seen_s, now_s);
  }
}

void EmbeddingTable::CountKeys(absl::Span<const uint64_t> keys, const uint32_t* occurrences,
                               std::vector<Candidate>& candidates) {
  for (size_t i = 0; i < keys.size(); ++i) {
    uint32_t count = occurrences[i];
    if (options_.admission_count > 1) {
      const uint64_t hash = RowStore::Hash(keys[i]);
      count = partitions_[hash % kPartitions].life.sketch.Add(hash, count);
    }
    if (count >= options_.admission_count) candidates.push_back({static_cast<uint32_t>(i), count});
  }
}

void EmbeddingTable::Admit(absl::Span<const uint64_t> keys, absl::Span<const Candidate> candidates,
                           size_t granted, uint32_t now_s, uint32_t* rows) {
  if (candidates.empty()) return;
  for (size_t i = 0; i < granted; ++i) {
    const uint32_t row = FindOrInsert(keys[candidates[i].index]);
    rows[candidates[i].index] = row;
    RowLife& born = life(row);
    born.last_seen_s = now_s;
    born.score = static_cast<float>(candidates[i].count);
  }
  TableCounts& counts = partitions_[PartitionOf(keys[candidates[0].index])].life.counts;
  counts.admitted += granted;
  counts.refused += candidates.size() - granted;
}

void EmbeddingTable::Initialise(uint32_t row) {
  if (layout_.lives) life(row) = {0, static_cast<float>(options_.admission_count), 0, period_};
  if (options_.init_std == 0.0) return;
  std::array<float, kDimMax> values;
  Rng rng(options_.seed, key(row));
  for (uint32_t d = 0; d < options_.dim; ++d) {
    values[d] = static_cast<float>(options_.init_std * rng.Normal());
  }
  Store(row, values.data());
}

void EmbeddingTable::Read(uint32_t row, float* out) const {
  const std::byte* values = stored_values(row);
  switch (layout_.precision) {
    case RowPrecision::kF32:
      std::memcpy(out, values, sizeof(float) * layout_.dim);
      return;
    case RowPrecision::kBf16:
      return Bf16RowToF32(layout_.dim, reinterpret_cast<const uint16_t*>(values), out);
    case RowPrecision::kF16:
      return F16RowToF32(layout_.dim, reinterpret_cast<const uint16_t*>(values), out);
  }
}

void EmbeddingTable::ReadRows(absl::Span<const uint32_t> rows, float* out) const {
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i + kRowsAhead < rows.size()) Prefetch(rows[i + kRowsAhead]);
    Read(rows[i], out + i * layout_.dim);
  }
}

void EmbeddingTable::AddTo(uint32_t row, float weight, float* out) const {
  if (layout_.precision == RowPrecision::kF32) {
    const auto* values = reinterpret_cast<const float*>(stored_values(row));
    for (uint32_t d = 0; d < layout_.dim; ++d) out[d] += weight * values[d];
    return;
  }
  std::array<float, kDimMax> values;
  Read(row, values.data());
  for (uint32_t d = 0; d < layout_.dim; ++d) out[d] += weight * values[d];
}

void EmbeddingTable::Store(uint32_t row, const float* values) {
  std::byte* to = stored_values(row);
  if (layout_.precision == RowPrecision::kF32) {
    std::memcpy(to, values, sizeof(float) * layout_.dim);
    return;
  }
  const uint64_t updates = layout_.lives ? life(row).updates : 0;
  const uint64_t seed = Mix64(options_.seed ^ Mix64(key(row) ^ Mix64(updates)));
  const auto round = layout_.precision == RowPrecision::kBf16 ? F32RowToBf16 : F32RowToF16;
  round(layout_.dim, values, seed, reinterpret_cast<uint16_t*>(to));
}

void EmbeddingTable::Write(uint32_t row, const float* values) {
  if (layout_.lives) MarkChanged(row);
  Store(row, values);
}

void EmbeddingTable::Update(uint32_t row, const float* gradient, float learning_rate) {
  GRAB_CHECK_MSG(layout_.lives, "a table without optimiser state cannot be trained");
  std::array<float, kDimMax> widened;
  const bool narrow = layout_.precision != RowPrecision::kF32;
  float* values = narrow ? widened.data() : reinterpret_cast<float*>(stored_values(row));
  if (narrow) Read(row, values);
  float* row_state = state(row);
  const uint32_t dim = layout_.dim;
  if (options_.optimiser == SparseOptimiser::kAdagrad) {
    AdagradRowStep(dim, gradient, learning_rate, values, row_state);
  } else {
    AdamRowStep(dim, gradient, learning_rate, values, row_state, row_state + dim,
                row_state + 2 * dim);
  }
  ++life(row).updates;
  MarkChanged(row);
  if (narrow) Store(row, values);
}

void EmbeddingTable::UpdateRows(absl::Span<const uint32_t> rows, const float* gradients,
                                float learning_rate) {
  if (layout_.precision == RowPrecision::kF32 && options_.optimiser == SparseOptimiser::kAdagrad) {
    return UpdateAdagradRows(rows, gradients, learning_rate);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i + kRowsAhead < rows.size()) Prefetch(rows[i + kRowsAhead]);
    Update(rows[i], gradients + i * layout_.dim, learning_rate);
  }
}

// f32 rows, whose accumulator follows their values. A block's lives are updated while its rows are
// in the cache.
void EmbeddingTable::UpdateAdagradRows(absl::Span<const uint32_t> rows, const float* gradients,
                                       float learning_rate) {
  constexpr size_t kBlock = 64;
  std::vector<float*> values(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    values[i] = reinterpret_cast<float*>(stored_values(rows[i]));
  }
  for (size_t begin = 0; begin < rows.size(); begin += kBlock) {
    const size_t known = rows.size() - begin;
    const size_t block = std::min(kBlock, known);
    AdagradRowSteps(static_cast<int64_t>(block), static_cast<int64_t>(known), layout_.dim,
                    gradients + begin * layout_.dim, learning_rate, values.data() + begin);
    for (size_t i = begin; i < begin + block; ++i) {
      ++life(rows[i]).updates;
      MarkChanged(rows[i]);
    }
  }
}

float EmbeddingTable::Score(uint32_t row, uint32_t now_s) const {
  const RowLife& of = life(row);
  const bool ages = of.last_seen_s != 0 && now_s > of.last_seen_s;
  if (options_.frequency_half_life_s == 0.0 || !ages) return of.score;
  const double age_s = now_s - of.last_seen_s;
  return of.score * static_cast<float>(std::exp2(-age_s / options_.frequency_half_life_s));
}

// Scores are not negative, so that their bits order as they do.
EmbeddingTable::Rank EmbeddingTable::RankOf(uint32_t row, uint32_t now_s) const {
  return Rank{std::bit_cast<uint32_t>(Score(row, now_s))} << 64 | key(row);
}

void EmbeddingTable::Erase(uint64_t key) {
  GRAB_CHECK(!layout_.lives);
  const uint32_t row = Find(key);
  if (row != kUnknownRow) partitions_[row % kPartitions].rows.Erase(PlaceOf(row));
}

void EmbeddingTable::Evict(uint32_t partition, uint32_t place) {
  auto& [rows, life] = partitions_[partition];
  if (life.tombstones.size() < kTombstonesMax) {
    life.tombstones.push_back(rows.key(place));
  } else {
    life.tombstones_lost = true;
  }
  rows.Erase(place);
}

// From the last row on: what erasing moves was looked at before.
void EmbeddingTable::EvictOutlived(uint32_t partition, uint32_t now_s) {
  TableCounts& counts = partitions_[partition].life.counts;
  for (uint32_t place = partition_rows(partition); place-- > 0;) {
    const uint32_t row = RowAt(partition, place);
    if (row == kUnknownRow) continue;
    uint32_t& last_seen_s = life(row).last_seen_s;
    if (last_seen_s == 0) {
      last_seen_s = now_s;
    } else if (options_.ttl_s > 0.0 && now_s > last_seen_s &&
               now_s - last_seen_s > options_.ttl_s) {
      ++counts.evicted_ttl;
      Evict(partition, place);
    } else if (options_.frequency_min > 0.0 && Score(row, now_s) < options_.frequency_min) {
      ++counts.evicted_frequency;
      Evict(partition, place);
    }
  }
}

void EmbeddingTable::EvictBelow(uint32_t partition, Rank bound, uint32_t now_s) {
  for (uint32_t place = partition_rows(partition); place-- > 0;) {
    const uint32_t row = RowAt(partition, place);
    if (row == kUnknownRow || RankOf(row, now_s) >= bound) continue;
    ++partitions_[partition].life.counts.evicted_budget;
    Evict(partition, place);
  }
}

EmbeddingTable::Tombstones EmbeddingTable::CollectTombstones() const {
  Tombstones tombstones;
  for (const auto& [rows, life] : partitions_) {
    for (const uint64_t key : life.tombstones) {
      if (rows.Find(RowStore::Hash(key), key) == RowStore::kNowhere) tombstones.keys.push_back(key);
    }
    tombstones.complete = tombstones.complete && !life.tombstones_lost;
  }
  std::vector<uint64_t>& keys = tombstones.keys;
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return tombstones;
}

void EmbeddingTable::EndPeriod() {
  ++period_;
  for (auto& [rows, life] : partitions_) {
    life.tombstones.clear();
    life.tombstones_lost = false;
  }
}

}  // namespace grab
