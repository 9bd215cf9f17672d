#include "train/sparse.h"

#include <algorithm>

namespace grab {

std::vector<torch::Tensor> GatherRows(const std::vector<EmbeddingTable>& tables,
                                      const BatchLookup& lookup, bool requires_grad,
                                      torch::ScalarType type) {
  std::vector<torch::Tensor> gathered;
  for (size_t t = 0; t < tables.size(); ++t) {
    const std::vector<uint32_t>& unique = lookup.unique_rows[t];
    const int64_t dim = tables[t].dim();
    torch::Tensor rows = torch::empty({static_cast<int64_t>(unique.size()), dim}, torch::kFloat32);
    float* to = rows.data_ptr<float>();
    for (size_t i = 0; i < unique.size(); ++i) {
      const float* from = tables[t].values(unique[i]);
      std::copy(from, from + dim, to + static_cast<int64_t>(i) * dim);
    }
    gathered.push_back(rows.to(type).requires_grad_(requires_grad));
  }
  return gathered;
}

void UpdateRows(const BatchLookup& lookup, const std::vector<torch::Tensor>& rows,
                double learning_rate, std::vector<EmbeddingTable>& tables, WorkerPool& pool) {
  pool.ForEach(tables.size(), [&](size_t t) {
    const torch::Tensor gradient = rows[t].grad();
    if (!gradient.defined()) return;
    const float* from = gradient.data_ptr<float>();
    for (size_t i = 0; i < lookup.unique_rows[t].size(); ++i) {
      tables[t].Update(lookup.unique_rows[t][i], from + i * tables[t].dim(),
                       static_cast<float>(learning_rate));
    }
  });
}

}  // namespace grab
