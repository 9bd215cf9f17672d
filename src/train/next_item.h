// Pre-training: the state of a partial token predicts the item of the next token of its channel, by
// a sampled softmax. Items of the same batch are the negatives; what is popular is drawn more
// often, so every logit is lowered by the logarithm of its item's frequency (Yi et al.,
// "Sampling-Bias- Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019).
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "batch/batch.h"
#include "data/shard.h"
#include "train/batch_parts.h"
#include "train/net.h"

namespace grab {

// How often each value of an id field stands in the events before validation and test. Counts are
// kept by hash in fixed memory: values that share a slot add up.
class ItemPopularity {
 public:
  // Reads every block of the shards once. `field`: index into Schema::fields.
  static StatusOr<ItemPopularity> Count(const ShardSet& shards, size_t field);

  // The share of `key` among all; of a key never counted, that of one occurrence.
  double Share(uint64_t key) const;

 private:
  static constexpr size_t kSlots = 1 << 22;
  std::vector<uint32_t> counts_ = std::vector<uint32_t>(kSlots, 0);
  uint64_t total_ = 0;
};

// What the parts of one batch share.
struct NextItemBatch {
  size_t column = 0;  // of the partial view: the predicted field
  size_t table = 0;
  // Per unique row of the table the logarithm of its key's share; NaN: not an item to predict (the
  // unknown row, or a row that only candidates read).
  std::vector<float> log_share;
  int64_t predictions = 0;  // tokens of all channels whose next one has an item
};

// `slot`: index into TokenSpec::slots of an id field of the partial view.
NextItemBatch PrepareNextItems(const TokenSpec& spec, size_t slot, const Batch& batch,
                               const BatchLookup& lookup, const ItemPopularity& popularity);

// Unique rows of the table, drawn from the part's predicted items as often as they stand there: at
// most `count`, none if nothing is predicted. `seed`: of the step.
std::vector<int64_t> SampleNegatives(const BatchPart& part, const NextItemBatch& items,
                                     int64_t count, uint64_t seed);

// Sum over the part's predictions of the cross-entropy of the next item among it and the negatives
// that are other items. outputs: with histories.
torch::Tensor NextItemLoss(const Net& net, const NetOutputs& outputs, const BatchPart& part,
                           const std::vector<torch::Tensor>& rows, const NextItemBatch& items,
                           const std::vector<int64_t>& negatives, double temperature);

}  // namespace grab
