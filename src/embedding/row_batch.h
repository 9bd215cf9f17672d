// The rows of a batch, of all tables together, shared between the workers of a pool (null: the
// calling thread). What comes out does not depend on how many there are.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "base/worker_pool.h"
#include "embedding/table.h"

namespace grab {

// body(i) once for every i in [0, n).
void ForEach(WorkerPool* pool, size_t n, const std::function<void(size_t)>& body);
// body(t, begin, end) over ranges that cover [0, sizes[t]) of every t.
void ForEachRange(WorkerPool* pool, const std::vector<size_t>& sizes,
                  const std::function<void(size_t, size_t, size_t)>& body);

// Values of unique_rows[t] (BatchLookup) into out[t] [unique rows, dim], per table.
void GatherRows(const std::vector<EmbeddingTable>& tables,
                const std::vector<std::vector<uint32_t>>& unique_rows,
                const std::vector<float*>& out, WorkerPool* pool);

// One optimiser step of every row, at its table's learning rate times `factor`. gradients[t] as
// `out` above; null: the table has none and stays.
void UpdateRows(const std::vector<std::vector<uint32_t>>& unique_rows,
                const std::vector<const float*>& gradients, double factor,
                std::vector<EmbeddingTable>& tables, WorkerPool* pool);

}  // namespace grab
