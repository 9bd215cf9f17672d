#include "embedding/pool_row.h"

#include <algorithm>

namespace grab {
namespace {

void AddRow(const float* values, float weight, uint32_t width, float* out) {
  for (uint32_t d = 0; d < width; ++d) out[d] += weight * values[d];
}

}  // namespace

void PoolRow(const TokenSpec& spec, const std::vector<EmbeddingTable>& tables,
             const TokenColumns& view, uint32_t row, float* out) {
  for (size_t c = 0; c < view.columns.size(); ++c) {
    const TokenSlot& slot = spec.slots[static_cast<size_t>(view.slots[c])];
    const SlotColumn& column = view.columns[c];
    if (slot.table < 0) {
      std::copy_n(column.dense.begin() + static_cast<ptrdiff_t>(row) * slot.width, slot.width, out);
    } else {
      const EmbeddingTable& table = tables[static_cast<size_t>(slot.table)];
      std::fill_n(out, slot.width, 0.0f);
      for (uint32_t i = column.offsets[row]; i < column.offsets[row + 1]; ++i) {
        AddRow(table.values(table.Find(column.keys[i])), column.weights[i], slot.width, out);
      }
    }
    out += slot.width;
  }
}

}  // namespace grab
