// Simulate, prepare, train: n steps equal k steps, stop, resume, n - k steps bit for bit with two
// workers, for stops in the middle of a pass, at its end and in the second pass; the same seed
// gives the same files.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "data/prepare.h"
#include "data/simulator.h"
#include "train/trainer.h"

namespace grab {
namespace {

class ResumeTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    root_ = (std::filesystem::temp_directory_path() / ("grab_resume_" + std::to_string(getpid())))
                .string();
    ASSERT_TRUE(RemoveAll(root_).ok());
    ASSERT_TRUE(MakeDirectories(root_).ok());
    StatusOr<Config> config = LoadConfig(
        GRAB_SOURCE_DIR "/configs/simulator.toml",
        {"simulate.users=40", "simulate.days=14.0", "data_dir=" + root_ + "/raw",
         "grab.train.batch_tokens=300", "grab.train.passes=2", "grab.train.validations_per_pass=2",
         "grab.train.patience=0", "grab.train.id_dropout=0.2", "grab.train.threads=2",
         "dlrm.train.batch_tokens=300", "dlrm.train.passes=1"});
    ASSERT_TRUE(config.ok()) << config.status();
    config_ = new Config(*config);
    Status status = Simulate(config_->simulate, root_ + "/raw", NoProgress());
    ASSERT_TRUE(status.ok()) << status;
    const auto report = Prepare(*config_, root_ + "/shards", NoProgress());
    ASSERT_TRUE(report.ok()) << report.status();
  }
  static void TearDownTestSuite() {
    EXPECT_TRUE(RemoveAll(root_).ok());
    delete config_;
  }

  static Status TrainTo(ModelKind kind, const std::string& name, bool resume, int64_t steps_max) {
    TrainOptions options;
    options.session.kind = kind;
    options.shards_dir = root_ + "/shards";
    options.session.out_dir = root_ + "/" + name;
    options.session.resume = resume;
    options.steps_max = steps_max;
    return Train(*config_, options, NoProgress());
  }

  // Checksums of the files of the newest checkpoint, by name, and the step it is of.
  static std::pair<uint64_t, std::vector<std::pair<std::string, uint64_t>>> Files(
      const std::string& name) {
    const auto latest = LatestCheckpoint(root_ + "/" + name + "/checkpoints");
    EXPECT_TRUE(latest.ok() && latest->checkpoint.has_value());
    std::vector<std::pair<std::string, uint64_t>> files;
    for (const CheckpointFile& file : latest->checkpoint->files)
      files.emplace_back(file.name, file.checksum);
    return {latest->checkpoint->step, files};
  }

  static std::string root_;
  static Config* config_;
};

std::string ResumeTest::root_;
Config* ResumeTest::config_ = nullptr;

TEST_F(ResumeTest, StoppedAndResumedEqualsUninterrupted) {
  ASSERT_TRUE(TrainTo(ModelKind::kGrab, "whole", false, 0).ok());
  const auto [steps, files] = Files("whole");
  ASSERT_GT(steps, 20u);
  const auto scores = *ReadFile(root_ + "/whole/test_scores.csv", 1 << 28);
  for (const int64_t stop :
       {int64_t{1}, static_cast<int64_t>(steps / 4), static_cast<int64_t>(steps / 2),
        static_cast<int64_t>(steps / 2 + 3)}) {
    SCOPED_TRACE(::testing::Message() << "stop after " << stop << " of " << steps);
    const std::string name = "stop-" + std::to_string(stop);
    ASSERT_TRUE(TrainTo(ModelKind::kGrab, name, false, stop).ok());
    EXPECT_EQ(Files(name).first, static_cast<uint64_t>(stop));
    const Status status = TrainTo(ModelKind::kGrab, name, true, 0);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(Files(name).first, steps);
    EXPECT_EQ(Files(name).second, files);
    EXPECT_EQ(*ReadFile(root_ + "/" + name + "/test_scores.csv", 1 << 28), scores);
  }
}

TEST_F(ResumeTest, SameSeedSameFilesOtherSeedOthers) {
  for (const char* name : {"a", "b"}) {
    ASSERT_TRUE(TrainTo(ModelKind::kDlrm, std::string("dlrm-") + name, false, 0).ok());
  }
  EXPECT_EQ(Files("dlrm-a"), Files("dlrm-b"));
  config_->dlrm.train.seed += 1;
  ASSERT_TRUE(TrainTo(ModelKind::kDlrm, "dlrm-c", false, 0).ok());
  config_->dlrm.train.seed -= 1;
  EXPECT_NE(Files("dlrm-a").second, Files("dlrm-c").second);
}

TEST_F(ResumeTest, ARunIsNotOverwritten) {
  ASSERT_TRUE(TrainTo(ModelKind::kDlrm, "twice", false, 2).ok());
  const Status again = TrainTo(ModelKind::kDlrm, "twice", false, 2);
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_NE(again.message().find("--resume"), absl::string_view::npos);
}

TEST_F(ResumeTest, AnotherModelIsNotResumed) {
  ASSERT_TRUE(TrainTo(ModelKind::kGrab, "other", false, 1).ok());
  const int64_t kept = config_->grab.model.d_model;
  config_->grab.model.d_model = kept * 2;
  const Status status = TrainTo(ModelKind::kGrab, "other", true, 1);
  config_->grab.model.d_model = kept;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

TEST_F(ResumeTest, TheNumberOfThreadsIsTheRuns) {
  ASSERT_TRUE(TrainTo(ModelKind::kGrab, "threads", false, 1).ok());
  config_->grab.train.threads = 3;
  const Status other = TrainTo(ModelKind::kGrab, "threads", true, 1);
  EXPECT_EQ(other.code(), absl::StatusCode::kInvalidArgument) << other;
  EXPECT_NE(other.message().find("2 threads"), absl::string_view::npos) << other;
  config_->grab.train.threads = 0;
  const Status kept = TrainTo(ModelKind::kGrab, "threads", true, 1);
  config_->grab.train.threads = 2;
  EXPECT_TRUE(kept.ok()) << kept;
  const std::string log = *ReadFile(root_ + "/threads/log.jsonl", 1 << 20);
  EXPECT_EQ(log.find("\"threads\":1"), std::string::npos) << log;
  EXPECT_EQ(log.find("\"threads\":3"), std::string::npos) << log;
}

TEST_F(ResumeTest, ANonFiniteLossStopsWithTheBatchDescribed) {
  const double kept = config_->grab.train.dense_lr;
  config_->grab.train.dense_lr = 10.0;
  config_->grab.train.clip_norm = 0.0;
  config_->grab.train.warmup_fraction = 0.0;
  config_->grab.train.table_lr = 100.0;
  config_->grab.train.table_init_std = 10.0;
  const std::vector<TaskConfig> tasks = config_->tasks;
  config_->tasks[0].weight = 1e300;  // the f32 loss overflows
  const Status status = TrainTo(ModelKind::kGrab, "diverges", false, 0);
  config_->tasks = tasks;
  config_->grab.train.dense_lr = kept;
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_NE(status.message().find("batch"), absl::string_view::npos) << status;
}

}  // namespace
}  // namespace grab
