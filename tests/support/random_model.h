// Models with random weights and filled tables, and scores of a block by the libtorch-free forward.
#pragma once

#include <cmath>
#include <map>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "batch/builder.h"
#include "model/forward.h"
#include "support/random_world.h"

namespace grab::testing {

// All weights of order 1 / sqrt(fan in), norms around 1, so that every part of the model matters.
// Two ids in three have rows; the rest read the unknown row.
inline Model MakeModel(const Config& config, ModelKind kind, uint64_t seed) {
  Model model;
  const Schema schema = *Schema::FromConfig(config);
  model.spec = *ModelSpec::FromConfig(config, kind, schema);
  for (const WeightSpec& weight : model.spec.Weights()) {
    Rng rng(seed, HashId(weight.name));
    std::vector<float>& values = model.weights[weight.name];
    const double scale = weight.shape.size() == 2 ? 1.5 / std::sqrt(double(weight.shape[1])) : 0.7;
    const bool norm = weight.name.ends_with(".scale");
    for (int64_t i = 0; i < weight.elements(); ++i) {
      values.push_back(static_cast<float>((norm ? 1.0 : 0.0) + scale * rng.Normal()));
    }
  }
  uint64_t table_seed = seed;
  for (const TableSpec& spec : model.spec.tokens.tables) {
    model.tables.emplace_back(TableOptions{spec.dim, SparseOptimiser::kNone, 1.0, ++table_seed});
    for (uint64_t key = 1; key <= 200; ++key) {
      if (key % 3 != 0) model.tables.back().FindOrInsert(key);
    }
  }
  return model;
}

// All targets of all users in one batch, packed in groups of at most `tokens_max` tokens.
inline Batch PackAll(const ModelSpec& spec, const UserBlock& block, uint64_t tokens_max = 1 << 20) {
  const BatchBuilder builder = *BatchBuilder::Create(spec.tokens, spec.Plan());
  Batch batch = builder.Empty();
  for (uint32_t user = 0; user < block.users(); ++user) {
    const uint32_t begin = block.user_offsets[user], end = block.user_offsets[user + 1];
    std::vector<uint32_t> targets;
    for (uint32_t i = begin; i < end; ++i) {
      if (block.events.split[i] == Split::kTrain) targets.push_back(i);
    }
    std::vector<TargetGroup> groups;
    builder.Plan(block, user, begin, end, targets, tokens_max, groups);
    for (const TargetGroup& group : groups) builder.Append(block, group, batch);
  }
  return batch;
}

// Whole-timeline scores, logits[event_id][task], of the targets of every user.
inline std::map<uint64_t, std::vector<float>> ScoreAll(const Model& model, const UserBlock& block,
                                                       uint64_t tokens_max = 1 << 20) {
  const Batch batch = PackAll(model.spec, block, tokens_max);
  const std::vector<float> logits = *Forward(model, 2).Logits(batch);
  const size_t tasks = model.spec.tasks.size();
  std::map<uint64_t, std::vector<float>> scores;
  for (size_t r = 0; r < batch.full.rows; ++r) {
    scores[batch.event_id[r]].assign(logits.begin() + static_cast<ptrdiff_t>(r * tasks),
                                     logits.begin() + static_cast<ptrdiff_t>((r + 1) * tasks));
  }
  return scores;
}

}  // namespace grab::testing
