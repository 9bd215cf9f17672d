#include "train/hstu.h"

#include <cmath>

#include "train/dense.h"
#include "train/dense_tiles.h"
#include "train/ops.h"

namespace grab {
namespace {

class Layers {
 public:
  Layers(const ModelSpec& spec, const NetWeights& w, Precision precision, const Batch& batch)
      : spec_(spec), w_(w), precision_(precision), tiles_(PartialTiles(batch, 0)) {
    const std::vector<DenseTile> full = FullTiles(batch, 0);
    tiles_.insert(tiles_.end(), full.begin(), full.end());
    buckets_ = BucketsOf(spec, batch, 0, tiles_);
  }

  // x [partial rows + full rows, d], rows of the channel.
  torch::Tensor Run(int64_t layer, const torch::Tensor& x) const {
    const std::string prefix = absl::StrCat("layer.", layer, ".");
    const std::vector<torch::Tensor> uvqk =
        torch::silu(
            NormedLinear(x, w_.Norm(prefix + "norm"), w_.Linear(prefix + "uvqk"), {}, precision_))
            .chunk(4, 1);
    const torch::Tensor attended = Attention(prefix, uvqk[1], uvqk[2], uvqk[3]);
    const torch::Tensor gated = LayerNormed(attended, w_.Norm(prefix + "attention.norm")) * uvqk[0];
    return NormedLinear(gated, {}, w_.Linear(prefix + "out"), x, precision_);
  }

 private:
  torch::Tensor Heads(const torch::Tensor& x) const {
    return x.view({-1, spec_.heads, spec_.head_width()});
  }

  // SiLU(q k + bias) v / window length, of what a row sees and of itself.
  torch::Tensor Attention(const std::string& prefix, const torch::Tensor& v, const torch::Tensor& q,
                          const torch::Tensor& k) const {
    const torch::Tensor position = w_[prefix + "position"].squeeze(2);
    const torch::Tensor time = w_[prefix + "time"].squeeze(2);
    const double scale = 1.0 / std::sqrt(static_cast<double>(spec_.head_width()));
    const torch::Tensor self_logits =
        (Heads(q) * Heads(k)).sum(2) * scale + (position.select(1, 0) + time.select(1, 0));
    const torch::Tensor self = torch::silu(self_logits).unsqueeze(2) * Heads(v);
    const auto bias = [](const torch::Tensor& table, const torch::Tensor& buckets) {
      return table.index_select(1, buckets.flatten())
          .view({table.size(0), buckets.size(0), buckets.size(1)});
    };
    const std::vector<torch::Tensor> q_of = QueriesOf(tiles_, q);
    const std::vector<torch::Tensor> k_of = KeysOf(tiles_, k), v_of = KeysOf(tiles_, v);
    std::vector<torch::Tensor> sums;
    for (size_t t = 0; t < tiles_.size(); ++t) {
      const torch::Tensor logits = HeadProducts(q_of[t], k_of[t], spec_.heads) * scale +
                                   bias(position, buckets_[t].position) +
                                   bias(time, buckets_[t].time);
      const torch::Tensor weight = torch::silu(logits) * tiles_[t].visible.to(q.scalar_type());
      sums.push_back(HeadSums(weight, v_of[t]));
    }
    const double window_len = static_cast<double>(spec_.DistanceMax(0));
    return (torch::cat(sums, 0) + self.flatten(1)) / window_len;
  }

  const ModelSpec& spec_;
  const NetWeights& w_;
  const Precision precision_;
  std::vector<DenseTile> tiles_;  // of the partial rows, then of the full ones
  std::vector<TileBuckets> buckets_;
};

}  // namespace

torch::Tensor Hstu(const ModelSpec& spec, const NetWeights& w, Precision precision,
                   const Batch& batch, const torch::Tensor& full, const torch::Tensor& partial) {
  const Layers layers(spec, w, precision, batch);
  const torch::Tensor events = RowsOfChannel(batch.channels[0], partial);
  torch::Tensor x = torch::cat({events, full}, 0);
  for (int64_t layer = 0; layer < spec.layers; ++layer) x = layers.Run(layer, x);
  return LayerNormed(x.narrow(0, events.size(0), full.size(0)), w.Norm("norm"));
}

}  // namespace grab
