// Following a log: the simulated one in passes of two days. A run that is stopped after a pass and
// resumed leaves what an uninterrupted one leaves, byte by byte; every label is trained once; a
// release that is a delta loads as the model in training is; a log that ends, ends the run.
#include <gtest/gtest.h>

#include "checkpoint/model_files.h"
#include "eval/progressive.h"
#include "support/follow_runs.h"

namespace grab {
namespace {

TEST_F(FollowTest, StoppedAfterEveryPassLeavesWhatOneRunLeaves) {
  // Nor does it matter what is set for rows that are trained again: there are none.
  Config once = *config_, again = *config_;
  once.grab.train.restart_tables = false;
  again.grab.train.restart_tables = true;
  const Status whole = Run("whole", false, 0, once);
  ASSERT_TRUE(whole.ok()) << whole;
  const auto passes = ReadPasses(dir_->File("whole/progressive.jsonl"));
  ASSERT_TRUE(passes.ok()) << passes.status();
  ASSERT_GE(passes->size(), 6u);
  ASSERT_TRUE(Run("stopped", false, 1, again).ok());
  for (size_t pass = 1; pass <= passes->size(); ++pass) {
    const Status status = Run("stopped", true, 1, again);
    ASSERT_TRUE(status.ok()) << status;
  }
  ExpectSameRuns("stopped", "whole");
}

// The newest release against the newest checkpoint, which are of one state; and what a delta builds
// on is kept, no more.
TEST_F(FollowTest, ADeltaLoadsAsTheModelThatIsInTraining) {
  ASSERT_TRUE(Run("released", false, 5).ok());
  const auto newest = LatestCheckpoint(dir_->File("released/releases"));
  ASSERT_TRUE(newest.ok() && newest->checkpoint.has_value());
  const auto base = BaseStepOf(newest->checkpoint->dir);
  ASSERT_TRUE(base.ok() && base->has_value()) << "the fifth release is a delta";
  const auto served = LoadModel(dir_->File("released/releases"));
  const auto trained = LoadModel(dir_->File("released/checkpoints"));
  ASSERT_TRUE(served.ok()) << served.status();
  ASSERT_TRUE(trained.ok()) << trained.status();
  ASSERT_EQ(served->step, trained->step);
  EXPECT_EQ(served->model.weights, trained->model.weights);
  for (size_t t = 0; t < served->model.tables.size(); ++t) {
    const EmbeddingTable& a = served->model.tables[t];
    const EmbeddingTable& b = trained->model.tables[t];
    ASSERT_EQ(a.rows(), b.rows());
    std::vector<float> left(a.dim()), right(a.dim());
    b.ForEachRow([&](uint32_t row) {
      a.Read(a.Find(b.key(row)), left.data());
      b.Read(row, right.data());
      ASSERT_EQ(left, right) << "table " << t << " key " << b.key(row);
    });
  }
  const auto steps = CheckpointSteps(dir_->File("released/releases"));
  ASSERT_TRUE(steps.ok());
  EXPECT_EQ(steps->size(), 2u) << "the fourth, whole, and the fifth";
}

TEST_F(FollowTest, RefusesToStartWithoutATime) {
  Config no_start = *config_;
  no_start.follow.from.clear();
  FollowOptions options;
  options.session.out_dir = dir_->File("nowhere");
  const Status status = Follow(no_start, options, NoProgress());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_NE(status.message().find("follow.from"), absl::string_view::npos) << status;
  EXPECT_FALSE(Exists(dir_->File("nowhere")));
}

}  // namespace
}  // namespace grab
