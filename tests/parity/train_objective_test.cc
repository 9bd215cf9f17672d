// Every objective's gradients against central differences in f64 (as in train_gradient_test), and
// every loss against plain loops: the aggregate-and-score head's inputs, pairs of a page, the
// sampled softmax. Sums of at most some hundred terms of order 1 in f64: 1e-9 is asked of losses.
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <cmath>

#include "support/gradient_check.h"
#include "support/net_weights.h"
#include "train/heads.h"
#include "train/objective.h"
#include "train/ops.h"
#include "train/pairwise.h"
#include "train/sparse.h"

namespace grab {
namespace {

const std::vector<double> kTaskWeights = {1.0, 0.5};

TrainConfig ConfigOf(const std::string& what) {
  TrainConfig config;
  config.mode = what == "sparse" ? "sts" : "end_to_end";
  if (what == "dual") config.dual_loss.weight = 0.7;
  if (what == "pairwise") config.pairwise.weight = 0.9;
  if (what == "next_item") {
    config.objective = "next_item";
    config.next_item.field = "ad";
    config.next_item.negatives = 20;
    config.next_item.temperature = 0.5;
  }
  return config;
}

// A model with random weights, also of its training heads, and a batch as one part.
struct Case {
  Case(const std::string& what, uint64_t seed, int users = 3)
      : config(ConfigOf(what)),
        model(testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, seed)),
        net(model.spec, seed, torch::kFloat64, HeadWeights(model.spec, config)),
        batch(testing::PackAll(model.spec,
                               testing::MakeBlock(model.spec.tokens.schema, seed, users, 12))),
        lookup(Lookup(model.spec.tokens).Find(batch, model.tables)),
        part(std::move(SplitBatch(model.spec, batch, lookup, 1)[0])),
        rows(GatherRows(model.tables, lookup, true, torch::kFloat64)) {
    torch::NoGradGuard no_grad;
    torch::manual_seed(static_cast<int64_t>(seed));
    for (const auto& [name, weight] : net.weights()) {
      torch::Tensor to = weight;
      to.add_(0.3 * torch::randn(weight.sizes(), torch::kFloat64));
    }
  }

  TrainConfig config;
  Model model;
  Net net;
  Batch batch;
  BatchLookup lookup;
  BatchPart part;
  std::vector<torch::Tensor> rows;
};

void CheckGradients(const std::string& what, Stage stage, uint64_t seed,
                    const ItemPopularity* popularity) {
  SCOPED_TRACE(::testing::Message() << what << " seed " << seed);
  const Case test(what, seed);
  const Objectives objectives(test.model.spec, test.config, kTaskWeights, popularity);
  const Objective objective =
      objectives.Of(stage, test.batch, test.lookup, test.config.dual_loss.weight, 5);
  const auto loss = [&] { return objective(test.net, test.part, test.rows).total; };
  loss().backward();
  const auto value = [&] { return loss().item<double>(); };
  size_t moved = 0;
  for (const auto& [name, weight] : test.net.weights()) {
    if (!weight.grad().defined()) continue;
    testing::CheckGradient(name, weight, value);
    ++moved;
  }
  EXPECT_GT(moved, 8u);
  for (size_t t = 0; t < test.rows.size(); ++t) {
    if (test.rows[t].numel() == 0 || !test.rows[t].grad().defined()) continue;
    testing::CheckGradient(test.model.spec.tokens.tables[t].name, test.rows[t], value);
  }
}

TEST(ObjectiveGradients, MatchDifferences) {
  const ItemPopularity popularity;
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    CheckGradients("dual", Stage::kJoint, seed, nullptr);
    CheckGradients("pairwise", Stage::kJoint, seed, nullptr);
    CheckGradients("sparse", Stage::kSparse, seed, nullptr);
    CheckGradients("next_item", Stage::kJoint, seed, &popularity);
  }
}

