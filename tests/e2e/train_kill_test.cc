// kill -9 at random instants, then --resume, as often as it takes: what the run leaves equals what
// an uninterrupted one leaves, byte by byte, with two workers. Fifty kills in all: of training on
// fixed shards, and of following a log, where they also fall into preparing, scoring and releasing.
// Instants are drawn with a printed seed over the run's whole length; a checkpoint every third step
// puts some of them inside a checkpoint.
#include <gtest/gtest.h>

#include "bench/training/kills.h"
#include "support/cli_process.h"

namespace grab {
namespace {

constexpr uint64_t kSeed = 11;

class TrainKillTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir();
    const CommandResult job =
        RunCommand({GRAB_BINARY, "run", "--config", GRAB_SOURCE_DIR "/configs/simulator.toml",
                    "--out", dir_->File("world"), "--set", "simulate.users=60"});
    ASSERT_EQ(job.exit_code, 0) << job.err;
  }
  static void TearDownTestSuite() { delete dir_; }

  static void ExpectNoMismatch(const std::string& name, std::vector<std::string> arguments,
                               int kills, std::vector<std::string> compared) {
    SCOPED_TRACE(::testing::Message() << name << ", seed " << kSeed);
    bench::KillOptions options;
    options.command = {GRAB_BINARY, "train",
                       "--config",  dir_->File("world/config.toml"),
                       "--model",   "grab",
                       "--set",     "grab.train.checkpoint_steps=3",
                       "--set",     "grab.train.threads=2"};
    options.command.insert(options.command.end(), arguments.begin(), arguments.end());
    options.work_dir = dir_->File(name);
    options.kills = kills;
    options.kills_per_run = 10;
    options.seed = kSeed;
    options.compared = std::move(compared);
    ASSERT_TRUE(MakeDirectories(options.work_dir).ok());
    const auto result = bench::KillAndResume(options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->kills, kills);
    EXPECT_EQ(result->mismatches, 0) << ::testing::PrintToString(result->what);
  }

  static TempDir* dir_;
};

TempDir* TrainKillTest::dir_ = nullptr;

TEST_F(TrainKillTest, OfFixedShards) {
  ExpectNoMismatch("fixed",
                   {"--shards", dir_->File("world/shards"), "--set", "grab.train.batch_tokens=300"},
                   20, {"test_scores.csv", "valid_scores.csv"});
}

TEST_F(TrainKillTest, OfAFollowedLog) {
  ExpectNoMismatch("followed",
                   {"--follow", "--log-ended", "--data", dir_->File("world/raw"), "--set",
                    "grab.train.mode=sts", "--set", "grab.train.batch_tokens=1500", "--set",
                    "follow.range_s=259200", "--set", "follow.full_every=2"},
                   30, {"releases", "passes.json", "progressive.jsonl", "auc.svg"});
}

}  // namespace
}  // namespace grab
