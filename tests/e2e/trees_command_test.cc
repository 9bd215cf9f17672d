// `grab trees` as a user runs it: simulate, prepare, train, and what it says of mistakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/results.h"
#include "support/cli_process.h"

namespace grab {
namespace {

using ::testing::HasSubstr;

const std::string kConfig = JoinPath(GRAB_SOURCE_DIR, "configs/simulator.toml");

TEST(TreesCommand, TrainsOnPreparedShards) {
  const TempDir dir;
  const std::string raw = dir.File("raw"), shards = dir.File("shards"), out = dir.File("run");
  CommandResult result =
      Grab({"simulate", "--config", kConfig, "--set", "simulate.users=200", "--out", raw});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  result = Grab({"prepare", "--config", kConfig, "--data", raw, "--out", shards});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  result = Grab({"trees", "--config", kConfig, "--shards", shards, "--out", out, "--set",
                 "trees.rounds_max=20", "--set", "trees.seed=3"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const StatusOr<RunMetrics> run = ReadRunMetrics(JoinPath(out, "metrics.json"));
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_GT(run->auc.value(), 0.6);
}

TEST(TreesCommand, NamesMistakes) {
  const TempDir dir;
  CommandResult result =
      Grab({"trees", "--config", kConfig, "--shards", dir.path(), "--out", dir.File("run")});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("manifest.json"));
  EXPECT_FALSE(Exists(dir.File("run")));
  result = Grab({"trees", "--config", kConfig, "--shards", dir.path(), "--out", dir.File("run"),
                 "--set", "trees.depth_max=0"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("trees.depth_max"));
}

}  // namespace
}  // namespace grab
