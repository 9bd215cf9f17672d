#include "train/target_attention.h"

#include <algorithm>
#include <cmath>

#include "train/dense.h"
#include "train/dense_tiles.h"
#include "train/history_search.h"
#include "train/ops.h"

namespace grab {
namespace {

torch::Tensor IndexOf(const std::vector<int64_t>& values) {
  return torch::tensor(values, torch::kInt64);
}

struct Pairs {
  explicit Pairs(const HistoryPairs& pairs)
      : candidate(IndexOf(pairs.candidate)),
        event(IndexOf(pairs.event)),
        time_bucket(IndexOf(pairs.time_bucket)),
        action(IndexOf(pairs.action)) {}
  torch::Tensor candidate, event, time_bucket, action;

  // Sums over the pairs of a candidate. x [pairs, ...]
  torch::Tensor Sum(const torch::Tensor& x, int64_t candidates) const {
    std::vector<int64_t> shape = x.sizes().vec();
    shape[0] = candidates;
    return torch::zeros(shape, x.options()).index_add(0, candidate, x);
  }
};

// DIN's activation unit, its weights not normalised (section 4.3 of the paper). Events have their
// age added. The unit's hidden layer reads [q, k, q - k, q * k]; of these only the product is of
// the pair, so that the others go through it once for each candidate, event and age.
torch::Tensor Recent(const NetWeights& w, Precision precision, const Pairs& pairs,
                     const torch::Tensor& full, const torch::Tensor& partial) {
  const int64_t d = full.size(1);
  const torch::Tensor& time = w["recent.time"][0];
  const LinearWeights hidden = w.Linear("recent.hidden");
  const std::vector<torch::Tensor> of = hidden.weight.split(d, 1);  // of q, k, q - k and q * k
  const torch::Tensor none = torch::zeros_like(hidden.bias);
  const auto beside = [&](const torch::Tensor& x, const LinearWeights& part) {
    return torch::cat({x, NormedLinear(x, {}, part, {}, precision)}, 1);
  };
  const LinearWeights of_key = {of[1] - of[2], none};
  const torch::Tensor query =
      beside(full, {of[0] + of[2], hidden.bias}).index_select(0, pairs.candidate);
  const torch::Tensor key = beside(partial, of_key).index_select(0, pairs.event) +
                            beside(time, of_key).index_select(0, pairs.time_bucket);
  const torch::Tensor k = key.narrow(1, 0, d);
  const int64_t hidden_width = key.size(1) - d;
  const torch::Tensor unit = torch::gelu(
      NormedLinear(query.narrow(1, 0, d) * k, {}, {of[3].contiguous(), none},
                   query.narrow(1, d, hidden_width) + key.narrow(1, d, hidden_width), precision));
  const torch::Tensor weight = NormedLinear(unit, {}, w.Linear("recent.out"), {}, precision);
  return pairs.Sum(weight * k, full.size(0));
}

// Of every pair the largest logit [pairs, heads] of its candidate: what a softmax subtracts, which
// is the same whatever that is and so needs no gradient. (scatter_reduce has it, and prints that it
// is in beta.)
torch::Tensor Largest(const Pairs& pairs, const torch::Tensor& logits, int64_t candidates) {
  const torch::Tensor values = logits.detach().to(torch::kFloat64).contiguous();
  const int64_t heads = values.size(1);
  torch::Tensor largest = torch::full({candidates, heads}, -INFINITY, torch::kFloat64);
  const auto value = values.accessor<double, 2>();
  const auto candidate = pairs.candidate.accessor<int64_t, 1>();
  auto most = largest.accessor<double, 2>();
  for (int64_t i = 0; i < values.size(0); ++i) {
    for (int64_t h = 0; h < heads; ++h) {
      most[candidate[i]][h] = std::max(most[candidate[i]][h], value[i][h]);
    }
  }
  return largest.to(logits.scalar_type()).index_select(0, pairs.candidate);
}

// Multi-head attention of every candidate over its pairs. q [full rows, d], kv [partial rows, 2 d]
torch::Tensor Found(const ModelSpec& spec, const NetWeights& w, const Pairs& pairs,
                    const torch::Tensor& q, const torch::Tensor& kv) {
  const int64_t d = spec.d_model, heads = spec.heads, width = spec.head_width();
  const auto of = [&](const torch::Tensor& x, const torch::Tensor& rows) {
    return x.index_select(0, rows).view({-1, heads, width});
  };
  const torch::Tensor k = of(kv.narrow(1, 0, d), pairs.event);
  const torch::Tensor v = of(kv.narrow(1, d, d), pairs.event);
  const auto bias = [](const torch::Tensor& table, const torch::Tensor& bucket) {
    return table.squeeze(2).index_select(1, bucket).t();
  };
  const torch::Tensor logits =
      (of(q, pairs.candidate) * k).sum(2) / std::sqrt(static_cast<double>(width)) +
      bias(w["found.time"], pairs.time_bucket) + bias(w["found.action"], pairs.action);
  const torch::Tensor largest = Largest(pairs, logits, q.size(0));
  const torch::Tensor e = torch::exp(logits - largest);
  const torch::Tensor sum = pairs.Sum(e, q.size(0)).index_select(0, pairs.candidate);
  return pairs.Sum((e / sum).unsqueeze(2) * v, q.size(0)).reshape({q.size(0), d});
}

// All events that a candidate may see, weighted by the softmax of their products with it; 0 where
// it sees none.
torch::Tensor Weighted(const ModelSpec& spec, const Batch& batch, const torch::Tensor& q,
                       const torch::Tensor& k, const torch::Tensor& partial) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(spec.d_model));
  const std::vector<DenseTile> tiles = FullTiles(batch, 0);
  const ChannelBatch& channel = batch.channels[0];
  const std::vector<torch::Tensor> q_of = QueriesOf(tiles, q);
  const std::vector<torch::Tensor> k_of = KeysOf(tiles, RowsOfChannel(channel, k));
  const std::vector<torch::Tensor> read_of = KeysOf(tiles, RowsOfChannel(channel, partial));
  std::vector<torch::Tensor> sums;
  for (size_t t = 0; t < tiles.size(); ++t) {
    // One more key, which everything sees and which is worth nothing, so that no row is empty.
    const torch::Tensor logits = HeadProducts(q_of[t], k_of[t], 1).squeeze(0) * scale;
    const torch::Tensor seen = logits.masked_fill(tiles[t].visible == 0, -INFINITY);
    const torch::Tensor none = torch::zeros({tiles[t].query_rows, 1}, q.options());
    const torch::Tensor weight = torch::softmax(torch::cat({seen, none}, 1), 1);
    sums.push_back(HeadSums(weight.narrow(1, 0, tiles[t].key_rows).unsqueeze(0), read_of[t]));
  }
  return torch::cat(sums, 0);
}

}  // namespace

