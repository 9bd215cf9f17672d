// Sequence-Then-Sparse, step by step: a run that keeps a checkpoint of every step. In the sequence
// stage the tables' file does not change by a bit; in the sparse stage no weight of the model and
// none of its moments does; what a stage trains changes in every step. Both sparse stages, resume
// in the middle of each stage, tables that restart with a pass, and the heads' absence from the
// export.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"
#include "checkpoint/safetensors.h"
#include "config/config.h"
#include "data/prepare.h"
#include "data/simulator.h"
#include "support/base_temp_dir.h"
#include "train/trainer.h"

namespace grab {
namespace {

class StagesTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir();
    StatusOr<Config> config = LoadConfig(
        GRAB_SOURCE_DIR "/configs/simulator.toml",
        {"simulate.users=40", "simulate.days=14.0", "data_dir=" + dir_->File("raw"),
         "grab.train.batch_tokens=1500", "grab.train.sparse_batch_tokens=4000",
         "grab.train.passes=2", "grab.train.slice_s=259200", "grab.train.validations_per_pass=1",
         "grab.train.patience=0", "grab.train.threads=2", "grab.train.checkpoint_steps=1",
         "grab.train.checkpoints_kept=1000"});
    ASSERT_TRUE(config.ok()) << config.status();
    config_ = new Config(*config);
    ASSERT_TRUE(Simulate(config_->simulate, dir_->File("raw"), NoProgress()).ok());
    ASSERT_TRUE(Prepare(*config_, dir_->File("shards"), NoProgress()).ok());
  }
  static void TearDownTestSuite() {
    delete config_;
    delete dir_;
  }

  static Status TrainTo(const std::string& mode, const std::string& name, bool resume,
                        int64_t steps_max, bool restart_tables = false) {
    Config config = *config_;
    config.grab.train.mode = mode;
    config.grab.train.restart_tables = restart_tables;
    TrainOptions options;
    options.session.kind = ModelKind::kGrab;
    options.shards_dir = dir_->File("shards");
    options.session.out_dir = dir_->File(name);
    options.session.resume = resume;
    options.steps_max = steps_max;
    return Train(config, options, NoProgress());
  }

  // A step's checkpoint: pass and stage of the step after it, a hash of each side of the model, and
  // the rows of all tables.
  struct Snapshot {
    int64_t pass = 0, stage = 0;
    uint64_t tables = 0, model = 0, sparse_head = 0;
    int64_t rows = 0;
  };
  static Snapshot Read(const std::string& name, uint64_t step) {
    char folder[64];
    std::snprintf(folder, sizeof(folder), "/checkpoints/step-%012llu",
                  static_cast<unsigned long long>(step));
    const auto checkpoint = OpenCheckpoint(dir_->File(name) + folder);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    Snapshot snapshot;
    const auto state = nlohmann::json::parse(checkpoint->state_json);
    snapshot.pass = state["pass"].get<int64_t>();
    snapshot.stage = state["stage"].get<int64_t>();
    for (const CheckpointFile& file : checkpoint->files) {
      if (file.name == kTablesFile) snapshot.tables = file.checksum;
    }
    const auto tables = SafetensorsReader::Open(*checkpoint->Path(kTablesFile));
    EXPECT_TRUE(tables.ok());
    for (const TensorInfo& tensor : (*tables)->tensors()) {
      if (tensor.name.ends_with(".keys")) snapshot.rows += tensor.shape[0];
    }
    const auto reader = SafetensorsReader::Open(*checkpoint->Path(kWeightsFile));
    EXPECT_TRUE(reader.ok());
    for (const TensorInfo& tensor : (*reader)->tensors()) {
      if (tensor.dtype != Dtype::kF32) continue;
      std::vector<float> values((tensor.end - tensor.begin) / sizeof(float));
      EXPECT_TRUE((*reader)->ReadPart(tensor, 0, absl::MakeSpan(values)).ok());
      const uint64_t hash = HashBytes(values.data(), values.size() * sizeof(float));
      uint64_t& side =
          tensor.name.find("sparse.") != std::string::npos ? snapshot.sparse_head : snapshot.model;
      side = HashCombine(side, HashCombine(HashId(tensor.name), hash));
    }
    return snapshot;
  }

  static uint64_t LastStep(const std::string& name) {
    const auto latest = LatestCheckpoint(dir_->File(name) + "/checkpoints");
    EXPECT_TRUE(latest.ok() && latest->checkpoint.has_value());
    return latest->checkpoint->step;
  }

  static void ExpectSameEnd(const std::string& name, const std::string& other) {
    const auto a = LatestCheckpoint(dir_->File(name) + "/checkpoints");
    const auto b = LatestCheckpoint(dir_->File(other) + "/checkpoints");
    ASSERT_EQ(a->checkpoint->step, b->checkpoint->step);
    for (size_t i = 0; i < a->checkpoint->files.size(); ++i) {
      EXPECT_EQ(a->checkpoint->files[i].checksum, b->checkpoint->files[i].checksum)
          << a->checkpoint->files[i].name;
    }
  }

