// A log replayed through a running server gives the scores of offline evaluation: the consistency
// that training and serving owe each other, through messages, store, cache and engine. f32 agrees
// to 1e-5 in probability on these models: the orders of sums differ, nothing else.
#include <gtest/gtest.h>

#include "client/replay_log.h"
#include "eval/joined_scores.h"
#include "eval/score_split.h"
#include "support/running_server.h"
#include "support/shard_folder.h"

namespace grab {
namespace {

using testing::RunningServer;

constexpr double kSame = 1e-5;

struct Case {
  int workers;
  int connections;
  size_t cache_bytes;
};

class ServerReplayTest : public ::testing::TestWithParam<Case> {};

TEST_P(ServerReplayTest, GivesTheScoresOfOfflineEvaluation) {
  RunningServer running;
  running.options().ranker.workers = GetParam().workers;
  running.options().ranker.cache_bytes = GetParam().cache_bytes;
  ASSERT_TRUE(running.Start().ok());
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
  const Schema& schema = model.spec.tokens.schema;
  std::vector<UserBlock> blocks;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    blocks.push_back(testing::MakeBlock(schema, seed, 6, 60));
  }
  const auto shards = testing::WriteShards(schema, blocks, running.dir().path());
  Forward forward(model, 1);
  const auto offline = ScoreSplit(
      *shards, model.spec, EvalConfig(), {Split::kTrain, false},
      [&](const Batch& batch) { return forward.Logits(batch); }, NoProgress());
  ASSERT_TRUE(offline.ok()) << offline.status();
  ASSERT_GT(offline->rows(), 200u);
  ReplayOptions options;
  options.split = Split::kTrain;
  options.connections = GetParam().connections;
  options.observe_events_max = 7;
  const std::unique_ptr<Connection> connection = running.Connect();
  for (int round = 0; round < 2; ++round) {
    const auto result =
        ReplayLog(*connection, *shards, model.spec, EvalConfig(), options, NoProgress());
    ASSERT_TRUE(result.ok()) << result.status();
    for (const std::string& task : model.spec.tasks) {
      const auto diff = CompareScores(result->scores, *offline, task);
      ASSERT_TRUE(diff.ok()) << diff.status();
      EXPECT_LE(diff->p_diff_max, kSame) << "event " << diff->event_id_of_max;
    }
    const ReplayCounts& counts = result->counts;
    EXPECT_EQ(counts.ranked, offline->rows());
    EXPECT_EQ(counts.degraded, 0u);
    // What is sent again is known, and the past is ranked as it was.
    EXPECT_EQ(round == 0 ? counts.stored : counts.duplicates, counts.observed);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ServerReplayTest,
                         ::testing::Values(Case{1, 1, 64 << 20}, Case{3, 4, 64 << 20},
                                           Case{2, 3, 1 << 20}));

}  // namespace
}  // namespace grab