// What a stage does not train gets no gradient: the model in the sparse stage, the sparse head
// elsewhere, the base head without its loss.
TEST(ObjectiveGradients, ReachOnlyWhatTheStageTrains) {
  for (const Stage stage : {Stage::kSequence, Stage::kSparse}) {
    const Case test("sparse", 4);
    const Objectives objectives(test.model.spec, test.config, kTaskWeights, nullptr);
    objectives.Of(stage, test.batch, test.lookup, 0.0, 1)(test.net, test.part, test.rows)
        .total.backward();
    for (const auto& [name, weight] : test.net.weights()) {
      const bool sparse = name.rfind("sparse.", 0) == 0;
      EXPECT_EQ(weight.grad().defined(), sparse == (stage == Stage::kSparse)) << name;
    }
  }
}

TEST(SparseHead, AggregatesTheVisibleHistory) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const Case test("sparse", seed);
    const ModelSpec& spec = test.model.spec;
    const torch::Tensor full =
        PoolTokens(spec.tokens, test.batch.full, test.lookup.full_index, test.rows);
    const torch::Tensor partial =
        PoolTokens(spec.tokens, test.batch.partial, test.lookup.partial_index, test.rows);
    std::vector<torch::Tensor> inputs;
    for (int64_t f = 0; f < full.size(0); ++f) {
      torch::Tensor row = full[f];
      for (const ChannelBatch& channel : test.batch.channels) {
        torch::Tensor all = torch::zeros_like(partial[0]), acted = torch::zeros_like(all);
        int all_count = 0, acted_count = 0;
        for (int32_t r = channel.full_begin[f]; r < channel.full_end[f]; ++r) {
          const torch::Tensor token = partial[channel.token[r]];
          all = all + token;
          ++all_count;
          if (channel.key_action[r] != 1 && channel.key_action[r] != 2) continue;
          acted = acted + token;
          ++acted_count;
        }
        row = torch::cat({row, all / std::max(1, all_count), acted / std::max(1, acted_count)});
      }
      inputs.push_back(row);
    }
    const NetWeights& w = test.net.w();
    const torch::Tensor expected =
        Mlp(w, "sparse.head", spec.head_hidden.size(),
            GateMlp(w, "sparse.tokenizer", torch::stack(inputs), Precision::kF32));
    const torch::Tensor actual = SparseLogits(test.net, test.part, test.rows);
    // The kernel's weights of a mean are f32, good to 6e-8.
    EXPECT_LE((actual - expected).abs().max().item<double>(), 1e-6) << "seed " << seed;
  }
}

TEST(Pairwise, EqualsPlainLoopsOverPages) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    Case test("pairwise", seed, 10);
    test.batch.value.clear();
    for (size_t r = 0; r < test.batch.full.rows; ++r) {
      test.batch.value.push_back(r % 5 == 0 ? std::nanf("") : static_cast<float>(r % 3) - 0.5f);
    }
    const torch::Tensor logits = torch::randn({test.batch.full.rows, 2}, torch::kFloat64);
    double expected = 0.0, weights = 0.0;
    for (size_t s = 0; s + 1 < test.batch.full_offsets.size(); ++s) {
      for (size_t i = test.batch.full_offsets[s]; i < test.batch.full_offsets[s + 1]; ++i) {
        for (size_t j = test.batch.full_offsets[s]; j < test.batch.full_offsets[s + 1]; ++j) {
          const auto label = [&](size_t r) { return test.batch.labels[r] & 1u; };
          if (test.batch.page_id[i] != test.batch.page_id[j] || label(i) == 0 || label(j) == 1) {
            continue;
          }
          const double value = test.batch.value[i] > 0 ? double{test.batch.value[i]} : 0.0;
          const double margin = (logits[i][0] - logits[j][0]).item<double>();
          expected += value * std::log1p(std::exp(-margin));
          weights += value;
        }
      }
    }
    const PagePairs pairs = FindPagePairs(test.batch);
    EXPECT_NEAR(pairs.weight_sum, weights, 1e-6) << "seed " << seed;
    EXPECT_NEAR(PairwiseLoss(logits, pairs).item<double>(), expected, 1e-6) << "seed " << seed;
    EXPECT_GT(weights, 0.0) << "seed " << seed;
  }
}

