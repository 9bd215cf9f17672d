#include "bench/flops.h"

namespace grab::bench {
namespace {

double GateMlpFlops(const ModelSpec& spec, double rows, double width) {
  const auto hidden = static_cast<double>(spec.tokenizer_hidden);
  const auto d = static_cast<double>(spec.d_model);
  return DenseFlops(rows, hidden, width) + DenseFlops(rows, d, hidden) + DenseFlops(rows, d, width);
}

double LayerDenseFlops(const ModelSpec& spec, double rows, double queries) {
  const auto d = static_cast<double>(spec.d_model);
  const auto ffn = static_cast<double>(spec.ffn_hidden);
  return DenseFlops(rows, 2 * d, d) + 2 * DenseFlops(queries, d, d) +
         2 * DenseFlops(queries, ffn, d);
}

double HeadFlops(const ModelSpec& spec, double rows) {
  double flops = 0;
  auto in = static_cast<double>(spec.d_model * static_cast<int64_t>(spec.channels.size()));
  for (const int64_t width : spec.head_hidden) {
    flops += DenseFlops(rows, static_cast<double>(width), in);
    in = static_cast<double>(width);
  }
  return flops + DenseFlops(rows, static_cast<double>(spec.tasks.size()), in);
}

}  // namespace

Work WorkOf(const Batch& batch) {
  Work work;
  work.partial_tokens = batch.partial.rows;
  work.full_rows = batch.full.rows;
  for (const ChannelBatch& rows : batch.channels) {
    Work::Channel& channel = work.channels.emplace_back();
    channel.partial_rows = static_cast<double>(rows.token.size());
    for (size_t i = 0; i < rows.token.size(); ++i) {
      channel.partial_pairs += static_cast<double>(i) - rows.partial_begin[i] + 1;
    }
    for (size_t i = 0; i < batch.full.rows; ++i) {
      channel.full_pairs += rows.full_end[i] - rows.full_begin[i] + 1;
    }
  }
  return work;
}

Work RankWork(const Batch& batch) {
  Work work = WorkOf(batch);
  work.partial_tokens = 0;
  for (Work::Channel& channel : work.channels) channel.partial_rows = channel.partial_pairs = 0;
  return work;
}

Flops CountFlops(const ModelSpec& spec, const Work& work) {
  Flops flops;
  flops.dense = GateMlpFlops(spec, work.partial_tokens, spec.tokens.PartialWidth()) +
                GateMlpFlops(spec, work.full_rows, spec.tokens.FullWidth()) +
                HeadFlops(spec, work.full_rows);
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    const bool last = layer + 1 == spec.layers;
    for (const Work::Channel& channel : work.channels) {
      const double rows = channel.partial_rows + work.full_rows;
      const double pairs = (last ? 0 : channel.partial_pairs) + channel.full_pairs;
      flops.dense += LayerDenseFlops(spec, rows, last ? work.full_rows : rows);
      flops.attention_forward += AttentionForwardFlops(pairs, spec.heads, spec.head_width());
      flops.attention_backward += AttentionBackwardFlops(pairs, spec.heads, spec.head_width());
    }
    if (spec.mixes()) {
      const auto width = static_cast<double>(work.channels.size()) * spec.d_model;
      flops.dense += DenseFlops(work.full_rows, width, width);
    }
  }
  return flops;
}

double AppendBytes(const ModelSpec& spec, int64_t cached) {
  const auto d = static_cast<double>(spec.d_model);
  const double key_values = 2 * d * d;
  const double rest = 2 * d * d + 2 * d * static_cast<double>(spec.ffn_hidden);
  const double before_last = static_cast<double>(spec.layers - 1);
  const double channel = before_last * (key_values + rest) + key_values +
                         before_last * static_cast<double>(cached) * 2 * d;
  const double token = GateMlpFlops(spec, 1, spec.tokens.PartialWidth()) / 2;
  return 4 * (token + static_cast<double>(spec.channels.size()) * channel);
}

}  // namespace grab::bench
