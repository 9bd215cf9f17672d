#include "train/loss.h"

namespace grab {

torch::Tensor ClickLoss(const torch::Tensor& logits, const Batch& batch,
                        const std::vector<double>& weights) {
  const auto tasks = static_cast<int64_t>(weights.size());
  torch::Tensor label = torch::zeros({batch.full.rows, tasks}, torch::kFloat64);
  torch::Tensor weight = torch::zeros({batch.full.rows, tasks}, torch::kFloat64);
  auto labels = label.accessor<double, 2>();
  auto row_weights = weight.accessor<double, 2>();
  for (int64_t t = 0; t < tasks; ++t) {
    int64_t known = 0;
    for (const uint32_t bits : batch.labels_known) known += bits >> t & 1u;
    for (int64_t r = 0; r < batch.full.rows; ++r) {
      const auto row = static_cast<size_t>(r);
      if ((batch.labels_known[row] >> t & 1u) == 0) continue;
      labels[r][t] = static_cast<double>(batch.labels[row] >> t & 1u);
      row_weights[r][t] = weights[static_cast<size_t>(t)] / static_cast<double>(known);
    }
  }
  return torch::binary_cross_entropy_with_logits(logits, label.to(logits.scalar_type()),
                                                 weight.to(logits.scalar_type()), {},
                                                 at::Reduction::Sum);
}

}  // namespace grab
