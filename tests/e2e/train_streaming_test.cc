// Streaming evaluation after a run without validation targets, so that the state it starts from is
// the one that scored the test: every target is scored once; those of the first slice as without
// streaming, to rounding, for batches are packed otherwise; later ones by a model that has learned.
// What it trains is in no checkpoint. End to end and with stages.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "data/prepare.h"
#include "data/simulator.h"
#include "eval/scores.h"
#include "support/base_temp_dir.h"
#include "train/trainer.h"

namespace grab {
namespace {

constexpr int64_t kSliceMs = 21'600'000;

std::map<uint64_t, size_t> RowsByEvent(const ScoreTable& table) {
  std::map<uint64_t, size_t> rows;
  for (size_t row = 0; row < table.rows(); ++row) rows[table.event_id[row]] = row;
  EXPECT_EQ(rows.size(), table.rows());
  return rows;
}

class StreamingTest : public ::testing::TestWithParam<const char*> {};

TEST_P(StreamingTest, ScoresEachSliceBeforeItIsTrained) {
  const TempDir dir;
  const StatusOr<Config> config = LoadConfig(
      GRAB_SOURCE_DIR "/configs/simulator.toml",
      {"simulate.users=60", "data_dir=" + dir.File("raw"),
       "split.valid_from=2024-01-13T00:00:00+00:00", "split.test_from=2024-01-13T00:00:00+00:00",
       "grab.train.passes=1", "grab.train.threads=2", "grab.train.batch_tokens=1500",
       std::string("grab.train.mode=") + GetParam(), "grab.train.streaming.slice_s=21600",
       "grab.train.streaming.dense_rate=1.0"});
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_TRUE(Simulate(config->simulate, dir.File("raw"), NoProgress()).ok());
  ASSERT_TRUE(Prepare(*config, dir.File("shards"), NoProgress()).ok());
  TrainOptions options;
  options.session.kind = ModelKind::kGrab;
  options.shards_dir = dir.File("shards");
  options.session.out_dir = dir.File("run");
  const Status trained = Train(*config, options, NoProgress());
  ASSERT_TRUE(trained.ok()) << trained;

  const StatusOr<ScoreTable> still = ReadScores(dir.File("run/test_scores.csv"));
  const StatusOr<ScoreTable> streaming = ReadScores(dir.File("run/test_streaming_scores.csv"));
  ASSERT_TRUE(still.ok() && streaming.ok()) << still.status() << streaming.status();
  const std::map<uint64_t, size_t> rows = RowsByEvent(*still);
  ASSERT_EQ(rows.size(), RowsByEvent(*streaming).size());
  int64_t first_ms = streaming->request_time_ms[0];
  for (const int64_t time_ms : streaming->request_time_ms) first_ms = std::min(first_ms, time_ms);
  int first_slice = 0;
  double later_max = 0.0;
  const size_t tasks = still->tasks.size();
  for (size_t row = 0; row < streaming->rows(); ++row) {
    const size_t before = rows.at(streaming->event_id[row]);
    ASSERT_EQ(streaming->history_len[row], still->history_len[before]);
    const double difference = std::abs(streaming->p[row * tasks] - still->p[before * tasks]);
    if (streaming->request_time_ms[row] < first_ms + kSliceMs) {
      ++first_slice;
      EXPECT_LT(difference, 1e-6);
    } else {
      later_max = std::max(later_max, difference);
    }
  }
  EXPECT_GT(first_slice, 10);
  EXPECT_GT(later_max, 1e-3);

  const StatusOr<std::string> metrics = ReadFile(dir.File("run/metrics.json"), 1 << 20);
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  const nlohmann::json json = nlohmann::json::parse(*metrics);
  EXPECT_EQ(json["test_streaming"]["rows"], json["test"]["rows"]);
  EXPECT_FALSE(json.contains("valid_streaming"));
  const StatusOr<LatestCheckpointResult> latest = LatestCheckpoint(dir.File("run/checkpoints"));
  ASSERT_TRUE(latest.ok() && latest->checkpoint.has_value());
  EXPECT_EQ(static_cast<int64_t>(latest->checkpoint->step), json["steps"].get<int64_t>());
}

INSTANTIATE_TEST_SUITE_P(Modes, StreamingTest, ::testing::Values("end_to_end", "sts"),
                         [](const auto& mode) { return std::string(mode.param); });

TEST(Streaming, IsRefusedWhereTheMainTaskHasADelay) {
  const StatusOr<Config> config =
      LoadConfig(GRAB_SOURCE_DIR "/configs/kuairand.toml",
                 {"task.click.delay_s=60", "grab.train.streaming.slice_s=3600"});
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.status().message().find("grab.train.streaming.slice_s"), std::string::npos)
      << config.status();
}

}  // namespace
}  // namespace grab
