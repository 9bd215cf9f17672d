// The main job with the real binaries on a small world: all of its files, a parity of serving and
// training scores within 1e-5, in batches and replayed through the serving engine, the same table
// from the same seed, and a trainer that finds something: with the true probabilities at hand, GRAB
// must be above chance by more than five standard errors of an AUC on these rows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/cli_process.h"

namespace grab {
namespace {

CommandResult RunJob(const std::string& out) {
  return RunCommand({GRAB_BINARY, "run", "--config", GRAB_SOURCE_DIR "/configs/simulator.toml",
                     "--out", out, "--set", "simulate.users=400", "--set",
                     "grab.train.batch_tokens=1024", "--set", "grab.train.threads=1", "--set",
                     "dlrm.train.threads=1", "--set", "grab.train.passes=3", "--set",
                     "dlrm.train.batch_tokens=256"});
}

nlohmann::json ReadJson(const std::string& path) {
  const StatusOr<std::string> text = ReadFile(path, 1 << 24);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json();
}

TEST(MainJob, FromSimulatedLogToScoresWithoutLibtorch) {
  const TempDir dir;
  const CommandResult first = RunJob(dir.File("a"));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const nlohmann::json results = ReadJson(dir.File("a/results.json"));
  ASSERT_EQ(results["models"].size(), 2u) << results;
  for (const nlohmann::json& model : results["models"]) {
    for (const char* key : {"auc", "gauc", "logloss", "ne", "pcoc", "train_rows", "test_rows",
                            "tokens_per_second", "wall_seconds"}) {
      EXPECT_TRUE(model[key].is_number()) << model << " lacks " << key;
    }
  }
  EXPECT_EQ(results["models"][0]["model"], "dlrm");
  EXPECT_EQ(results["models"][1]["model"], "grab");
  EXPECT_EQ(results["models"][0]["test_rows"], results["models"][1]["test_rows"]);
  EXPECT_LE(results["score_parity_max_abs_diff"].get<double>(), 1e-5);
  const double rows = results["models"][1]["test_rows"].get<double>();
  const double auc = results["models"][1]["auc"].get<double>();
  // With m positives the standard error of a chance AUC is about sqrt(1 / (12 m)); a sixth of the
  // rows are clicks.
  EXPECT_GT(auc, 0.5 + 5 * std::sqrt(1.0 / (12.0 * rows / 6.0))) << results;
  EXPECT_GT(results["true_auc"].get<double>(), auc);

  // The serving engine, timelines replayed event by event, scores the same.
  const CommandResult engine =
      RunCommand({GRAB_BINARY, "score", "--engine", "--model", dir.File("a/model"), "--shards",
                  dir.File("a/shards"), "--out", dir.File("a/engine_scores.csv"), "--compare",
                  dir.File("a/scores.csv")});
  ASSERT_EQ(engine.exit_code, 0) << engine.err;
  const nlohmann::json parity = ReadJson(dir.File("a/score_parity.json"));
  EXPECT_LE(parity["score_parity_max_abs_diff"].get<double>(), 1e-5);
  EXPECT_EQ(parity["rows"].get<double>(), rows);

  // A low precision is not written unmeasured.
  const CommandResult unmeasured =
      RunCommand({GRAB_BINARY, "export", "--run", dir.File("a/grab-seed1"), "--out",
                  dir.File("a/bf16"), "--precision", "bf16"});
  EXPECT_NE(unmeasured.exit_code, 0);
  EXPECT_THAT(unmeasured.err, ::testing::HasSubstr("--shards"));

  const CommandResult second = RunJob(dir.File("b"));
  ASSERT_EQ(second.exit_code, 0) << second.err;
  const nlohmann::json again = ReadJson(dir.File("b/results.json"));
  for (size_t m = 0; m < 2; ++m) {
    for (const char* key : {"auc", "gauc", "logloss", "ne", "pcoc"}) {
      EXPECT_EQ(again["models"][m][key], results["models"][m][key]) << key;
    }
  }
}

}  // namespace
}  // namespace grab
