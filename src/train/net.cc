#include "train/net.h"

#include "train/hstu.h"
#include "train/ops.h"
#include "train/target_attention.h"

namespace grab {
namespace {

std::vector<WeightSpec> AllWeights(const ModelSpec& spec, const std::vector<WeightSpec>& extra) {
  std::vector<WeightSpec> weights = spec.Weights();
  weights.insert(weights.end(), extra.begin(), extra.end());
  return weights;
}

}  // namespace

Net::Net(const ModelSpec& spec, uint64_t seed, torch::ScalarType type,
         const std::vector<WeightSpec>& extra)
    : spec_(spec), w_(AllWeights(spec, extra), seed, type) {}

Net Net::Alias(Precision precision) const {
  Net alias = *this;
  alias.precision_ = precision;
  alias.w_ = w_.Alias();
  return alias;
}

NetOutputs Net::Run(const Batch& batch, const BatchLookup& lookup,
                    const std::vector<torch::Tensor>& rows, bool histories) const {
  NetOutputs outputs;
  const auto tokens = [&](const char* name, const TokenColumns& view,
                          const std::vector<std::vector<uint32_t>>& index) {
    const torch::Tensor slots = PoolTokens(spec_.tokens, view, index, rows);
    return Tokens{slots, GateMlp(w_, name, slots, precision_)};
  };
  const Tokens full = tokens("tokenizer.full", batch.full, lookup.full_index);
  outputs.full = full.token;
  torch::Tensor z = full.token;
  if (HasHistory(spec_.kind)) {
    const Tokens partial = tokens("tokenizer.partial", batch.partial, lookup.partial_index);
    if (spec_.kind == ModelKind::kGrab) {
      z = torch::cat(Channels(batch, partial.token, full.token, histories, outputs), 1);
    } else if (spec_.kind == ModelKind::kHstu) {
      z = Hstu(spec_, w_, precision_, batch, full.token, partial.token);
    } else {
      const AttendedTarget attended =
          TargetAttention(spec_, w_, precision_, batch, lookup, full, partial);
      z = attended.inputs;
      outputs.search_logits = attended.search_logits;
    }
  }
  outputs.logits = Mlp(w_, "head", spec_.head_hidden.size(), z);
  return outputs;
}

std::vector<torch::Tensor> Net::Channels(const Batch& batch, const torch::Tensor& partial,
                                         const torch::Tensor& full, bool histories,
                                         NetOutputs& outputs) const {
  const size_t count = spec_.channels.size();
  std::vector<std::shared_ptr<const ChannelRows>> rows;
  std::vector<torch::Tensor> partial_state;
  std::vector<torch::Tensor> full_state(count, full);
  for (size_t c = 0; c < count; ++c) {
    rows.push_back(std::make_shared<const ChannelRows>(spec_, batch, c));
    partial_state.push_back(RowsOfChannel(batch.channels[c], partial));
  }
  for (int64_t layer = 0; layer < spec_.layers; ++layer) {
    const bool partial_asks = histories || layer + 1 < spec_.layers;
    if (spec_.mixes()) Mix(layer, full_state);
    for (size_t c = 0; c < count; ++c) {
      const torch::Tensor out =
          Layer(LayerPrefix(c, layer), rows[c], partial_state[c], full_state[c], partial_asks);
      if (partial_asks) partial_state[c] = out.narrow(0, 0, rows[c]->partial_rows());
      full_state[c] = out.narrow(0, out.size(0) - rows[c]->full_rows(), rows[c]->full_rows());
    }
  }
  const auto normed = [&](const torch::Tensor& state, size_t c) {
    return spec_.pre_norm ? LayerNormed(state, w_.Norm(absl::StrCat("channel.", c, ".norm")))
                          : state;
  };
  for (size_t c = 0; c < count; ++c) {
    full_state[c] = normed(full_state[c], c);
    if (histories) outputs.histories.push_back(normed(partial_state[c], c));
  }
  return full_state;
}

// h~^c = h^c + sum over i != c of beta^i (.) h^i, beta = sigmoid(Gate([h^1 .. h^C]))   (DESIGN 3.4;
// GRAB Eq. 7)
void Net::Mix(int64_t layer, std::vector<torch::Tensor>& full) const {
  const auto channels = static_cast<int64_t>(full.size());
  const torch::Tensor mixed =
      MixTargets(torch::cat(full, 1), w_.Linear(absl::StrCat("mix.", layer)), channels, precision_);
  for (int64_t c = 0; c < channels; ++c) {
    full[static_cast<size_t>(c)] = mixed.narrow(1, c * spec_.d_model, spec_.d_model);
  }
}

torch::Tensor Net::Layer(const std::string& prefix, const std::shared_ptr<const ChannelRows>& rows,
                         const torch::Tensor& partial, const torch::Tensor& full,
                         bool partial_asks) const {
  const torch::Tensor x = torch::cat({partial, full}, 0);
  const torch::Tensor queried = partial_asks ? x : full;
  const LayerNormWeights attention_norm = w_.Norm(prefix + "attention.norm");
  const LayerNormWeights ffn_norm = w_.Norm(prefix + "ffn.norm");
  const LinearWeights hidden = w_.Linear(prefix + "ffn.hidden");
  const LinearWeights out = w_.Linear(prefix + "ffn.out");
  if (spec_.pre_norm) {
    const torch::Tensor h = Attention(prefix, rows, x, attention_norm, queried);
    return FeedForward(h, ffn_norm, hidden, out, precision_);
  }
  const torch::Tensor h = LayerNormed(Attention(prefix, rows, x, {}, queried), attention_norm);
  return LayerNormed(FeedForward(h, {}, hidden, out, precision_), ffn_norm);
}

torch::Tensor Net::Attention(const std::string& prefix,
                             const std::shared_ptr<const ChannelRows>& rows, const torch::Tensor& x,
                             const LayerNormWeights& norm, const torch::Tensor& queried) const {
  const LinearWeights qkv = w_.Linear(prefix + "attention.qkv");
  const auto [q, kv] =
      spec_.latent_width == 0
          ? QueriesKeysValues(x, norm, qkv, queried.size(0), precision_)
          : QueriesKeysValues(
                NormedLinear(x, norm, w_.Linear(prefix + "attention.latent"), {}, precision_), {},
                qkv, queried.size(0), precision_);
  const torch::Tensor out = RabAttention(rows, q, kv, w_[prefix + "attention.codebook_position"],
                                         w_[prefix + "attention.codebook_time"],
                                         w_[prefix + "attention.codebook_action"]);
  return NormedLinear(out, {}, w_.Linear(prefix + "attention.out"), queried, precision_);
}

}  // namespace grab
