// Releases that are right take over under load without a lost request; those that are not are
// refused with the reason, and what served goes on.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "checkpoint/checkpoint.h"
#include "eval/score_split.h"
#include "support/running_server.h"
#include "support/shard_folder.h"

namespace grab {
namespace {

using testing::RunningServer;

v1::RankRequest AnyRank(int user) {
  v1::RankRequest request;
  request.set_user_id(absl::StrCat("u", user));
  (*request.add_candidates()->mutable_fields())["ad"].set_integer(3);
  return request;
}

StatusOr<v1::RankResponse> Rank(const Connection& connection, const v1::RankRequest& request) {
  return connection.Rank(request, 20.0);
}

TEST(ServerModelsTest, SwapsUnderLoadWithoutALostRequest) {
  RunningServer running;
  running.options().ranker.workers = 2;
  ASSERT_TRUE(running.Start().ok());
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> ok{0}, failed{0}, newest{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 3; ++c) {
    clients.emplace_back([&, c] {
      const std::unique_ptr<Connection> connection = running.Connect();
      uint64_t step = 0;
      for (int i = 0; !stop; ++i) {
        const auto response = Rank(*connection, AnyRank(c * 100 + i % 20));
        ++(response.ok() ? ok : failed);
        if (!response.ok()) continue;
        // One client's users are on all workers, which change over one after the other.
        EXPECT_GE(response->model_step() + 1, step);
        step = std::max(step, response->model_step());
        newest = std::max<uint64_t>(newest, step);
      }
    });
  }
  constexpr uint64_t kSwaps = 20;
  for (uint64_t step = 2; step <= kSwaps; ++step) {
    running.Release(step, step);
    running.server().PollModels();
  }
  EXPECT_TRUE(Rank(*running.Connect(), AnyRank(1)).ok());
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0u);
  EXPECT_GT(ok, 100u);
  EXPECT_GE(newest, kSwaps - 1);
}

TEST(ServerModelsTest, RefusesDamagedReleasesAndServesOn) {
  RunningServer running;
  ASSERT_TRUE(running.Start().ok());
  const std::unique_ptr<Connection> connection = running.Connect();
  const auto step_after = [&](uint64_t step, const std::function<void(const std::string&)>& harm) {
    running.Release(step, step);
    harm(CheckpointPath(running.models_dir(), step));
    running.server().PollModels();
    return Rank(*connection, AnyRank(1))->model_step();
  };
  const auto cut = [](const char* file) {
    return [file](const std::string& dir) {
      const std::string path = JoinPath(dir, file);
      std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
    };
  };
  EXPECT_EQ(step_after(2, cut(kWeightsFile)), 1u);
  EXPECT_EQ(step_after(3, cut(kTablesFile)), 1u);
  EXPECT_EQ(step_after(4, cut(kSpecFile)), 1u);
  EXPECT_EQ(step_after(5, cut("manifest.json")), 1u);
  EXPECT_EQ(
      step_after(
          6, [](const std::string& dir) { std::filesystem::remove(JoinPath(dir, kWeightsFile)); }),
      1u);
  const HttpReply status = running.Post(running.server().admin_http_port(), "/v1/status", "{}");
  EXPECT_NE(status.body.find("step 6: "), std::string::npos) << status.body;
  EXPECT_EQ(step_after(7, [](const std::string&) {}), 7u);
  // Half a copy is looked at again when the rest has come, and not before.
  const std::string weights = JoinPath(CheckpointPath(running.models_dir(), 8), kWeightsFile);
  std::string whole;
  EXPECT_EQ(step_after(8,
                       [&](const std::string& dir) {
                         whole = *ReadFile(weights, 1 << 24);
                         cut(kWeightsFile)(dir);
                       }),
            7u);
  running.server().PollModels();
  ASSERT_TRUE(WriteFileDurably(weights, whole).ok());
  running.server().PollModels();
  EXPECT_EQ(Rank(*connection, AnyRank(1))->model_step(), 8u);
  size_t refused = 0;
  for (const std::string& line : running.log()) {
    refused += line.find("model_refused") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(refused, 6u);
}

// Another schema, or a model that is only trained for comparison.
TEST(ServerModelsTest, RefusesModelsThatCannotServeHere) {
  RunningServer running;
  ASSERT_TRUE(running.Start().ok());
  Config config = testing::MakeConfig();
  config.fields.pop_back();
  config.fields.pop_back();
  const Model other = testing::MakeModel(config, ModelKind::kGrab, 1);
  ASSERT_TRUE(ExportModel(ViewOf(other), 2, Precision::kF32, running.models_dir()).ok());
  running.server().PollModels();
  EXPECT_EQ(Rank(*running.Connect(), AnyRank(1))->model_step(), 1u);
}

TEST(ServerModelsTest, TheCanarySpeaks) {
  RunningServer running;
  const Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
  UserBlock block = testing::MakeBlock(model.spec.tokens.schema, 3, 4, 40);
  for (Split& split : block.events.split) {
    if (split == Split::kTrain) split = Split::kTest;
  }
  const std::string canary = running.dir().File("canary");
  ASSERT_TRUE(MakeDirectories(canary).ok());
  const auto shards = testing::WriteShards(model.spec.tokens.schema, {block}, canary);
  running.options().canary_dir = canary;
  ASSERT_TRUE(running.Start().ok());
  const std::unique_ptr<Connection> connection = running.Connect();
  // Without recorded scores a model is held to its own whole-timeline forward.
  running.Release(2, 2);
  running.server().PollModels();
  EXPECT_EQ(Rank(*connection, AnyRank(1))->model_step(), 2u);
  // Recorded scores of step 3 that another model made.
  Forward forward(model, 1);
  const auto scores = ScoreSplit(
      *shards, model.spec, EvalConfig(), {Split::kTest, false},
      [&](const Batch& batch) { return forward.Logits(batch); }, NoProgress());
  ASSERT_TRUE(WriteScores(CheckpointPath(canary, 3) + ".csv", *scores).ok());
  running.Release(3, 3);
  running.server().PollModels();
  EXPECT_EQ(Rank(*connection, AnyRank(1))->model_step(), 2u);
  const HttpReply status = running.Post(running.server().admin_http_port(), "/v1/status", "{}");
  EXPECT_NE(status.body.find("canary"), std::string::npos) << status.body;
  // And of the model that it is.
  ASSERT_TRUE(WriteScores(CheckpointPath(canary, 4) + ".csv", *scores).ok());
  running.Release(1, 4);
  running.server().PollModels();
  EXPECT_EQ(Rank(*connection, AnyRank(1))->model_step(), 4u);
}

// The tables of a model in training, whose releases can be deltas.
std::vector<EmbeddingTable> TrainedTables(const ModelSpec& spec) {
  std::vector<EmbeddingTable> tables;
  for (const TableSpec& table : spec.tokens.tables) {
    TableOptions options;
    options.dim = table.dim;
    options.optimiser = SparseOptimiser::kAdagrad;
    options.init_std = 1.0;
    options.seed = tables.size();
    options.ttl_s = 100;
    tables.emplace_back(options);
    for (uint64_t key = 1; key <= 200; ++key) tables.back().FindOrInsert(key);
  }
  return tables;
}

// Odd keys go, key 4 moves.
void TrainOn(std::vector<EmbeddingTable>& tables) {
  const auto sweep = [](EmbeddingTable& table, uint32_t now_s) {
    for (uint32_t p = 0; p < EmbeddingTable::kPartitions; ++p) table.EvictOutlived(p, now_s);
  };
  std::vector<uint64_t> seen;
  for (uint64_t key = 2; key <= 200; key += 2) seen.push_back(key);
  const std::vector<uint32_t> once(seen.size(), 1);
  std::vector<uint32_t> rows(seen.size());
  for (EmbeddingTable& table : tables) {
    table.EndPeriod();
    sweep(table, 1);
    table.SeeRows(seen, once.data(), 1000, rows.data());
    sweep(table, 1000);
    ASSERT_EQ(table.rows(), 1 + seen.size());
    table.Update(table.Find(4), std::vector<float>(table.dim(), 1.0f).data(), 0.5f);
  }
}

TEST(ServerModelsTest, ADeltaServesAsTheWholeModelWould) {
  RunningServer running;
  Model model = testing::MakeModel(testing::MakeConfig(), ModelKind::kGrab, 1);
  model.tables = TrainedTables(model.spec);
  ASSERT_TRUE(ExportModel(ViewOf(model), 2, Precision::kF32, running.models_dir()).ok());
  ASSERT_TRUE(running.Start().ok());
  const std::unique_ptr<Connection> connection = running.Connect();
  v1::RankRequest request;
  request.set_user_id("u");
  for (const uint64_t key : {4, 5, 8}) {
    (*request.add_candidates()->mutable_fields())["ad"].set_key(key);
  }
  const auto scores_of = [&](uint64_t step) {
    running.server().PollModels();
    const auto response = Rank(*connection, request);
    EXPECT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->model_step(), step);
    std::vector<float> scores;
    for (const v1::CandidateScore& score : response->scores()) {
      scores.push_back(score.probability(0));
    }
    return scores;
  };
  const std::vector<float> before = scores_of(2);
  TrainOn(model.tables);
  ASSERT_TRUE(ExportDelta(ViewOf(model), 3, 2, running.models_dir()).ok());
  const std::vector<float> delta = scores_of(3);
  ASSERT_TRUE(ExportModel(ViewOf(model), 4, Precision::kF32, running.models_dir()).ok());
  EXPECT_EQ(delta, scores_of(4));
  EXPECT_NE(delta[0], before[0]) << "moved";
  EXPECT_NE(delta[1], before[1]) << "gone";
  EXPECT_EQ(delta[2], before[2]) << "as it was";
}

}  // namespace
}  // namespace grab