TEST(Pairwise, AClickedCandidateHasABoundedNumberOfPairs) {
  Batch batch;
  batch.full_offsets = {0, 1000};
  batch.full.rows = 1000;
  batch.page_id.assign(1000, 7);
  batch.labels_known.assign(1000, 1);
  batch.labels.assign(1000, 0);
  batch.labels[500] = 1;
  const PagePairs pairs = FindPagePairs(batch);
  EXPECT_EQ(pairs.clicked.size(), kPagePairsMax);
  EXPECT_EQ(std::set<int64_t>(pairs.passed.begin(), pairs.passed.end()).size(), kPagePairsMax);
  batch.page_id.assign(1000, 0);
  EXPECT_TRUE(FindPagePairs(batch).clicked.empty());
}

TEST(NextItem, EqualsPlainLoopsOverTokens) {
  const ItemPopularity popularity;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const Case test("next_item", seed, 20);
    const TokenSpec& tokens = test.model.spec.tokens;
    const auto slot = static_cast<size_t>(tokens.FindSlot("ad") - tokens.slots.data());
    const NextItemBatch items = PrepareNextItems(tokens, slot, test.batch, test.lookup, popularity);
    const std::vector<int64_t> negatives = SampleNegatives(test.part, items, 20, seed);
    ASSERT_EQ(negatives.size(), 20u);
    const NetOutputs outputs = test.net.Run(test.batch, test.lookup, test.rows, true);
    const auto unit = [&](const char* name, const torch::Tensor& x) {
      const LinearWeights linear = test.net.w().Linear(name);
      const torch::Tensor y = torch::matmul(linear.weight, x) + linear.bias;
      return y / y.norm();
    };
    const torch::Tensor& table = test.rows[static_cast<size_t>(tokens.slots[slot].table)];
    const SlotColumn& column = test.batch.partial.columns[items.column];
    double expected = 0.0;
    int64_t predictions = 0;
    for (size_t c = 0; c < test.batch.channels.size(); ++c) {
      const ChannelBatch& channel = test.batch.channels[c];
      for (size_t r = 0; r + 1 < channel.token.size(); ++r) {
        bool last = false;
        for (const uint32_t end : channel.segment_offsets) last = last || end == r + 1;
        const uint32_t next = channel.token[r + 1];
        if (last || column.offsets[next] == column.offsets[next + 1]) continue;
        const uint64_t key = column.keys[column.offsets[next]];
        if (test.model.tables[static_cast<size_t>(tokens.slots[slot].table)].Find(key) ==
            EmbeddingTable::kUnknownRow) {
          continue;
        }
        const int64_t item = test.lookup.partial_index[items.column][column.offsets[next]];
        const torch::Tensor state = unit("next.state", outputs.histories[c][int64_t(r)]);
        const auto logit = [&](int64_t row) {
          return (state * unit("next.item", table[row])).sum().item<double>() / 0.5 -
                 double{items.log_share[static_cast<size_t>(row)]};
        };
        double sum = std::exp(logit(item));
        for (const int64_t other : negatives) sum += other == item ? 0.0 : std::exp(logit(other));
        expected += std::log(sum) - logit(item);
        ++predictions;
      }
    }
    EXPECT_EQ(items.predictions, predictions);
    EXPECT_GT(predictions, 20);
    EXPECT_NEAR(
        NextItemLoss(test.net, outputs, test.part, test.rows, items, negatives, 0.5).item<double>(),
        expected, 1e-9 * (1.0 + expected))
        << "seed " << seed;
  }
}

}  // namespace
}  // namespace grab
