// One description of a model, shared by training and serving: what its tokens are, what it sees,
// its sizes, and the names and shapes of its dense weights. Both forwards (train/net,
// model/forward) read the weights by these names.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "batch/builder.h"
#include "config/settings.h"
#include "model/weight_spec.h"
#include "nlohmann/json_fwd.hpp"
#include "tokens/token_spec.h"

namespace grab {

enum class ModelKind : uint8_t {
  kDlrm,  // full token -> GateMLP -> head
  kGrab,  // history and candidates through channels of causal attention -> head
  // Trained and scored for comparison only (docs/zoo.md): in no export, no engine.
  kDin,
  kSim,
  kEta,
  kTwin,
  kHstu,
};

inline constexpr ModelKind kModelKinds[] = {ModelKind::kDlrm, ModelKind::kDin,  ModelKind::kSim,
                                            ModelKind::kEta,  ModelKind::kTwin, ModelKind::kHstu,
                                            ModelKind::kGrab};

inline bool HasHistory(ModelKind kind) { return kind != ModelKind::kDlrm; }
inline bool IsServed(ModelKind kind) {
  return kind == ModelKind::kDlrm || kind == ModelKind::kGrab;
}
// A candidate attends to chosen events, in one step (train/target_attention.h).
inline bool AttendsToChosen(ModelKind kind) {
  return kind == ModelKind::kDin || kind == ModelKind::kSim || kind == ModelKind::kEta ||
         kind == ModelKind::kTwin;
}
// Of those, the ones that search beyond the newest events.
inline bool Searches(ModelKind kind) { return AttendsToChosen(kind) && kind != ModelKind::kDin; }

struct ChannelSpec {
  std::string name;
  ChannelPlan plan;
};

// SearchConfig in the terms of a model.
struct SearchSpec {
  int64_t recent = 0;
  int64_t found = 0;
  int64_t slot = -1;  // of TokenSpec::slots: what found events share with the candidate; -1: none
  int64_t hash_bits = 0;
};

struct ModelSpec {
  ModelKind kind = ModelKind::kGrab;
  TokenSpec tokens;
  std::vector<std::string> tasks;
  int64_t tokenizer_hidden = 0;
  int64_t d_model = 0;
  std::vector<int64_t> head_hidden;
  // The rest is of models with history. Those but kGrab have one channel and do not read all of it.
  std::vector<ChannelSpec> channels;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t ffn_hidden = 0;
  int64_t latent_width = 0;  // 0: queries, keys and values are made from the token itself
  int64_t position_buckets = 0;
  int64_t time_buckets = 0;
  double time_max_s = 0.0;
  bool action_bias = true;
  bool pre_norm = true;
  bool target_mix = true;
  SearchSpec search;  // AttendsToChosen(kind)

  int64_t head_width() const { return d_model / heads; }
  // Actions that the bias tells apart: the first so many of the schema (ActionClass).
  size_t bias_actions() const { return action_bias ? tokens.schema.actions.size() : 0; }
  int64_t action_classes() const { return ActionClasses(bias_actions()); }
  bool mixes() const { return target_mix && channels.size() > 1; }
  // The largest distance in the position table of channel `c`: its longest history range, or 1.
  int64_t DistanceMax(size_t c) const { return std::max<int64_t>(1, channels[c].plan.window_len); }
  PackPlan Plan() const;

  // Every dense weight, in a fixed order. Of kDlrm and kGrab:
  //   tokenizer.{partial,full}.norm.{scale,shift} .hidden.{weight,bias} .out.{weight,bias}
  //   .gate.{weight,bias} channel.C.layer.L.attention.norm.* .latent.{weight,bias} (with a latent)
  //   .qkv.{weight,bias} .out.{weight,bias}
  //   .codebook_{position,time,action} channel.C.layer.L.ffn.norm.* .hidden.{weight,bias}
  //   .out.{weight,bias} mix.L.{weight,bias}    channel.C.norm.* (pre-norm)    head.I.{weight,bias}
  // Codebooks are [heads, buckets, head_width]. Of the others: train/target_attention.h, hstu.h.
  std::vector<WeightSpec> Weights() const;

  static StatusOr<ModelSpec> FromConfig(const Config& config, ModelKind kind, const Schema& schema);
  nlohmann::json ToJson() const;
  static StatusOr<ModelSpec> FromJson(const nlohmann::json& json);
};

const char* ModelKindName(ModelKind kind);  // "dlrm", "din"..., "grab"
StatusOr<ModelKind> ParseModelKind(const std::string& name);

// The settings of a kind: [NAME] of the config.
const ModelRunConfig& RunConfigOf(const Config& config, ModelKind kind);
ModelRunConfig& RunConfigOf(Config& config, ModelKind kind);

// "channel.C.layer.L."
std::string LayerPrefix(size_t channel, int64_t layer);

}  // namespace grab
