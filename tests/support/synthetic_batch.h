// Packed batches at the sizes of production, straight from sizes and a seed: users with long-tailed
// histories, every history event a token, some targets each.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "batch/builder.h"
#include "embedding/table.h"
#include "model/model.h"
#include "support/random_world.h"

namespace grab::testing {

struct SyntheticOptions {
  uint64_t seed = 1;
  uint64_t tokens = 8192;         // users are added until the batch has this many
  double history_median = 100.0;  // log-normal
  double history_sigma = 1.0;
  uint64_t history_max = 2048;
  double target_share = 0.25;  // of a user's events that are also targets
};

// The config of a production-sized model: embedding rows of 32, two channels (all events; those
// with an action).
inline Config SyntheticConfig(int64_t d_model, int64_t layers, int64_t window_len) {
  Config config = MakeConfig();
  ModelConfig& model = config.grab.model;
  model.embedding_dim = 32;
  model.tokenizer_hidden = d_model;
  model.d_model = d_model;
  model.heads = 4;
  model.layers = layers;
  model.ffn_hidden = 4 * d_model;
  model.position_buckets = 32;
  model.time_buckets = 32;
  model.time_max_s = 2592000.0;
  model.head_hidden = {d_model};
  for (ChannelConfig& channel : model.channels) {
    channel.window_len = window_len;
    channel.window_time_s = 0.0;
  }
  config.dlrm.model = model;
  config.dlrm.model.channels.clear();
  return config;
}

inline Batch SyntheticBatch(const ModelSpec& spec, const SyntheticOptions& options) {
  Rng rng(options.seed);
  const BatchBuilder builder = *BatchBuilder::Create(spec.tokens, spec.Plan());
  Batch batch = builder.Empty();
  uint64_t event_id = 0;
  for (uint32_t user = 0; batch.tokens() < options.tokens; ++user) {
    const double drawn = options.history_median * std::exp(options.history_sigma * rng.Normal());
    const auto length =
        static_cast<uint32_t>(std::clamp(drawn, 2.0, static_cast<double>(options.history_max)));
    UserBlock block;
    block.events = MakeColumns(spec.tokens.schema);
    int64_t now_ms = 1700000000000;
    for (uint32_t i = 0; i < length; ++i) {
      now_ms += 1000 + static_cast<int64_t>(rng.Below(3600000));
      AddRandomEvent(rng, ++event_id, now_ms, block.events);
      block.events.known_time_ms.back() = now_ms;  // feedback at once: the order stays
    }
    block.user_id = {"user-" + std::to_string(user)};
    block.user_offsets = {0, length};
    std::vector<uint32_t> targets;
    for (uint32_t i = 1; i < length; ++i) {
      if (rng.Bernoulli(options.target_share)) targets.push_back(i);
    }
    if (targets.empty()) targets.push_back(length - 1);
    std::vector<TargetGroup> groups;
    builder.Plan(block, 0, 0, length, targets, options.tokens, groups);
    for (const TargetGroup& group : groups) builder.Append(block, group, batch);
  }
  return batch;
}

// Multiply-adds times two of one training step (forward, and twice that backward): every product of
// the model with a weight, and attention's logits and sums over visible pairs. Element-wise work,
// norms, embedding and the products with codebooks are not counted.
struct StepFlops {
  double dense = 0.0;
  double attention = 0.0;
};

inline StepFlops CountStepFlops(const ModelSpec& spec, const Batch& batch) {
  const auto d = static_cast<double>(spec.d_model);
  const auto full = static_cast<double>(batch.full.rows);
  const auto token = [&](uint32_t rows, uint32_t width) {
    return rows * ((width + d) * static_cast<double>(spec.tokenizer_hidden) + width * d);
  };
  double dense = token(batch.full.rows, spec.tokens.FullWidth());
  double attention = 0.0;
  if (!spec.channels.empty()) dense += token(batch.partial.rows, spec.tokens.PartialWidth());
  for (const ChannelBatch& channel : batch.channels) {
    const auto partial = static_cast<double>(channel.token.size());
    double partial_pairs = partial, full_pairs = full;
    for (size_t r = 0; r < channel.token.size(); ++r) {
      partial_pairs += static_cast<double>(static_cast<int64_t>(r) - channel.partial_begin[r]);
    }
    for (size_t r = 0; r < channel.full_begin.size(); ++r) {
      full_pairs += channel.full_end[r] - channel.full_begin[r];
    }
    for (int64_t layer = 0; layer < spec.layers; ++layer) {
      const double queries = layer + 1 == spec.layers ? full : partial + full;
      dense += (partial + full) * 2.0 * d * d +
               queries * d * (2.0 * d + 2.0 * static_cast<double>(spec.ffn_hidden));
      attention += 2.0 * d * (full_pairs + (layer + 1 == spec.layers ? 0.0 : partial_pairs));
    }
  }
  if (spec.mixes()) {
    const double joined = d * static_cast<double>(spec.channels.size());
    dense += static_cast<double>(spec.layers) * full * joined * joined;
  }
  double in = d * static_cast<double>(std::max<size_t>(1, spec.channels.size()));
  for (const int64_t width : spec.head_hidden) {
    dense += full * in * static_cast<double>(width);
    in = static_cast<double>(width);
  }
  return {3.0 * 2.0 * (dense + full * in * static_cast<double>(spec.tasks.size())),
          3.0 * 2.0 * attention};
}

}  // namespace grab::testing
