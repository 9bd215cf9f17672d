// The project's operators as autograd functions. The mathematics is in src/kernels; nothing is
// computed here.
#pragma once

#include <torch/types.h>

#include <memory>
#include <vector>

#include "batch/batch.h"
#include "embedding/lookup.h"
#include "model/channel_rows.h"
#include "tokens/tokeniser.h"

namespace grab {

// Token vectors `v` of a view: slot embeddings pooled and concatenated with dense slots, in slot
// order.
//   rows    per table, [unique rows, dim], f32 or f64, all alike; at least one table
//   index   per column of the view (embedding/lookup.h)
// Returns [view.rows, width]. `view` and `index` must outlive the backward pass.
torch::Tensor PoolTokens(const TokenSpec& spec, const TokenColumns& view,
                         const std::vector<std::vector<uint32_t>>& index,
                         const std::vector<torch::Tensor>& rows);

// Weighted sums of rows: row r of the result is the sum over pairs i in [offsets[r],
// offsets[r + 1]) of weight[i] * row index[i].
struct RowPairs {
  std::vector<uint32_t> offsets = {0};
  std::vector<uint32_t> index;
  std::vector<float> weight;
};

// table [*, width], f32 or f64. Returns [rows, width].
torch::Tensor PoolRows(RowPairs pairs, const torch::Tensor& table);

// The rows of a channel's partial tokens: x [rows of Batch::partial, ...].
torch::Tensor RowsOfChannel(const ChannelBatch& channel, const torch::Tensor& x);

// RAB attention over a channel (kernels/rab_attention.h).
//   q   [queries, d], the last `queries` rows of the channel;  kv [rows, 2 d], keys then values
//   codebooks [heads, buckets, head_width]
// Returns [queries, d].
torch::Tensor RabAttention(const std::shared_ptr<const ChannelRows>& rows, const torch::Tensor& q,
                           const torch::Tensor& kv, const torch::Tensor& codebook_position,
                           const torch::Tensor& codebook_time,
                           const torch::Tensor& codebook_action);

}  // namespace grab
