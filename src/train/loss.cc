#include "train/loss.h"

namespace grab {

std::vector<double> RowWeights(const Batch& batch, const std::vector<double>& weights) {
  std::vector<double> row_weights;
  for (size_t t = 0; t < weights.size(); ++t) {
    int64_t known = 0;
    for (const uint32_t bits : batch.labels_known) known += bits >> t & 1u;
    row_weights.push_back(known > 0 ? weights[t] / static_cast<double>(known) : 0.0);
  }
  return row_weights;
}

torch::Tensor LabelLoss(const torch::Tensor& logits, const Batch& batch,
                        const std::vector<double>& row_weights) {
  const auto tasks = static_cast<int64_t>(row_weights.size());
  torch::Tensor label = torch::zeros({batch.full.rows, tasks}, torch::kFloat64);
  torch::Tensor weight = torch::zeros({batch.full.rows, tasks}, torch::kFloat64);
  auto labels = label.accessor<double, 2>();
  auto weights = weight.accessor<double, 2>();
  for (int64_t r = 0; r < batch.full.rows; ++r) {
    const auto row = static_cast<size_t>(r);
    for (int64_t t = 0; t < tasks; ++t) {
      if ((batch.labels_known[row] >> t & 1u) == 0) continue;
      labels[r][t] = static_cast<double>(batch.labels[row] >> t & 1u);
      weights[r][t] = row_weights[static_cast<size_t>(t)];
    }
  }
  return torch::binary_cross_entropy_with_logits(logits, label.to(logits.scalar_type()),
                                                 weight.to(logits.scalar_type()), {},
                                                 at::Reduction::Sum);
}

}  // namespace grab
