// Between embedding tables and the graph: the unique rows of a batch as leaf tensors, and their
// update.
#pragma once

#include <torch/types.h>

#include <vector>

#include "base/worker_pool.h"
#include "embedding/lookup.h"

namespace grab {

// Per table [unique rows, dim]: the look-up's values, in its memory, if it read them; otherwise
// copied out of the tables. `pool` shares the work; null: none does.
std::vector<torch::Tensor> GatherRows(const std::vector<EmbeddingTable>& tables,
                                      const BatchLookup& lookup, bool requires_grad,
                                      torch::ScalarType type = torch::kFloat32,
                                      WorkerPool* pool = nullptr);

// One optimiser step for every row of the batch, once each, from the gradients of `rows`, at its
// table's learning rate times `factor`. f32 only.
void UpdateRows(const BatchLookup& lookup, const std::vector<torch::Tensor>& rows, double factor,
                std::vector<EmbeddingTable>& tables, WorkerPool& pool);

}  // namespace grab
