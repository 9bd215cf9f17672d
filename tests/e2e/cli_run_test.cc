// `grab run` with a trainer of our own making: the order of the steps, what each is told, what
// happens when one fails, and how the rest goes on with --resume. The real trainer has the demo.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "support/fake_trainer.h"

namespace grab {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class RunTest : public JobTest {
 protected:
  CommandResult Run(const std::vector<std::string>& more) { return RunJob("run", more); }

  // What `grab export` and `grab score` leave when they are done.
  void FinishExportAndScore() {
    const auto writer = CheckpointWriter::Begin(Out("model"), 1);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Commit("{}").ok());
    ASSERT_TRUE(WriteFileDurably(Out("score_parity.json"),
                                 R"({"score_parity_max_abs_diff": 1e-6, "rows": 20})")
                    .ok());
  }
};

TEST_F(RunTest, WithoutATrainerNothingIsStarted) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/usr/bin:/bin", 1);
  const CommandResult result = Run({});
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("grab-train: neither in "));
  EXPECT_FALSE(Exists(out_));
}

TEST_F(RunTest, AFailedStepStopsWithItsNameAndCode) {
  InstallTrain();
  setenv("TRAIN_EXIT", "3", 1);
  const CommandResult failed = Run({});
  EXPECT_EQ(failed.exit_code, 1) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("step 'train dlrm, seed 1' failed with exit code 3"));
  EXPECT_EQ(TrainCalls().size(), 1u);
  // Wrong settings are wrong whichever process noticed.
  setenv("TRAIN_EXIT", "2", 1);
  const CommandResult usage = Run({"--resume"});
  EXPECT_EQ(usage.exit_code, 2) << usage.err;
  EXPECT_THAT(usage.out, AllOf(HasSubstr("simulate: complete, skipped"),
                               HasSubstr("prepare: complete, skipped")));
  EXPECT_EQ(TrainCalls().size(), 2u);
}

TEST_F(RunTest, ResumeIsAskedForAndIsTheSameRun) {
  InstallTrain();
  setenv("TRAIN_EXIT", "3", 1);
  ASSERT_EQ(Run({}).exit_code, 1);
  const CommandResult again = Run({});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.err, AllOf(HasSubstr("already exists"), HasSubstr("--resume")));
  const CommandResult other = Run({"--resume", "--set", "grab.model.layers=5"});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, AllOf(HasSubstr("config.toml:"), HasSubstr("now 'layers = 5'")));
}

TEST_F(RunTest, TrainsBothModelsPerSeedThenConcludes) {
  InstallTrain();
  // The fake models cannot be exported.
  const CommandResult trained = Run({"--seeds", "1,3"});
  EXPECT_NE(trained.exit_code, 0);
  EXPECT_THAT(trained.err, HasSubstr("step 'export' failed"));
  const auto call = [&](const std::string& model, int seed) {
    return absl::StrCat("--config ", Out("config.toml"), " --model ", model, " --shards ",
                        Out("shards"), " --out ", Out(absl::StrCat(model, "-seed", seed)),
                        " --set ", model, ".train.seed=", seed);
  };
  EXPECT_THAT(TrainCalls(),
              ElementsAre(call("dlrm", 1), call("dlrm", 3), call("grab", 1), call("grab", 3)));
  const StatusOr<Config> config = LoadConfig(Out("config.toml"), {});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->data_dir, Out("raw"));
  EXPECT_EQ(config->simulate.users, 30);

  FinishExportAndScore();
  const CommandResult done = Run({"--seeds", "1,3", "--resume"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.out, AllOf(HasSubstr("export: complete"), HasSubstr("score: complete"),
                              HasSubstr("true probability")));
  EXPECT_EQ(TrainCalls().size(), 4u);
  const auto json =
      nlohmann::json::parse(ReadFile(Out("results.json"), 1 << 20).value(), nullptr, false);
  ASSERT_EQ(json["models"].size(), 2u);
  // Means of .61 and .63, of .711 and .733, up to rounding of the sum.
  EXPECT_NEAR(json["models"][0]["auc"].get<double>(), 0.62, 1e-14);
  EXPECT_NEAR(json["models"][1]["auc"].get<double>(), 0.722, 1e-14);
  EXPECT_TRUE(json["models"][0]["pcoc"].is_null());
  EXPECT_EQ(json["models"][1]["seeds"], (std::vector<int>{1, 3}));
  EXPECT_EQ(json["score_parity_max_abs_diff"], 1e-6);
  EXPECT_GT(json["true_auc"].get<double>(), 0.6);
  EXPECT_EQ(json["rows_hash"].get<std::string>().size(), 16u);
  EXPECT_GT(json["hardware"]["threads"].get<int>(), 0);
}

// A half-trained model continues from its checkpoint; a folder without one starts afresh.
TEST_F(RunTest, ResumesTrainingWhereThereIsACheckpoint) {
  InstallTrain();
  setenv("TRAIN_EXIT", "3", 1);
  ASSERT_EQ(Run({}).exit_code, 1);
  ASSERT_EQ(Run({"--resume"}).exit_code, 1);
  const auto writer = CheckpointWriter::Begin(Out("dlrm-seed1/checkpoints"), 1);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Commit("{}").ok());
  ASSERT_EQ(Run({"--resume"}).exit_code, 1);
  const std::vector<std::string> calls = TrainCalls();
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_THAT(calls[1], Not(HasSubstr("--resume")));
  EXPECT_THAT(calls[2], HasSubstr("--resume"));
}

TEST_F(RunTest, RefusesASeedTwice) {
  InstallTrain();
  const CommandResult result = Run({"--seeds", "1,1"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_FALSE(Exists(out_));
}

}  // namespace
}  // namespace grab
