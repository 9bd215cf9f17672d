#include "train/recency_prior.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/rab_buckets.h"

namespace grab {
namespace {

// Per bucket the mean of ln(distance); 0 where no distance falls into it.
std::vector<double> LogDistances(int64_t buckets, int64_t distance_max) {
  const std::vector<uint16_t> bucket = PositionBuckets(buckets, distance_max);
  std::vector<double> sum(static_cast<size_t>(buckets)), count(sum.size());
  for (size_t distance = 1; distance < bucket.size(); ++distance) {
    sum[bucket[distance]] += std::log(static_cast<double>(distance));
    count[bucket[distance]] += 1.0;
  }
  for (size_t b = 0; b < sum.size(); ++b) sum[b] /= std::max(1.0, count[b]);
  return sum;
}

}  // namespace

void PreferRecent(const ModelSpec& spec, double slope, const NetWeights& weights) {
  GRAB_CHECK(spec.kind == ModelKind::kGrab);
  const torch::NoGradGuard no_grad;
  const double last_head = static_cast<double>(std::max<int64_t>(1, spec.heads - 1));
  const double per_component = 1.0 / std::sqrt(static_cast<double>(spec.head_width()));
  for (size_t c = 0; c < spec.channels.size(); ++c) {
    const std::vector<double> log_distance =
        LogDistances(spec.position_buckets, spec.DistanceMax(c));
    for (int64_t layer = 0; layer < spec.layers; ++layer) {
      const std::string prefix = LayerPrefix(c, layer) + "attention.";
      weights[prefix + "qkv.bias"].slice(0, 0, spec.d_model).fill_(1.0);
      const torch::Tensor& codebook = weights[prefix + "codebook_position"];
      for (int64_t h = 0; h < spec.heads; ++h) {
        const double of_head = spec.heads == 1 ? slope : slope * static_cast<double>(h) / last_head;
        for (int64_t b = 1; b < spec.position_buckets; ++b) {
          codebook[h][b] -= of_head * log_distance[static_cast<size_t>(b)] * per_component;
        }
      }
    }
  }
}

}  // namespace grab