AttendedTarget TargetAttention(const ModelSpec& spec, const NetWeights& w, Precision precision,
                               const Batch& batch, const BatchLookup& lookup, const Tokens& full,
                               const Tokens& partial) {
  std::vector<torch::Tensor> inputs = {
      full.token,
      Recent(w, precision, Pairs(NewestEvents(spec, batch)), full.token, partial.token)};
  if (!Searches(spec.kind)) return {torch::cat(inputs, 1), {}};
  const auto project = [&](const torch::Tensor& x, const LayerNormWeights& norm, const char* name) {
    return NormedLinear(x, norm, w.Linear(name), {}, precision);
  };
  const LayerNormWeights norm = w.Norm("found.norm");
  const torch::Tensor q = project(full.token, norm, "found.query");
  const torch::Tensor kv = project(partial.token, norm, "found.key_value");
  HistoryPairs found;
  torch::Tensor search_logits;
  if (spec.kind == ModelKind::kEta) {
    found = NearestHashes(spec, batch, full.slots, partial.slots);
  } else if (spec.kind == ModelKind::kTwin) {
    found = LargestLogits(spec, batch, q, kv.narrow(1, 0, spec.d_model), w["found.time"],
                          w["found.action"]);
  } else if (spec.search.slot >= 0) {
    found = SharingEvents(spec, batch, lookup);
  } else {
    const torch::Tensor query = project(full.token, {}, "search.query");
    const torch::Tensor key = project(partial.token, {}, "search.key");
    found = LargestProducts(spec, batch, query, key);
    const torch::Tensor read = Weighted(spec, batch, query, key, partial.token);
    search_logits =
        Mlp(w, "search.head", spec.head_hidden.size(), torch::cat({full.token, read}, 1));
  }
  inputs.push_back(project(Found(spec, w, Pairs(found), q, kv), {}, "found.out"));
  return {torch::cat(inputs, 1), search_logits};
}

}  // namespace grab
