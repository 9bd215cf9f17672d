// Whole runs of the trees: a task that only running counts solve, what a run folder holds, the same
// scores for the same seed, and data that is refused.
#include "trees/trees_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/results.h"
#include "config/config.h"
#include "eval/scores.h"
#include "support/base_temp_dir.h"
#include "support/random_world.h"
#include "support/shard_folder.h"

namespace grab {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kBytesMax = 16 << 20;
constexpr int kItemsPerDay = 20;
constexpr int kEventsPerDay = 1000;
constexpr int kUsers = 50;

Config DriftConfig() {
  Config config;
  config.name = "drift";
  config.fields = {testing::MakeField("item", "id", "item"),
                   testing::MakeField("noise", "number", "context")};
  config.fields[1].boundaries = {0.5};
  config.actions = {{"click", ""}};
  config.tasks = {{"click", "", 1.0}};
  config.trees.smoothing = 2.0;
  config.trees.rounds_max = 60;
  config.trees.early_stop_rounds = 10;
  config.trees.learning_rate = 0.2;
  return config;
}

// Every day has items of its own, each with a rate of its own, high or low: only its clicks of the
// day so far tell which. Ten days of training, two of validation, two of test.
UserBlock DriftingItems(const Schema& schema) {
  Rng rng(5);
  std::vector<EventColumns> users(kUsers, MakeColumns(schema));
  int64_t time_ms = 1700000000000;
  uint64_t event_id = 0;
  for (uint64_t day = 0; day < 14; ++day) {
    const Split split = day < 10 ? Split::kTrain : day < 12 ? Split::kValid : Split::kTest;
    std::vector<double> rates;
    for (int i = 0; i < kItemsPerDay; ++i) rates.push_back(rng.Bernoulli(0.5) ? 0.95 : 0.05);
    for (int i = 0; i < kEventsPerDay; ++i) {
      const uint64_t item = rng.Below(kItemsPerDay);
      const uint32_t clicked = rng.Bernoulli(rates[item]) ? 1 : 0;
      EventColumns& events = users[rng.Below(kUsers)];
      events.event_id.push_back(++event_id);
      events.request_time_ms.push_back(time_ms += 1000);
      events.known_time_ms.push_back(time_ms);
      events.page_id.push_back(0);
      events.session_id.push_back(0);
      events.split.push_back(split);
      events.history.push_back(1);
      for (auto* bits : {&events.actions, &events.labels}) bits->push_back(clicked);
      for (auto* bits : {&events.actions_known, &events.labels_known}) bits->push_back(1);
      events.fields[0].ids.push_back(1 + day * kItemsPerDay + item);
      events.fields[1].numbers.push_back(static_cast<float>(rng.Uniform()));
    }
  }
  UserBlock block;
  block.events = MakeColumns(schema);
  block.user_offsets = {0};
  for (int user = 0; user < kUsers; ++user) {
    const EventColumns& events = users[static_cast<size_t>(user)];
    for (size_t i = 0; i < events.size(); ++i) AppendEvent(schema, events, i, block.events);
    block.user_id.push_back(absl::StrCat(user));
    block.user_offsets.push_back(static_cast<uint32_t>(block.events.size()));
  }
  return block;
}

class TreesRunTest : public ::testing::Test {
 protected:
  void Write(const UserBlock& block) {
    testing::WriteShards(*Schema::FromConfig(config_), {block}, dir_.path());
  }
  Status Train(const std::string& out) {
    return TrainTrees(config_, {dir_.path(), dir_.File(out)}, NoProgress());
  }
  std::string Read(const std::string& name) { return *ReadFile(dir_.File(name), kBytesMax); }

