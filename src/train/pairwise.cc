#include "train/pairwise.h"

#include <cmath>
#include <map>

namespace grab {
namespace {

struct Page {
  std::vector<int64_t> clicked, passed;
};

float ValueOf(const Batch& batch, size_t row) {
  if (batch.value.empty()) return 1.0f;
  const float value = batch.value[row];
  return std::isfinite(value) && value > 0.0f ? value : 0.0f;
}

void AddPairs(const Batch& batch, const Page& page, PagePairs& pairs) {
  const size_t count = std::min(page.passed.size(), kPagePairsMax);
  for (const int64_t clicked : page.clicked) {
    const float weight = ValueOf(batch, static_cast<size_t>(clicked));
    if (weight == 0.0f) continue;
    for (size_t i = 0; i < count; ++i) {
      pairs.clicked.push_back(clicked);
      pairs.passed.push_back(page.passed[i * page.passed.size() / count]);
      pairs.weight.push_back(weight);
      pairs.weight_sum += weight;
    }
  }
}

}  // namespace

PagePairs FindPagePairs(const Batch& batch) {
  PagePairs pairs;
  for (size_t s = 0; s + 1 < batch.full_offsets.size(); ++s) {
    std::map<uint64_t, Page> pages;
    for (size_t r = batch.full_offsets[s]; r < batch.full_offsets[s + 1]; ++r) {
      if (batch.page_id[r] == 0 || (batch.labels_known[r] & 1u) == 0) continue;
      Page& page = pages[batch.page_id[r]];
      ((batch.labels[r] & 1u) != 0 ? page.clicked : page.passed).push_back(static_cast<int64_t>(r));
    }
    for (const auto& [id, page] : pages) AddPairs(batch, page, pairs);
  }
  return pairs;
}

torch::Tensor PairwiseLoss(const torch::Tensor& logits, const PagePairs& pairs) {
  const torch::Tensor main = logits.select(1, 0);
  const torch::Tensor margin = main.index_select(0, torch::tensor(pairs.clicked, torch::kInt64)) -
                               main.index_select(0, torch::tensor(pairs.passed, torch::kInt64));
  const torch::Tensor weight = torch::tensor(pairs.weight).to(logits.scalar_type());
  return (torch::softplus(-margin) * weight).sum();
}

}  // namespace grab
