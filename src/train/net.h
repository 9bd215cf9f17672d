// The training forward of a ModelSpec in libtorch, f32 (or f64 for gradient checks).
#pragma once

#include <torch/types.h>

#include <memory>
#include <string>
#include <vector>

#include "batch/batch.h"
#include "embedding/lookup.h"
#include "model/channel_rows.h"
#include "model/spec.h"
#include "train/net_weights.h"

namespace grab {

struct NetOutputs {
  torch::Tensor logits;  // [batch.full.rows, tasks]
  torch::Tensor full;    // the candidates' tokens before any channel [batch.full.rows, d_model]
  torch::Tensor search_logits;  // AttendedTarget's; undefined of most models
  // Per channel the state of every partial row after the last layer [partial rows, d_model]; only
  // if asked for.
  std::vector<torch::Tensor> histories;
};

class Net {
 public:
  // The weights of ModelSpec::Weights() and `extra` ones that parts of training add. `spec` must
  // outlive the net.
  Net(const ModelSpec& spec, uint64_t seed, torch::ScalarType type = torch::kFloat32,
      const std::vector<WeightSpec>& extra = {});

  // A net whose weights share storage with this one's but have gradients of their own, and whose
  // products are in `precision` (a new net's are in its own type).
  Net Alias(Precision precision) const;

  // `rows`: per table the unique rows of `lookup` [unique, dim]. The arguments must outlive the
  // backward pass.
  NetOutputs Run(const Batch& batch, const BatchLookup& lookup,
                 const std::vector<torch::Tensor>& rows, bool histories) const;
  // Only the logits [batch.full.rows, tasks].
  torch::Tensor Forward(const Batch& batch, const BatchLookup& lookup,
                        const std::vector<torch::Tensor>& rows) const {
    return Run(batch, lookup, rows, false).logits;
  }

  const ModelSpec& spec() const { return spec_; }
  const NetWeights& w() const { return w_; }
  Precision precision() const { return precision_; }
  // In ModelSpec::Weights() order, then the extra ones.
  const std::vector<std::pair<std::string, torch::Tensor>>& weights() const { return w_.list(); }

 private:
  // Fills `outputs.histories` if asked; returns the candidates' states, channel by channel.
  std::vector<torch::Tensor> Channels(const Batch& batch, const torch::Tensor& partial,
                                      const torch::Tensor& full, bool histories,
                                      NetOutputs& outputs) const;
  void Mix(int64_t layer, std::vector<torch::Tensor>& full) const;
  // `partial_asks`: whether partial rows have a state after this layer, or only full ones.
  torch::Tensor Layer(const std::string& prefix, const std::shared_ptr<const ChannelRows>& rows,
                      const torch::Tensor& partial, const torch::Tensor& full,
                      bool partial_asks) const;
  // queried + attention of norm(x); `queried`: the last rows of x, which ask.
  torch::Tensor Attention(const std::string& prefix, const std::shared_ptr<const ChannelRows>& rows,
                          const torch::Tensor& x, const LayerNormWeights& norm,
                          const torch::Tensor& queried) const;

  const ModelSpec& spec_;
  Precision precision_ = Precision::kF32;
  NetWeights w_;
};

}  // namespace grab
