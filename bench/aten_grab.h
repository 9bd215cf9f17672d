// GRAB as a PyTorch user writes it: ATen operators and autograd over padded users, or over packed
// rows with a loop over users in the attention. Weights are a training net's, by name.
#pragma once

#include <torch/types.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bench/aten_attention.h"
#include "embedding/lookup.h"

namespace grab::bench {

// What a data loader hands to the model: users [begin, end) of a batch, laid out.
struct AtenBatch {
  struct Slot {  // embedding_bag over the view's padded rows
    size_t table = 0;
    torch::Tensor index, offsets, weights;
  };
  std::vector<Slot> partial, full;
  std::vector<torch::Tensor> channel_token;  // per channel: P token of every padded P row
  std::vector<PaddedChannel> channels;
  torch::Tensor labels, label_weights;  // [full rows, tasks]; weights sum to 1 over the whole batch
  std::vector<int64_t> full_row_of;     // the batch's F row of every padded one; -1: padding
};

// Splits a batch into what is computed at once: `layout.users` users each when padded, everything
// when not. Slots must be pooled ones.
std::vector<AtenBatch> MakeAtenBatches(const ModelSpec& spec, const Batch& batch,
                                       const BatchLookup& lookup, const Layout& layout,
                                       torch::ScalarType type = torch::kFloat32);

class AtenGrab {
 public:
  // Its own copy of `weights`. `spec` must outlive it.
  AtenGrab(const ModelSpec& spec,
           const std::vector<std::pair<std::string, torch::Tensor>>& weights);

  // Logits [padded F rows, tasks].
  torch::Tensor Forward(const AtenBatch& batch, const std::vector<torch::Tensor>& rows) const;
  torch::Tensor Loss(const AtenBatch& batch, const std::vector<torch::Tensor>& rows) const;

  const std::map<std::string, torch::Tensor>& weights() const { return weights_; }

 private:
  const torch::Tensor& W(const std::string& name) const;
  torch::Tensor Linear(const std::string& name, const torch::Tensor& x) const;
  torch::Tensor Norm(const std::string& name, const torch::Tensor& x) const;
  torch::Tensor Token(const std::string& name, const std::vector<AtenBatch::Slot>& slots,
                      const std::vector<torch::Tensor>& rows) const;
  std::vector<torch::Tensor> Mix(int64_t layer, const std::vector<torch::Tensor>& full) const;
  torch::Tensor Layer(const std::string& prefix, const PaddedChannel& channel,
                      const std::vector<Pairs>& pairs, const torch::Tensor& x,
                      int64_t queries) const;

  const ModelSpec& spec_;
  std::map<std::string, torch::Tensor> weights_;
  std::vector<PairMaker> pair_makers_;
};

}  // namespace grab::bench
