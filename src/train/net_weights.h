// Named dense weights of a training net, in libtorch tensors.
#pragma once

#include <torch/types.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/spec.h"
#include "train/dense.h"

namespace grab {

class NetWeights {
 public:
  // Initialised from `seed` and the names alone: the same seed gives the same weights whatever else
  // draws random numbers, or is listed beside them.
  NetWeights(const std::vector<WeightSpec>& specs, uint64_t seed, torch::ScalarType type);

  // The same storage with gradients of its own.
  NetWeights Alias() const;

  // In the order of the specs.
  const std::vector<std::pair<std::string, torch::Tensor>>& list() const { return list_; }
  const torch::Tensor& operator[](const std::string& name) const;

  LinearWeights Linear(const std::string& name) const;   // NAME.weight, NAME.bias
  LayerNormWeights Norm(const std::string& name) const;  // NAME.scale, NAME.shift

 private:
  std::vector<std::pair<std::string, torch::Tensor>> list_;
  std::map<std::string, size_t> index_;
};

// The GateMLP of the weights NAME.norm, .hidden, .out and .gate; v [rows, in].
torch::Tensor GateMlp(const NetWeights& weights, const std::string& name, const torch::Tensor& v,
                      Precision precision);

// The layers PREFIX.0 .. PREFIX.LAYERS of an MLP with GELU between them; z [rows, in].
torch::Tensor Mlp(const NetWeights& weights, const std::string& prefix, size_t layers,
                  torch::Tensor z);

}  // namespace grab