  static TempDir* dir_;
  static Config* config_;
};

TempDir* StagesTest::dir_ = nullptr;
Config* StagesTest::config_ = nullptr;

TEST_F(StagesTest, WhatAStageFreezesDoesNotChangeByABit) {
  for (const std::string mode : {"sts", "sts_packed"}) {
    SCOPED_TRACE(mode);
    const Status status = TrainTo(mode, mode, false, 0);
    ASSERT_TRUE(status.ok()) << status;
    const uint64_t steps = LastStep(mode);
    std::map<int64_t, int> steps_of_stage;
    Snapshot before = Read(mode, 1);
    for (uint64_t step = 2; step <= steps; ++step) {
      const Snapshot after = Read(mode, step);
      // A checkpoint says which stage the next step is of.
      ++steps_of_stage[before.stage];
      if (before.stage == 0) {
        ASSERT_EQ(after.tables, before.tables) << "step " << step;
        ASSERT_EQ(after.sparse_head, before.sparse_head) << "step " << step;
        ASSERT_NE(after.model, before.model) << "step " << step;
      } else {
        ASSERT_EQ(after.model, before.model) << "step " << step;
        ASSERT_NE(after.tables, before.tables) << "step " << step;
        ASSERT_NE(after.sparse_head, before.sparse_head) << "step " << step;
      }
      before = after;
    }
    EXPECT_GT(steps_of_stage[0], 5);
    EXPECT_GT(steps_of_stage[1], 5);
  }
}

TEST_F(StagesTest, ResumesInTheMiddleOfEitherStage) {
  ASSERT_TRUE(TrainTo("sts", "whole", false, 0).ok());
  const uint64_t steps = LastStep("whole");
  std::map<int64_t, uint64_t> a_step_in;
  for (uint64_t step = 2; step < steps; ++step) {
    const int64_t stage = Read("whole", step).stage;
    if (Read("whole", step + 1).stage == stage) a_step_in[stage] = step;
  }
  ASSERT_EQ(a_step_in.size(), 2u);
  for (const auto& [stage, step] : a_step_in) {
    SCOPED_TRACE(::testing::Message() << "stopped after step " << step << " of " << steps);
    const std::string name = "stopped-" + std::to_string(stage);
    ASSERT_TRUE(TrainTo("sts", name, false, static_cast<int64_t>(step)).ok());
    const Status status = TrainTo("sts", name, true, 0);
    ASSERT_TRUE(status.ok()) << status;
    ExpectSameEnd(name, "whole");
  }
  const Status other = TrainTo("end_to_end", "stopped-1", true, 0);
  EXPECT_FALSE(other.ok()) << "a run does not change its mode";
}

TEST_F(StagesTest, TablesThatRestartBeginTheSecondPassEmpty) {
  const Status status = TrainTo("sts", "restarted", false, 0, true);
  ASSERT_TRUE(status.ok()) << status;
  const uint64_t steps = LastStep("restarted");
  uint64_t second_pass = 1;
  while (second_pass < steps && Read("restarted", second_pass).pass == 0) ++second_pass;
  ASSERT_LT(second_pass, steps);
  // The unknown rows are what is left.
  const auto spec = ReadSpec(dir_->File("restarted") + "/" + kSpecFile);
  ASSERT_TRUE(spec.ok());
  const auto tables = static_cast<int64_t>(spec->tokens.tables.size());
  EXPECT_EQ(Read("restarted", second_pass).rows, tables);
  EXPECT_GT(Read("restarted", second_pass - 1).rows, 10 * tables);
  EXPECT_GT(Read("restarted", steps).rows, 10 * tables);

  // Resumed in the second pass, new rows start as in it, not as in the first.
  uint64_t sparse = second_pass;
  while (sparse < steps && Read("restarted", sparse).rows == tables) ++sparse;
  ASSERT_LT(sparse, steps);
  ASSERT_TRUE(TrainTo("sts", "stopped", false, static_cast<int64_t>(sparse), true).ok());
  ASSERT_TRUE(TrainTo("sts", "stopped", true, 0, true).ok());
  ExpectSameEnd("stopped", "restarted");
}

TEST_F(StagesTest, TheHeadsOfTrainingAreInNoExport) {
  ASSERT_TRUE(TrainTo("sts", "exported", false, 3).ok());
  const auto loaded = LoadModel(dir_->File("exported") + "/checkpoints");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const auto path = ExportModel(ViewOf(loaded->model), 3, Precision::kF32, dir_->File("model"));
  ASSERT_TRUE(path.ok()) << path.status();
  const auto reader = SafetensorsReader::Open(*path + "/" + kWeightsFile);
  ASSERT_TRUE(reader.ok());
  for (const TensorInfo& tensor : (*reader)->tensors()) {
    EXPECT_EQ(tensor.name.find("sparse."), std::string::npos) << tensor.name;
  }
}

}  // namespace
}  // namespace grab
