#include "checkpoint/table_tensors.h"

#include <algorithm>

#include "base/check.h"

namespace grab {

std::vector<int64_t> TableLife::Of(const EmbeddingTable& table) {
  const TableCounts counts = table.counts();
  std::vector<int64_t> numbers;
  for (const uint64_t number :
       {counts.admitted, counts.refused, counts.evicted_ttl, counts.evicted_frequency,
        counts.evicted_budget, uint64_t{table.sweep_at()}}) {
    numbers.push_back(static_cast<int64_t>(number));
  }
  for (uint32_t p = 0; p < EmbeddingTable::kPartitions; ++p) {
    numbers.push_back(static_cast<int64_t>(table.partition_life(p).sketch.additions()));
  }
  for (uint32_t p = 0; p < EmbeddingTable::kPartitions; ++p) {
    numbers.push_back(table.partition_life(p).tombstones_lost ? 1 : 0);
  }
  return numbers;
}

bool TableLife::Restore(const std::vector<int64_t>& numbers, EmbeddingTable& table) {
  GRAB_CHECK(numbers.size() == kSize);
  if (std::any_of(numbers.begin(), numbers.end(), [](int64_t number) { return number < 0; })) {
    return false;
  }
  const auto at = [&](size_t i) { return static_cast<uint64_t>(numbers[i]); };
  if (at(5) >= EmbeddingTable::kPartitions) return false;
  table.partition_life(0).counts = {at(0), at(1), at(2), at(3), at(4)};
  table.sweep_at() = static_cast<uint32_t>(at(5));
  for (uint32_t p = 0; p < EmbeddingTable::kPartitions; ++p) {
    EmbeddingTable::PartitionLife& life = table.partition_life(p);
    life.sketch.Restore(life.sketch.counters(), at(kSingle + p));
    const uint64_t lost = at(kSingle + EmbeddingTable::kPartitions + p);
    if (lost > 1) return false;
    life.tombstones_lost = lost == 1;
  }
  return true;
}

}  // namespace grab
