#include "embedding/pool_row.h"

#include <algorithm>

namespace grab {

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
        table.AddTo(table.Find(column.keys[i]), column.weights[i], out);
      }
    }
    out += slot.width;
  }
}

}  // namespace grab
