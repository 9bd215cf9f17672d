#include "train/objective.h"

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "train/heads.h"
#include "train/loss.h"
#include "train/pairwise.h"

namespace grab {

PartForward LogitsOf(Stage stage) {
  if (stage == Stage::kSparse) return SparseLogits;
  return [](const Net& net, const BatchPart& part, const std::vector<torch::Tensor>& rows) {
    return net.Forward(part.batch, part.lookup, rows);
  };
}

Objectives::Objectives(const ModelSpec& spec, const TrainConfig& config,
                       const std::vector<double>& task_weights, const ItemPopularity* popularity)
    : spec_(spec), config_(config), task_weights_(task_weights), popularity_(popularity) {}

Objective Objectives::Of(Stage stage, const Batch& batch, const BatchLookup& lookup,
                         double base_weight, uint64_t seed) const {
  if (popularity_ != nullptr) return NextItem(batch, lookup, seed);
  const std::vector<double> row_weights = RowWeights(batch, task_weights_);
  if (stage == Stage::kSparse) {
    return [row_weights](const Net& net, const BatchPart& part,
                         const std::vector<torch::Tensor>& rows) -> PartLoss {
      const torch::Tensor loss = LabelLoss(SparseLogits(net, part, rows), part.batch, row_weights);
      return {loss, loss};
    };
  }
  double pair_scale = 0.0;
  if (config_.pairwise.weight > 0.0) {
    const double sum = FindPagePairs(batch).weight_sum;
    if (sum > 0.0) pair_scale = config_.pairwise.weight / sum;
  }
  return
      [row_weights, base_weight, pair_scale](const Net& net, const BatchPart& part,
                                             const std::vector<torch::Tensor>& rows) -> PartLoss {
        const NetOutputs outputs = net.Run(part.batch, part.lookup, rows, false);
        const torch::Tensor main = LabelLoss(outputs.logits, part.batch, row_weights);
        torch::Tensor total = main;
        if (base_weight > 0.0) {
          total = total +
                  base_weight * LabelLoss(BaseLogits(net, outputs.full), part.batch, row_weights);
        }
        if (outputs.search_logits.defined()) {
          total = total + LabelLoss(outputs.search_logits, part.batch, row_weights);
        }
        if (pair_scale > 0.0) {
          total = total + pair_scale * PairwiseLoss(outputs.logits, FindPagePairs(part.batch));
        }
        return {total, main};
      };
}

Objective Objectives::NextItem(const Batch& batch, const BatchLookup& lookup, uint64_t seed) const {
  const TokenSlot* slot = spec_.tokens.FindSlot(config_.next_item.field);
  GRAB_CHECK(slot != nullptr);
  const auto items = std::make_shared<const NextItemBatch>(
      PrepareNextItems(spec_.tokens, static_cast<size_t>(slot - spec_.tokens.slots.data()), batch,
                       lookup, *popularity_));
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, items->predictions));
  return [this, items, scale, seed](const Net& net, const BatchPart& part,
                                    const std::vector<torch::Tensor>& rows) -> PartLoss {
    const NetOutputs outputs = net.Run(part.batch, part.lookup, rows, true);
    const torch::Tensor loss =
        scale * NextItemLoss(net, outputs, part, rows, *items,
                             SampleNegatives(part, *items, config_.next_item.negatives, seed),
                             config_.next_item.temperature);
    return {loss, loss};
  };
}

}  // namespace grab
