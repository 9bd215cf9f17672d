// The training forward of a ModelSpec in libtorch: GRAB or DLRM, f32 (or f64 for gradient checks).
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <vector>

#include "batch/batch.h"
#include "embedding/lookup.h"
#include "model/channel_rows.h"
#include "model/spec.h"
#include "train/dense.h"

namespace grab {

class Net {
 public:
  // Weights as ModelSpec::Weights() lists them, initialised from `seed` alone: the same seed gives
  // the same weights whatever else draws random numbers. `spec` must outlive the net.
  Net(const ModelSpec& spec, uint64_t seed, torch::ScalarType type = torch::kFloat32);

  // A net whose weights share storage with this one's but have gradients of their own, and whose
  // products are in `precision` (a new net's are in its own type).
  Net Alias(Precision precision) const;

  // Logits [batch.full.rows, tasks]. `rows`: per table the unique rows of `lookup` [unique, dim].
  // The arguments must outlive the backward pass.
  torch::Tensor Forward(const Batch& batch, const BatchLookup& lookup,
                        const std::vector<torch::Tensor>& rows) const;

  // In ModelSpec::Weights() order.
  const std::vector<std::pair<std::string, torch::Tensor>>& weights() const { return weights_; }

 private:
  const torch::Tensor& W(const std::string& name) const;
  LinearWeights Linear(const std::string& name) const;
  LayerNormWeights Norm(const std::string& name) const;
  torch::Tensor Token(const std::string& name, const TokenColumns& view,
                      const std::vector<std::vector<uint32_t>>& index,
                      const std::vector<torch::Tensor>& rows) const;
  torch::Tensor Head(torch::Tensor z) const;
  std::vector<torch::Tensor> Channels(const Batch& batch, const torch::Tensor& partial,
                                      const torch::Tensor& full) const;
  void Mix(int64_t layer, std::vector<torch::Tensor>& full) const;
  torch::Tensor Layer(const std::string& prefix, const std::shared_ptr<const ChannelRows>& rows,
                      const torch::Tensor& partial, const torch::Tensor& full, bool last) const;
  // queried + attention of norm(x); `queried`: the last rows of x, which ask.
  torch::Tensor Attention(const std::string& prefix, const std::shared_ptr<const ChannelRows>& rows,
                          const torch::Tensor& x, const LayerNormWeights& norm,
                          const torch::Tensor& queried) const;

  const ModelSpec& spec_;
  Precision precision_ = Precision::kF32;
  std::vector<std::pair<std::string, torch::Tensor>> weights_;
  std::map<std::string, size_t> index_;
};

}  // namespace grab
