// `grab scale` and `grab compare --search` through the real trainers, on a small simulated log:
// what they set is accepted, and trains. That the numbers mean something is not shown here: 60
// users are too few.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/cli_process.h"

namespace grab {
namespace {

using nlohmann::json;

class VariantsTest : public ::testing::Test {
 protected:
  CommandResult Run(const std::string& command, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        GRAB_BINARY, command,          "--config", GRAB_SOURCE_DIR "/configs/simulator.toml",
        "--out",     dir_.File("out"), "--set",    "simulate.users=60"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCommand(arguments);
  }
  json Read(const std::string& name) {
    return json::parse(ReadFile(dir_.File("out/" + name), 1 << 20).value());
  }

  TempDir dir_;
};

// Without history GRAB is another model: its scores differ from those with it.
TEST_F(VariantsTest, HistoryFromNoneOn) {
  const std::vector<std::string> arguments = {"--along",       "history",  "--models",
                                              "grab,din,twin", "--values", "0,40"};
  const CommandResult done = Run("scale", arguments);
  ASSERT_EQ(done.exit_code, 0) << done.err;
  const json scale = Read("scale.json");
  ASSERT_EQ(scale["series"].size(), 3u);
  for (const json& series : scale["series"]) {
    ASSERT_EQ(series["points"].size(), 2u);
    for (const json& point : series["points"]) {
      EXPECT_GT(point["auc_mean"].get<double>(), 0.3);
      EXPECT_LT(point["auc_mean"].get<double>(), 0.9);
    }
    EXPECT_NE(series["points"][0]["auc_mean"], series["points"][1]["auc_mean"]);
  }
  // The runs wrote the config that the job holds them to.
  std::vector<std::string> again = arguments;
  again.push_back("--resume");
  const CommandResult resumed = Run("scale", again);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(Read("scale.json"), scale);
  const CommandResult report = RunCommand(
      {GRAB_BINARY, "report", "--compare", dir_.File("out"), "--out", dir_.File("report.html")});
  EXPECT_EQ(report.exit_code, 0) << report.err;
}

// Half of the training time is less than all of it.
TEST_F(VariantsTest, DataByShare) {
  const CommandResult done =
      Run("scale", {"--along", "data", "--models", "dlrm", "--values", "0.5,1"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  const json models = Read("comparison.json")["models"];
  const auto half = models[0]["train_rows"].get<double>();
  const auto whole = models[1]["train_rows"].get<double>();
  EXPECT_GT(half, 0.3 * whole);
  EXPECT_LT(half, 0.7 * whole);
  EXPECT_EQ(models[0]["test_rows"], models[1]["test_rows"]);
}

TEST_F(VariantsTest, SearchOfEveryKindOfSpace) {
  const CommandResult done = Run("compare", {"--models", "dlrm,grab,trees", "--search", "2"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  const json search = Read("search.json");
  ASSERT_EQ(search["models"].size(), 3u);
  for (const json& model : search["models"]) {
    double best = 1e9;
    for (const json& trial : model["trials"]) {
      best = std::min(best, trial["valid_logloss"].get<double>());
    }
    const auto chosen = model["chosen"].get<size_t>();
    EXPECT_EQ(model["trials"][chosen]["valid_logloss"], best);
    // The first seed's run is the chosen trial again.
    const json again = Read(model["model"].get<std::string>() + "-seed1/metrics.json");
    EXPECT_EQ(again["valid"]["logloss"], best);
  }
}

}  // namespace
}  // namespace grab
