#include "train/net_weights.h"

#include <cmath>

#include "base/check.h"
#include "base/hash.h"
#include "base/rng.h"

namespace grab {
namespace {

// Norm scales 1; shifts and biases 0; codebooks N(0, 0.02^2); matrices uniform with variance 1 /
// fan_in. The matrix that makes logits is small, so that training starts at the base rate's logit 0
// and not at noise.
torch::Tensor InitialWeight(const WeightSpec& spec, uint64_t seed) {
  Rng rng(seed, HashId(spec.name));
  torch::Tensor values = torch::zeros(spec.shape, torch::kFloat64);
  double* data = values.data_ptr<double>();
  const int64_t n = spec.elements();
  if (spec.name.ends_with(".scale")) {
    values.fill_(1.0);
  } else if (spec.shape.size() == 3) {
    for (int64_t i = 0; i < n; ++i) data[i] = 0.02 * rng.Normal();
  } else if (spec.shape.size() == 2) {
    const double fan_in = static_cast<double>(spec.shape[1]);
    const double bound = std::sqrt(3.0 / fan_in) * (spec.makes_logits ? 0.1 : 1.0);
    for (int64_t i = 0; i < n; ++i) data[i] = bound * (2.0 * rng.Uniform() - 1.0);
  }
  return values;
}

}  // namespace

NetWeights::NetWeights(const std::vector<WeightSpec>& specs, uint64_t seed,
                       torch::ScalarType type) {
  for (const WeightSpec& spec : specs) {
    torch::Tensor values = InitialWeight(spec, seed).to(type);
    values.requires_grad_(true);
    GRAB_CHECK_MSG(index_.emplace(spec.name, list_.size()).second, spec.name);
    list_.emplace_back(spec.name, std::move(values));
  }
}

NetWeights NetWeights::Alias() const {
  NetWeights alias = *this;
  for (auto& [name, weight] : alias.list_) weight = weight.detach().requires_grad_(true);
  return alias;
}

const torch::Tensor& NetWeights::operator[](const std::string& name) const {
  const auto found = index_.find(name);
  GRAB_CHECK_MSG(found != index_.end(), name);
  return list_[found->second].second;
}

LinearWeights NetWeights::Linear(const std::string& name) const {
  return {(*this)[name + ".weight"], (*this)[name + ".bias"]};
}

LayerNormWeights NetWeights::Norm(const std::string& name) const {
  return {(*this)[name + ".scale"], (*this)[name + ".shift"]};
}

torch::Tensor GateMlp(const NetWeights& weights, const std::string& name, const torch::Tensor& v,
                      Precision precision) {
  return GateMlp(v, weights.Norm(name + ".norm"), weights.Linear(name + ".hidden"),
                 weights.Linear(name + ".out"), weights.Linear(name + ".gate"), precision);
}

torch::Tensor Mlp(const NetWeights& weights, const std::string& prefix, size_t layers,
                  torch::Tensor z) {
  for (size_t i = 0; i <= layers; ++i) {
    const LinearWeights linear = weights.Linear(absl::StrCat(prefix, ".", i));
    z = NormedLinear(z, {}, linear, {}, Precision::kF32);
    if (i < layers) z = torch::gelu(z);
  }
  return z;
}

}  // namespace grab
