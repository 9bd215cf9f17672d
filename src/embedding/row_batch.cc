#include "embedding/row_batch.h"

#include <algorithm>

namespace grab {
namespace {

constexpr size_t kRangeRows = 2048;

std::vector<size_t> SizesOf(const std::vector<std::vector<uint32_t>>& unique_rows) {
  std::vector<size_t> sizes;
  for (const std::vector<uint32_t>& rows : unique_rows) sizes.push_back(rows.size());
  return sizes;
}

absl::Span<const uint32_t> Range(const std::vector<uint32_t>& rows, size_t begin, size_t end) {
  return absl::MakeSpan(rows).subspan(begin, end - begin);
}

}  // namespace

void ForEach(WorkerPool* pool, size_t n, const std::function<void(size_t)>& body) {
  if (pool != nullptr) return pool->ForEach(n, body);
  for (size_t i = 0; i < n; ++i) body(i);
}

void ForEachRange(WorkerPool* pool, const std::vector<size_t>& sizes,
                  const std::function<void(size_t, size_t, size_t)>& body) {
  std::vector<std::pair<size_t, size_t>> ranges;  // of which, from where
  for (size_t t = 0; t < sizes.size(); ++t) {
    for (size_t begin = 0; begin < sizes[t]; begin += kRangeRows) ranges.emplace_back(t, begin);
  }
  ForEach(pool, ranges.size(), [&](size_t i) {
    const auto [t, begin] = ranges[i];
    body(t, begin, std::min(sizes[t], begin + kRangeRows));
  });
}

void GatherRows(const std::vector<EmbeddingTable>& tables,
                const std::vector<std::vector<uint32_t>>& unique_rows,
                const std::vector<float*>& out, WorkerPool* pool) {
  ForEachRange(pool, SizesOf(unique_rows), [&](size_t t, size_t begin, size_t end) {
    tables[t].ReadRows(Range(unique_rows[t], begin, end), out[t] + begin * tables[t].dim());
  });
}

void UpdateRows(const std::vector<std::vector<uint32_t>>& unique_rows,
                const std::vector<const float*>& gradients, double factor,
                std::vector<EmbeddingTable>& tables, WorkerPool* pool) {
  ForEachRange(pool, SizesOf(unique_rows), [&](size_t t, size_t begin, size_t end) {
    if (gradients[t] == nullptr) return;
    const auto rate = static_cast<float>(tables[t].options().learning_rate * factor);
    tables[t].UpdateRows(Range(unique_rows[t], begin, end), gradients[t] + begin * tables[t].dim(),
                         rate);
  });
}

}  // namespace grab
