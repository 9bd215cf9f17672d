#include "model/weight_spec.h"

#include "absl/strings/str_cat.h"

namespace grab {

int64_t WeightSpec::elements() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

void AddLinearWeights(const std::string& name, int64_t out, int64_t in,
                      std::vector<WeightSpec>& weights) {
  weights.push_back({name + ".weight", {out, in}});
  weights.push_back({name + ".bias", {out}});
}

void AddNormWeights(const std::string& name, int64_t width, std::vector<WeightSpec>& weights) {
  weights.push_back({name + ".scale", {width}});
  weights.push_back({name + ".shift", {width}});
}

void AddGateMlpWeights(const std::string& name, int64_t in, int64_t hidden, int64_t out,
                       std::vector<WeightSpec>& weights) {
  AddNormWeights(name + ".norm", in, weights);
  AddLinearWeights(name + ".hidden", hidden, in, weights);
  AddLinearWeights(name + ".out", out, hidden, weights);
  AddLinearWeights(name + ".gate", out, in, weights);
}

void AddHeadWeights(const std::string& name, int64_t in, const std::vector<int64_t>& hidden,
                    int64_t out, std::vector<WeightSpec>& weights) {
  for (size_t i = 0; i <= hidden.size(); ++i) {
    const int64_t width = i < hidden.size() ? hidden[i] : out;
    AddLinearWeights(absl::StrCat(name, ".", i), width, in, weights);
    in = width;
  }
  weights[weights.size() - 2].makes_logits = true;
}

}  // namespace grab