  TempDir dir_;
  Config config_ = DriftConfig();
};

// Of the ways to guess, the first exposures of an item are the only blind ones: the best AUC is
// near .94. Frozen before the test days, counts know none of their items.
TEST_F(TreesRunTest, RunningCountsSolveDriftAndFrozenOnesDoNot) {
  const UserBlock block = DriftingItems(*Schema::FromConfig(config_));
  Write(block);
  ASSERT_EQ(Train("run"), absl::OkStatus());
  const StatusOr<RunMetrics> run = ReadRunMetrics(dir_.File("run/metrics.json"));
  ASSERT_TRUE(run.ok()) << run.status();
  std::printf("AUC %.4f, frozen %.4f\n", run->auc.value(), run->auc_frozen.value());
  EXPECT_GT(*run->auc, 0.9);
  EXPECT_NEAR(*run->auc_frozen, 0.5, 0.04);  // 2,000 rows: a standard error of .013
  EXPECT_EQ(run->model, "trees");
  EXPECT_EQ(run->train_rows, 10000u);
  EXPECT_EQ(run->test_rows, 2000u);
  EXPECT_GT(run->dense_weights, 0u);
  EXPECT_EQ(Read("run/config.toml"), DumpConfig(config_));
  const StatusOr<ScoreTable> scores = ReadScores(dir_.File("run/test_scores.csv"));
  ASSERT_TRUE(scores.ok()) << scores.status();
  std::vector<uint64_t> expected;
  for (size_t i = 0; i < block.events.size(); ++i) {
    if (block.events.split[i] == Split::kTest) expected.push_back(block.events.event_id[i]);
  }
  EXPECT_EQ(scores->event_id, expected) << "in shard order";
}

// The same trees with and without an auxiliary task, and without the targets that have its label
// alone: here every other one of the training days.
TEST_F(TreesRunTest, AuxiliaryTasksAreLeftOut) {
  UserBlock block = DriftingItems(*Schema::FromConfig(config_));
  for (size_t i = 0; i < block.events.size(); i += 2) {
    if (block.events.split[i] != Split::kTrain) continue;
    block.events.split[i] = Split::kContext;
    block.events.labels[i] = block.events.labels_known[i] = 0;
  }
  Write(block);
  ASSERT_EQ(Train("alone"), absl::OkStatus());

  config_.tasks.push_back({"long_view", "", 1.0});
  config_.tasks.back().auxiliary = true;
  for (size_t i = 0; i < block.events.size(); ++i) {
    if (block.events.split[i] != Split::kContext) continue;
    block.events.split[i] = Split::kTrain;
    block.events.labels[i] = block.events.labels_known[i] = 2;
  }
  const TempDir with;
  testing::WriteShards(*Schema::FromConfig(config_), {block}, with.path());
  ASSERT_EQ(TrainTrees(config_, {with.path(), dir_.File("with")}, NoProgress()), absl::OkStatus());
  EXPECT_EQ(Read("with/click.ubj"), Read("alone/click.ubj"));
  EXPECT_EQ(Read("with/test_scores.csv"), Read("alone/test_scores.csv"));
  EXPECT_FALSE(Exists(dir_.File("with/long_view.ubj")));
}

TEST_F(TreesRunTest, ASeedGivesTheSameScoresWithAnyThreads) {
  Write(DriftingItems(*Schema::FromConfig(config_)));
  config_.trees.threads = 1;
  ASSERT_EQ(Train("one"), absl::OkStatus());
  config_.trees.threads = 3;
  ASSERT_EQ(Train("three"), absl::OkStatus());
  config_.trees.seed = 2;
  ASSERT_EQ(Train("other"), absl::OkStatus());
  EXPECT_EQ(Read("one/test_scores.csv"), Read("three/test_scores.csv"));
  EXPECT_EQ(Read("one/click.ubj"), Read("three/click.ubj"));
  EXPECT_NE(Read("one/test_scores.csv"), Read("other/test_scores.csv"));
}

TEST_F(TreesRunTest, EveryTaskHasItsTrees) {
  config_ = testing::MakeConfig();
  config_.trees.rounds_max = 5;
  UserBlock block = testing::MakeBlock(*Schema::FromConfig(config_), 1, 40, 60);
  for (size_t i = 0; i < block.events.size(); ++i) {
    if (i % 3 == 0) block.events.split[i] = i % 2 == 0 ? Split::kValid : Split::kTest;
  }
  Write(block);
  ASSERT_EQ(Train("run"), absl::OkStatus());
  const nlohmann::json metrics = nlohmann::json::parse(Read("run/metrics.json"));
  EXPECT_EQ(metrics["tasks"]["test"].size(), 2u);
  EXPECT_EQ(metrics["tasks"]["valid"][1]["task"], "buy");
  EXPECT_TRUE(Exists(dir_.File("run/click.ubj")) && Exists(dir_.File("run/buy.ubj")));
  const StatusOr<ScoreTable> scores = ReadScores(dir_.File("run/test_scores.csv"));
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_EQ(scores->tasks, std::vector<std::string>({"click", "buy"}));

  for (size_t i = 0; i < block.events.size(); ++i) {
    block.events.labels[i] &= 1;
    block.events.labels_known[i] &= 1;
  }
  Write(block);
  EXPECT_THAT(std::string(Train("unlabelled").message()),
              HasSubstr("no training target has a label of task 'buy'"));
}

TEST_F(TreesRunTest, RefusesWhatItCannotTrain) {
  UserBlock block = DriftingItems(*Schema::FromConfig(config_));
  Write(block);
  config_.trees.memory_limit_mb = 1;
  Status status = Train("small");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("trees.memory_limit_mb allows 1"));
  config_.trees.memory_limit_mb = 64;
  config_.trees.rounds_max = 1;
  ASSERT_EQ(Train("run"), absl::OkStatus());
  EXPECT_EQ(Train("run").code(), absl::StatusCode::kAlreadyExists);

  std::fill(block.events.labels.begin(), block.events.labels.end(), 0);
  std::fill(block.events.labels_known.begin(), block.events.labels_known.end(), 0);
  Write(block);
  status = Train("unlabelled");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("no training targets with labels"));
  std::fill(block.events.split.begin(), block.events.split.end(), Split::kContext);
  Write(block);
  status = Train("untargeted");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("no training targets"));
}

}  // namespace
}  // namespace grab
