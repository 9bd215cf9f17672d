#include "model/spec.h"

namespace grab {
namespace {

void AddGrabLayer(const std::string& prefix, const ModelSpec& spec,
                  std::vector<WeightSpec>& weights) {
  const int64_t d = spec.d_model;
  AddNormWeights(prefix + "attention.norm", d, weights);
  if (spec.latent_width > 0)
    AddLinearWeights(prefix + "attention.latent", spec.latent_width, d, weights);
  AddLinearWeights(prefix + "attention.qkv", 3 * d, spec.latent_width > 0 ? spec.latent_width : d,
                   weights);
  AddLinearWeights(prefix + "attention.out", d, d, weights);
  const auto codebook = [&](const char* name, int64_t buckets) {
    weights.push_back(
        {prefix + "attention.codebook_" + name, {spec.heads, buckets, spec.head_width()}});
  };
  codebook("position", spec.position_buckets);
  codebook("time", spec.time_buckets);
  codebook("action", spec.action_classes());
  AddNormWeights(prefix + "ffn.norm", d, weights);
  AddLinearWeights(prefix + "ffn.hidden", spec.ffn_hidden, d, weights);
  AddLinearWeights(prefix + "ffn.out", d, spec.ffn_hidden, weights);
}

void AddGrabWeights(const ModelSpec& spec, std::vector<WeightSpec>& weights) {
  const auto channel_count = static_cast<int64_t>(spec.channels.size());
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    for (size_t c = 0; c < spec.channels.size(); ++c) {
      AddGrabLayer(LayerPrefix(c, layer), spec, weights);
    }
    if (spec.mixes()) {
      AddLinearWeights(absl::StrCat("mix.", layer), channel_count * spec.d_model,
                       channel_count * spec.d_model, weights);
    }
  }
  for (size_t c = 0; spec.pre_norm && c < spec.channels.size(); ++c) {
    AddNormWeights(absl::StrCat("channel.", c, ".norm"), spec.d_model, weights);
  }
}

void AddTargetAttentionWeights(const ModelSpec& spec, std::vector<WeightSpec>& weights) {
  const int64_t d = spec.d_model;
  weights.push_back({"recent.time", {1, spec.time_buckets, d}});
  AddLinearWeights("recent.hidden", spec.ffn_hidden, 4 * d, weights);
  AddLinearWeights("recent.out", 1, spec.ffn_hidden, weights);
  if (!Searches(spec.kind)) return;
  AddNormWeights("found.norm", d, weights);
  AddLinearWeights("found.query", d, d, weights);
  AddLinearWeights("found.key_value", 2 * d, d, weights);
  AddLinearWeights("found.out", d, d, weights);
  weights.push_back({"found.time", {spec.heads, spec.time_buckets, 1}});
  weights.push_back({"found.action", {spec.heads, spec.action_classes(), 1}});
  if (spec.kind != ModelKind::kSim || spec.search.slot >= 0) return;
  AddLinearWeights("search.query", d, d, weights);
  AddLinearWeights("search.key", d, d, weights);
  AddHeadWeights("search.head", 2 * d, spec.head_hidden, static_cast<int64_t>(spec.tasks.size()),
                 weights);
}

void AddHstuWeights(const ModelSpec& spec, std::vector<WeightSpec>& weights) {
  const int64_t d = spec.d_model;
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    const std::string prefix = absl::StrCat("layer.", layer, ".");
    AddNormWeights(prefix + "norm", d, weights);
    AddLinearWeights(prefix + "uvqk", 4 * d, d, weights);
    weights.push_back({prefix + "position", {spec.heads, spec.position_buckets, 1}});
    weights.push_back({prefix + "time", {spec.heads, spec.time_buckets, 1}});
    AddNormWeights(prefix + "attention.norm", d, weights);
    AddLinearWeights(prefix + "out", d, d, weights);
  }
  AddNormWeights("norm", d, weights);
}

// Vectors of d_model that the head reads of a candidate.
int64_t HeadInputs(const ModelSpec& spec) {
  switch (spec.kind) {
    case ModelKind::kGrab:
      return static_cast<int64_t>(spec.channels.size());
    case ModelKind::kDin:
      return 2;  // its token, the newest events
    case ModelKind::kSim:
    case ModelKind::kEta:
    case ModelKind::kTwin:
      return 3;  // and those found
    case ModelKind::kDlrm:
    case ModelKind::kHstu:
      return 1;
  }
  return 1;
}

}  // namespace

std::vector<WeightSpec> ModelSpec::Weights() const {
  std::vector<WeightSpec> weights;
  if (HasHistory(kind)) {
    AddGateMlpWeights("tokenizer.partial", tokens.PartialWidth(), tokenizer_hidden, d_model,
                      weights);
  }
  AddGateMlpWeights("tokenizer.full", tokens.FullWidth(), tokenizer_hidden, d_model, weights);
  if (kind == ModelKind::kGrab) AddGrabWeights(*this, weights);
  if (kind == ModelKind::kHstu) AddHstuWeights(*this, weights);
  if (AttendsToChosen(kind)) AddTargetAttentionWeights(*this, weights);
  AddHeadWeights("head", d_model * HeadInputs(*this), head_hidden,
                 static_cast<int64_t>(tasks.size()), weights);
  return weights;
}

}  // namespace grab
