#include "train/hstu.h"

#include <cmath>

#include "train/dense.h"
#include "train/dense_segments.h"

namespace grab {
namespace {

class Layers {
 public:
  Layers(const ModelSpec& spec, const NetWeights& w, Precision precision, const Batch& batch)
      : spec_(spec), w_(w), precision_(precision), segments_(DenseSegments(spec, batch, 0)) {}

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
    std::vector<torch::Tensor> partial, full;
    for (const DenseSegment& segment : segments_) {
      const auto keys = [&](const torch::Tensor& x) {
        return x.narrow(0, segment.partial_begin, segment.partial_rows);
      };
      const auto bias = [&](const torch::Tensor& table, const torch::Tensor& buckets) {
        return table.index_select(1, buckets.flatten())
            .view({spec_.heads, segment.queries(), segment.partial_rows});
      };
      const torch::Tensor logits = HeadProducts(Queries(q, segment), keys(k), spec_.heads) * scale +
                                   bias(position, segment.PositionBuckets()) +
                                   bias(time, segment.TimeBuckets());
      const torch::Tensor weight = torch::silu(logits) * segment.Visible(q.scalar_type());
      const torch::Tensor out = HeadSums(weight, keys(v));
      partial.push_back(out.narrow(0, 0, segment.partial_rows));
      full.push_back(out.narrow(0, segment.partial_rows, segment.full_rows));
    }
    partial.insert(partial.end(), full.begin(), full.end());
    const double window_len = static_cast<double>(spec_.DistanceMax(0));
    return (torch::cat(partial, 0) + self.flatten(1)) / window_len;
  }

  torch::Tensor Queries(const torch::Tensor& x, const DenseSegment& segment) const {
    const DenseSegment& last = segments_.back();
    const int64_t first_full = last.partial_begin + last.partial_rows;
    return torch::cat({x.narrow(0, segment.partial_begin, segment.partial_rows),
                       x.narrow(0, first_full + segment.full_begin, segment.full_rows)},
                      0);
  }

  const ModelSpec& spec_;
  const NetWeights& w_;
  const Precision precision_;
  const std::vector<DenseSegment> segments_;
};

}  // namespace

torch::Tensor Hstu(const ModelSpec& spec, const NetWeights& w, Precision precision,
                   const Batch& batch, const torch::Tensor& full, const torch::Tensor& partial) {
  const Layers layers(spec, w, precision, batch);
  const std::vector<uint32_t>& token = batch.channels[0].token;
  const torch::Tensor event =
      torch::tensor(std::vector<int64_t>(token.begin(), token.end()), torch::kInt64);
  torch::Tensor x = torch::cat({partial.index_select(0, event), full}, 0);
  for (int64_t layer = 0; layer < spec.layers; ++layer) x = layers.Run(layer, x);
  return LayerNormed(x.narrow(0, event.size(0), full.size(0)), w.Norm("norm"));
}

}  // namespace grab
