#include "train/next_item.h"

#include <cmath>
#include <limits>

#include "base/rng.h"

namespace grab {
namespace {

// Predictions of one channel: the token whose state predicts, and the unique row of the next item.
struct Predictions {
  std::vector<int64_t> token;
  std::vector<int64_t> item;
};

Predictions FindPredictions(const Batch& batch, const std::vector<uint32_t>& index,
                            const NextItemBatch& items, size_t channel) {
  Predictions found;
  const ChannelBatch& rows = batch.channels[channel];
  const std::vector<uint32_t>& offsets = batch.partial.columns[items.column].offsets;
  for (size_t s = 0; s + 1 < rows.segment_offsets.size(); ++s) {
    for (uint32_t r = rows.segment_offsets[s]; r + 1 < rows.segment_offsets[s + 1]; ++r) {
      const uint32_t next = rows.token[r + 1];
      if (offsets[next] == offsets[next + 1]) continue;
      const uint32_t item = index[offsets[next]];
      if (std::isnan(items.log_share[item])) continue;
      found.token.push_back(r);
      found.item.push_back(item);
    }
  }
  return found;
}

torch::Tensor UnitRows(const torch::Tensor& x) { return x / x.norm(2, 1, true).clamp_min(1e-6); }

torch::Tensor Projected(const Net& net, const std::string& name, const torch::Tensor& x) {
  return UnitRows(NormedLinear(x, {}, net.w().Linear(name), {}, Precision::kF32));
}

}  // namespace

StatusOr<ItemPopularity> ItemPopularity::Count(const ShardSet& shards, size_t field) {
  ItemPopularity popularity;
  for (const ShardSet::BlockRef& ref : shards.blocks()) {
    GRAB_ASSIGN_OR_RETURN(const UserBlock block, shards.Read(ref));
    for (size_t i = 0; i < block.events.size(); ++i) {
      const uint64_t key = block.events.fields[field].ids[i];
      const Split split = block.events.split[i];
      if (key == 0 || split == Split::kValid || split == Split::kTest) continue;
      if (block.events.history[i] == 0) continue;
      ++popularity.counts_[Mix64(key) % kSlots];
      ++popularity.total_;
    }
  }
  return popularity;
}

double ItemPopularity::Share(uint64_t key) const {
  const uint32_t count = std::max<uint32_t>(1, counts_[Mix64(key) % kSlots]);
  return static_cast<double>(count) / static_cast<double>(std::max<uint64_t>(1, total_));
}

NextItemBatch PrepareNextItems(const TokenSpec& spec, size_t slot, const Batch& batch,
                               const BatchLookup& lookup, const ItemPopularity& popularity) {
  NextItemBatch items;
  while (batch.partial.slots[items.column] != static_cast<int>(slot)) ++items.column;
  items.table = static_cast<size_t>(spec.slots[slot].table);
  const std::vector<uint32_t>& unique = lookup.unique_rows[items.table];
  items.log_share.assign(unique.size(), std::numeric_limits<float>::quiet_NaN());
  const std::vector<uint64_t>& keys = batch.partial.columns[items.column].keys;
  const std::vector<uint32_t>& index = lookup.partial_index[items.column];
  for (size_t i = 0; i < keys.size(); ++i) {
    if (unique[index[i]] == EmbeddingTable::kUnknownRow) continue;
    items.log_share[index[i]] = static_cast<float>(std::log(popularity.Share(keys[i])));
  }
  for (size_t c = 0; c < batch.channels.size(); ++c) {
    items.predictions += static_cast<int64_t>(FindPredictions(batch, index, items, c).item.size());
  }
  return items;
}

std::vector<int64_t> SampleNegatives(const BatchPart& part, const NextItemBatch& items,
                                     int64_t count, uint64_t seed) {
  std::vector<int64_t> pool;
  for (size_t c = 0; c < part.batch.channels.size(); ++c) {
    const Predictions found =
        FindPredictions(part.batch, part.lookup.partial_index[items.column], items, c);
    pool.insert(pool.end(), found.item.begin(), found.item.end());
  }
  Rng rng(seed, part.full_rows[0]);
  std::vector<int64_t> sampled;
  for (int64_t i = 0; i < count && !pool.empty(); ++i) {
    sampled.push_back(pool[rng.Below(pool.size())]);
  }
  return sampled;
}

torch::Tensor NextItemLoss(const Net& net, const NetOutputs& outputs, const BatchPart& part,
                           const std::vector<torch::Tensor>& rows, const NextItemBatch& items,
                           const std::vector<int64_t>& negatives, double temperature) {
  const torch::Tensor log_share = torch::tensor(items.log_share).to(outputs.full.scalar_type());
  const torch::Tensor& table = rows[items.table];
  const torch::Tensor negative = torch::tensor(negatives, torch::kInt64);
  const torch::Tensor negative_item = Projected(net, "next.item", table.index_select(0, negative));
  torch::Tensor loss = torch::zeros({}, outputs.full.options());
  for (size_t c = 0; c < part.batch.channels.size(); ++c) {
    const Predictions found =
        FindPredictions(part.batch, part.lookup.partial_index[items.column], items, c);
    if (found.item.empty()) continue;
    const torch::Tensor item = torch::tensor(found.item, torch::kInt64);
    const torch::Tensor token = torch::tensor(found.token, torch::kInt64);
    const torch::Tensor state =
        Projected(net, "next.state", outputs.histories[c].index_select(0, token));
    const torch::Tensor next = Projected(net, "next.item", table.index_select(0, item));
    const torch::Tensor positive =
        (state * next).sum(1) / temperature - log_share.index_select(0, item);
    const torch::Tensor same = item.unsqueeze(1) == negative.unsqueeze(0);
    const torch::Tensor others = (HeadProducts(state, negative_item, 1).squeeze(0) / temperature -
                                  log_share.index_select(0, negative))
                                     .masked_fill(same, -std::numeric_limits<double>::infinity());
    const torch::Tensor all = torch::cat({positive.unsqueeze(1), others}, 1);
    loss = loss + (torch::logsumexp(all, 1) - positive).sum();
  }
  return loss;
}

}  // namespace grab
