#include "train/sparse.h"

#include "embedding/row_batch.h"

namespace grab {
namespace {

// Shares the memory of the look-up's values.
torch::Tensor Held(const std::shared_ptr<AlignedBuffer>& values,
                   const std::vector<int64_t>& shape) {
  return torch::from_blob(
      values->data(), shape, [values](void*) {}, torch::kFloat32);
}

}  // namespace

std::vector<torch::Tensor> GatherRows(const std::vector<EmbeddingTable>& tables,
                                      const BatchLookup& lookup, bool requires_grad,
                                      torch::ScalarType type, WorkerPool* pool) {
  const bool held = !lookup.values.empty();
  std::vector<torch::Tensor> gathered;
  std::vector<float*> out;
  for (size_t t = 0; t < tables.size(); ++t) {
    const std::vector<int64_t> shape = {static_cast<int64_t>(lookup.unique_rows[t].size()),
                                        static_cast<int64_t>(tables[t].dim())};
    gathered.push_back(held ? Held(lookup.values[t], shape) : torch::empty(shape, torch::kFloat32));
    out.push_back(gathered.back().data_ptr<float>());
  }
  if (!held) GatherRows(tables, lookup.unique_rows, out, pool);
  for (torch::Tensor& rows : gathered) rows = rows.to(type).requires_grad_(requires_grad);
  return gathered;
}

void UpdateRows(const BatchLookup& lookup, const std::vector<torch::Tensor>& rows, double factor,
                std::vector<EmbeddingTable>& tables, WorkerPool& pool) {
  std::vector<const float*> gradients;
  for (const torch::Tensor& of_table : rows) {
    const torch::Tensor gradient = of_table.grad();
    gradients.push_back(gradient.defined() ? gradient.data_ptr<float>() : nullptr);
  }
  UpdateRows(lookup.unique_rows, gradients, factor, tables, &pool);
}

}  // namespace grab
