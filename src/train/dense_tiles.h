// A channel's attention as dense matrices, for models of the zoo that have no kernel. A tile is a
// few queries of one segment that follow each other, by the partial rows from the first to the last
// that any of them sees: what a window leaves out is not computed, however long a history is.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "batch/batch.h"
#include "model/spec.h"

namespace grab {

struct DenseTile {
  int64_t query_begin = 0, query_rows = 0;  // rows of the channel: the partial ones, then the full
  int64_t key_begin = 0, key_rows = 0;      // partial rows of the channel
  torch::Tensor visible;                    // uint8 [queries, keys]
};

// Relative buckets (kernels/rab_buckets.h) of a tile's visible pairs, 0 of the others.
struct TileBuckets {
  torch::Tensor position, time;  // int64 [queries, keys]
};

// Tiles of the channel's partial rows and of the batch's full rows, each in the order of the rows.
std::vector<DenseTile> PartialTiles(const Batch& batch, size_t channel);
std::vector<DenseTile> FullTiles(const Batch& batch, size_t channel);

// Of each tile.
std::vector<TileBuckets> BucketsOf(const ModelSpec& spec, const Batch& batch, size_t channel,
                                   const std::vector<DenseTile>& tiles);

// x's rows of each tile's queries: x [queries of all tiles, ...], in their order.
std::vector<torch::Tensor> QueriesOf(const std::vector<DenseTile>& tiles, const torch::Tensor& x);

// x's rows of each tile's keys: x [partial rows of the channel, or more, ...].
std::vector<torch::Tensor> KeysOf(const std::vector<DenseTile>& tiles, const torch::Tensor& x);

}  // namespace grab
