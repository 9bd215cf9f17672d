#include "train/net.h"

#include <cmath>

#include "base/check.h"
#include "base/hash.h"
#include "base/rng.h"
#include "train/ops.h"

namespace grab {
namespace {

bool EndsWith(const std::string& text, const char* end) {
  const std::string suffix(end);
  return text.size() >= suffix.size() &&
         text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

// Norm scales 1; shifts and biases 0; codebooks N(0, 0.02^2); matrices uniform with variance 1 /
// fan_in. The head's last matrix is small, so that training starts at the base rate's logit 0 and
// not at noise.
torch::Tensor InitialWeight(const WeightSpec& spec, bool output, uint64_t seed) {
  Rng rng(seed, HashId(spec.name));
  torch::Tensor values = torch::zeros(spec.shape, torch::kFloat64);
  double* data = values.data_ptr<double>();
  const int64_t n = spec.elements();
  if (EndsWith(spec.name, ".scale")) {
    values.fill_(1.0);
  } else if (spec.shape.size() == 3) {
    for (int64_t i = 0; i < n; ++i) data[i] = 0.02 * rng.Normal();
  } else if (spec.shape.size() == 2) {
    const double bound = std::sqrt(3.0 / static_cast<double>(spec.shape[1])) * (output ? 0.1 : 1.0);
    for (int64_t i = 0; i < n; ++i) data[i] = bound * (2.0 * rng.Uniform() - 1.0);
  }
  return values;
}

}  // namespace

Net::Net(const ModelSpec& spec, uint64_t seed, torch::ScalarType type) : spec_(spec) {
  const std::string output = absl::StrCat("head.", spec.head_hidden.size(), ".weight");
  for (const WeightSpec& weight : spec.Weights()) {
    torch::Tensor values = InitialWeight(weight, weight.name == output, seed).to(type);
    values.requires_grad_(true);
    index_[weight.name] = weights_.size();
    weights_.emplace_back(weight.name, std::move(values));
  }
}

Net Net::Alias(Precision precision) const {
  Net alias = *this;
  alias.precision_ = precision;
  for (auto& [name, weight] : alias.weights_) weight = weight.detach().requires_grad_(true);
  return alias;
}

const torch::Tensor& Net::W(const std::string& name) const {
  const auto found = index_.find(name);
  GRAB_CHECK_MSG(found != index_.end(), name);
  return weights_[found->second].second;
}

LinearWeights Net::Linear(const std::string& name) const {
  return {W(name + ".weight"), W(name + ".bias")};
}

LayerNormWeights Net::Norm(const std::string& name) const {
  return {W(name + ".scale"), W(name + ".shift")};
}

torch::Tensor Net::Token(const std::string& name, const TokenColumns& view,
                         const std::vector<std::vector<uint32_t>>& index,
                         const std::vector<torch::Tensor>& rows) const {
  return GateMlp(PoolTokens(spec_.tokens, view, index, rows), Norm(name + ".norm"),
                 Linear(name + ".hidden"), Linear(name + ".out"), Linear(name + ".gate"),
                 precision_);
}

torch::Tensor Net::Head(torch::Tensor z) const {
  const auto linear = [&](size_t i) {
    const LinearWeights weights = Linear(absl::StrCat("head.", i));
    return torch::nn::functional::linear(z, weights.weight, weights.bias);
  };
  for (size_t i = 0; i < spec_.head_hidden.size(); ++i) z = torch::gelu(linear(i));
  return linear(spec_.head_hidden.size());
}

torch::Tensor Net::Forward(const Batch& batch, const BatchLookup& lookup,
                           const std::vector<torch::Tensor>& rows) const {
  const torch::Tensor full = Token("tokenizer.full", batch.full, lookup.full_index, rows);
  if (spec_.kind == ModelKind::kDlrm) return Head(full);
  const torch::Tensor partial =
      Token("tokenizer.partial", batch.partial, lookup.partial_index, rows);
  return Head(torch::cat(Channels(batch, partial, full), 1));
}

std::vector<torch::Tensor> Net::Channels(const Batch& batch, const torch::Tensor& partial,
                                         const torch::Tensor& full) const {
  const size_t count = spec_.channels.size();
  std::vector<std::shared_ptr<const ChannelRows>> rows;
  std::vector<torch::Tensor> partial_state;
  std::vector<torch::Tensor> full_state(count, full);
  for (size_t c = 0; c < count; ++c) {
    rows.push_back(std::make_shared<const ChannelRows>(spec_, batch, c));
    const std::vector<uint32_t>& token = batch.channels[c].token;
    const std::vector<int64_t> index(token.begin(), token.end());
    partial_state.push_back(partial.index_select(0, torch::tensor(index, torch::kInt64)));
  }
  for (int64_t layer = 0; layer < spec_.layers; ++layer) {
    const bool last = layer + 1 == spec_.layers;
    if (spec_.mixes()) Mix(layer, full_state);
    for (size_t c = 0; c < count; ++c) {
      const torch::Tensor out =
          Layer(LayerPrefix(c, layer), rows[c], partial_state[c], full_state[c], last);
      if (!last) partial_state[c] = out.narrow(0, 0, rows[c]->partial_rows());
      full_state[c] = out.narrow(0, out.size(0) - rows[c]->full_rows(), rows[c]->full_rows());
    }
  }
  for (size_t c = 0; spec_.pre_norm && c < count; ++c) {
    full_state[c] = LayerNormed(full_state[c], Norm(absl::StrCat("channel.", c, ".norm")));
  }
  return full_state;
}

// h~^c = h^c + sum over i != c of beta^i (.) h^i, beta = sigmoid(Gate([h^1 .. h^C]))   (DESIGN 3.4;
// GRAB Eq. 7)
void Net::Mix(int64_t layer, std::vector<torch::Tensor>& full) const {
  const auto channels = static_cast<int64_t>(full.size());
  const torch::Tensor mixed =
      MixTargets(torch::cat(full, 1), Linear(absl::StrCat("mix.", layer)), channels, precision_);
  for (int64_t c = 0; c < channels; ++c) {
    full[static_cast<size_t>(c)] = mixed.narrow(1, c * spec_.d_model, spec_.d_model);
  }
}

torch::Tensor Net::Layer(const std::string& prefix, const std::shared_ptr<const ChannelRows>& rows,
                         const torch::Tensor& partial, const torch::Tensor& full, bool last) const {
  const torch::Tensor x = torch::cat({partial, full}, 0);
  const torch::Tensor queried = last ? full : x;
  const LayerNormWeights attention_norm = Norm(prefix + "attention.norm");
  const LayerNormWeights ffn_norm = Norm(prefix + "ffn.norm");
  const LinearWeights hidden = Linear(prefix + "ffn.hidden");
  const LinearWeights out = Linear(prefix + "ffn.out");
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
  const LinearWeights qkv = Linear(prefix + "attention.qkv");
  const auto [q, kv] =
      spec_.latent_width == 0
          ? QueriesKeysValues(x, norm, qkv, queried.size(0), precision_)
          : QueriesKeysValues(
                NormedLinear(x, norm, Linear(prefix + "attention.latent"), {}, precision_), {}, qkv,
                queried.size(0), precision_);
  const torch::Tensor out =
      RabAttention(rows, q, kv, W(prefix + "attention.codebook_position"),
                   W(prefix + "attention.codebook_time"), W(prefix + "attention.codebook_action"));
  return NormedLinear(out, {}, Linear(prefix + "attention.out"), queried, precision_);
}

}  // namespace grab
