// Names and shapes of dense weights. A weight of a linear layer is [out, in].
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace grab {

struct WeightSpec {
  std::string name;
  std::vector<int64_t> shape;
  bool makes_logits = false;  // the last matrix of a head, which starts small

  int64_t elements() const;
};

// NAME.weight, NAME.bias
void AddLinearWeights(const std::string& name, int64_t out, int64_t in,
                      std::vector<WeightSpec>& weights);
// NAME.scale, NAME.shift
void AddNormWeights(const std::string& name, int64_t width, std::vector<WeightSpec>& weights);
// NAME.norm, .hidden, .out, .gate: of a GateMLP (DESIGN 3.2)
void AddGateMlpWeights(const std::string& name, int64_t in, int64_t hidden, int64_t out,
                       std::vector<WeightSpec>& weights);
// NAME.0 .. NAME.N: an MLP of the N hidden widths and an output.
void AddHeadWeights(const std::string& name, int64_t in, const std::vector<int64_t>& hidden,
                    int64_t out, std::vector<WeightSpec>& weights);

}  // namespace grab
