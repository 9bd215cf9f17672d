// Scores of a split through the engine, and what decides whether a low precision may be served.
#include <gtest/gtest.h>

#include <cmath>

#include "eval/score_split.h"
#include "model/forward.h"
#include "serve/precision_check.h"
#include "support/base_temp_dir.h"
#include "support/random_model.h"
#include "support/shard_folder.h"

namespace grab {
namespace {

// A few blocks of random users.
std::unique_ptr<ShardSet> MakeShards(const Schema& schema, const std::string& dir) {
  std::vector<UserBlock> blocks;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    blocks.push_back(testing::MakeBlock(schema, seed, 4, 120));
  }
  return testing::WriteShards(schema, blocks, dir);
}

// Probabilities within 2e-5: logits within the 1e-4 of property/serve_engine_test, a quarter of
// which reaches the probability.
TEST(ScoreThroughEngine, EqualsTheBatchForward) {
  for (const ModelKind kind : {ModelKind::kGrab, ModelKind::kDlrm}) {
    const Model model = testing::MakeModel(testing::MakeConfig(), kind, 1);
    TempDir dir;
    const auto shards = MakeShards(model.spec.tokens.schema, dir.path());
    EvalConfig config;
    config.slices = {"ad"};
    Forward forward(model, 1);
    const auto expected = ScoreSplit(
        *shards, model.spec, config, {Split::kTrain, false},
        [&](const Batch& batch) { return forward.Logits(batch); }, NoProgress());
    ASSERT_TRUE(expected.ok()) << expected.status();
    const auto scores =
        ScoreThroughEngine(model, Precision::kF32, *shards, config, Split::kTrain, NoProgress());
    ASSERT_TRUE(scores.ok()) << scores.status();
    ASSERT_GT(scores->rows(), 300u);
    EXPECT_EQ(scores->event_id, expected->event_id);
    EXPECT_EQ(scores->user_key, expected->user_key);
    EXPECT_EQ(scores->history_len, expected->history_len);
    EXPECT_EQ(scores->labels, expected->labels);
    EXPECT_EQ(scores->slice_values, expected->slice_values);
    for (size_t i = 0; i < scores->p.size(); ++i) {
      ASSERT_NEAR(scores->p[i], expected->p[i], 2.5e-5) << i;
    }
  }
}

// Scores of one task, of which `clicks` of n are positive, by rank.
ScoreTable Table(const std::vector<float>& p, const std::vector<uint32_t>& labels) {
  ScoreTable table;
  table.tasks = {"click"};
  table.p = p;
  table.labels = labels;
  for (size_t i = 0; i < p.size(); ++i) {
    table.event_id.push_back(i);
    table.labels_known.push_back(1);
  }
  return table;
}

TEST(ComparePrecision, HoldsToTheLimits) {
  // 101 rows per class; moving one positive past one negative costs 1 / 101^2 = 0.98e-4 of AUC.
  std::vector<float> p;
  std::vector<uint32_t> labels;
  for (int i = 0; i < 202; ++i) {
    p.push_back(0.2f + 0.002f * static_cast<float>(i));
    labels.push_back(i % 2 == 0 ? 0 : 1);
  }
  const ScoreTable f32 = Table(p, labels);
  const auto within = [&](const std::vector<float>& low, Precision precision) {
    return ComparePrecision(precision, f32, Table(low, labels))->front().within;
  };
  std::vector<float> low = p;
  for (const Precision precision : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    EXPECT_TRUE(within(p, precision));
  }
  std::swap(low[10], low[11]);  // one pair
  EXPECT_FALSE(within(low, Precision::kF32));
  EXPECT_TRUE(within(low, Precision::kBf16));
  std::swap(low[20], low[21]);  // two
  EXPECT_FALSE(within(low, Precision::kBf16));
  EXPECT_TRUE(within(low, Precision::kInt8));
  for (const int i : {30, 40})
    std::swap(low[static_cast<size_t>(i)], low[static_cast<size_t>(i) + 1]);
  EXPECT_FALSE(within(low, Precision::kInt8));  // four
  low = p;
  for (float& value : low) value *= 1.007f;  // PCOC 0.7 % up, ranks as they were
  EXPECT_FALSE(within(low, Precision::kBf16));
  EXPECT_TRUE(within(low, Precision::kInt8));
  for (float& value : low) value *= 1.007f;
  EXPECT_FALSE(within(low, Precision::kInt8));
}

TEST(ComparePrecision, OneClassMeasuresNothing) {
  const ScoreTable table = Table({0.1f, 0.2f}, {1, 1});
  EXPECT_EQ(ComparePrecision(Precision::kBf16, table, table).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ComparePrecision, SaysWhichTaskIsNotMeasured) {
  ScoreTable table = Table({0.1f, 0.2f}, {0, 1});
  table.tasks.push_back("unlabelled");
  table.p = {0.1f, 0.5f, 0.2f, 0.5f};
  const auto costs = ComparePrecision(Precision::kBf16, table, table);
  ASSERT_TRUE(costs.ok()) << costs.status();
  EXPECT_TRUE((*costs)[0].measured);
  EXPECT_FALSE((*costs)[1].measured);
  EXPECT_EQ((*costs)[1].ToString(),
            "unlabelled: not measured, the split has no labels of both classes");
}

}  // namespace
}  // namespace grab
