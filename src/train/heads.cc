#include "train/heads.h"

#include "train/ops.h"

namespace grab {
namespace {

enum class HistoryPart { kAll, kWithAction };

// Per full row its history in `channel` as rows of the batch's partial tokens, each with the weight
// of a mean; none: the sum is 0.
RowPairs History(const Batch& batch, size_t channel, HistoryPart part, int64_t actions) {
  const ChannelBatch& rows = batch.channels[channel];
  RowPairs pairs;
  for (uint32_t f = 0; f < batch.full.rows; ++f) {
    const size_t first = pairs.index.size();
    for (int32_t r = rows.full_begin[f]; r < rows.full_end[f]; ++r) {
      const int32_t action = rows.key_action[static_cast<size_t>(r)];
      if (part == HistoryPart::kWithAction && (action < 1 || action > actions)) continue;
      pairs.index.push_back(rows.token[static_cast<size_t>(r)]);
    }
    const size_t count = pairs.index.size() - first;
    pairs.weight.resize(pairs.index.size(), count > 0 ? 1.0f / static_cast<float>(count) : 0.0f);
    pairs.offsets.push_back(static_cast<uint32_t>(pairs.index.size()));
  }
  return pairs;
}

}  // namespace

std::vector<WeightSpec> HeadWeights(const ModelSpec& spec, const TrainConfig& config) {
  std::vector<WeightSpec> weights;
  const auto tasks = static_cast<int64_t>(spec.tasks.size());
  if (config.dual_loss.weight > 0.0) {
    AddHeadWeights("base", spec.d_model, spec.head_hidden, tasks, weights);
  }
  if (config.mode != "end_to_end") {
    const auto width = static_cast<int64_t>(spec.tokens.FullWidth() +
                                            2 * spec.channels.size() * spec.tokens.PartialWidth());
    AddGateMlpWeights("sparse.tokenizer", width, spec.tokenizer_hidden, spec.d_model, weights);
    AddHeadWeights("sparse.head", spec.d_model, spec.head_hidden, tasks, weights);
  }
  if (config.objective == "next_item") {
    const TokenSlot* item = spec.tokens.FindSlot(config.next_item.field);
    AddLinearWeights("next.state", spec.d_model, spec.d_model, weights);
    AddLinearWeights("next.item", spec.d_model, item->width, weights);
  }
  return weights;
}

torch::Tensor BaseLogits(const Net& net, const torch::Tensor& full) {
  return Mlp(net.w(), "base", net.spec().head_hidden.size(), full);
}

torch::Tensor SparseLogits(const Net& net, const BatchPart& part,
                           const std::vector<torch::Tensor>& rows) {
  const ModelSpec& spec = net.spec();
  const auto actions = static_cast<int64_t>(spec.tokens.schema.actions.size());
  std::vector<torch::Tensor> inputs = {
      PoolTokens(spec.tokens, part.batch.full, part.lookup.full_index, rows)};
  const torch::Tensor partial =
      PoolTokens(spec.tokens, part.batch.partial, part.lookup.partial_index, rows);
  for (size_t c = 0; c < spec.channels.size(); ++c) {
    for (const HistoryPart which : {HistoryPart::kAll, HistoryPart::kWithAction}) {
      inputs.push_back(PoolRows(History(part.batch, c, which, actions), partial));
    }
  }
  return Mlp(net.w(), "sparse.head", spec.head_hidden.size(),
             GateMlp(net.w(), "sparse.tokenizer", torch::cat(inputs, 1), net.precision()));
}

}  // namespace grab
