// A test of runs that follow the simulated log in passes of two days, with a checkpoint every few
// steps: the log is made once per suite.
#pragma once

#include <gtest/gtest.h>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "config/config.h"
#include "data/simulator.h"
#include "support/base_temp_dir.h"
#include "train/follow.h"

namespace grab {

class FollowTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir();
    StatusOr<Config> config =
        LoadConfig(GRAB_SOURCE_DIR "/configs/simulator.toml",
                   {"simulate.users=60", "simulate.days=14.0", "data_dir=" + dir_->File("raw"),
                    "grab.train.mode=sts", "grab.train.batch_tokens=1500", "grab.train.threads=2",
                    "grab.train.checkpoint_steps=7", "follow.range_s=172800", "follow.full_every=3",
                    "follow.releases_kept=2"});
    ASSERT_TRUE(config.ok()) << config.status();
    config_ = new Config(*config);
    ASSERT_TRUE(Simulate(config_->simulate, dir_->File("raw"), NoProgress()).ok());
  }
  static void TearDownTestSuite() {
    delete config_;
    delete dir_;
  }

  static Status Run(const std::string& name, bool resume, int64_t passes_max,
                    const Config& config = *config_) {
    FollowOptions options;
    options.session.kind = ModelKind::kGrab;
    options.session.out_dir = dir_->File(name);
    options.session.resume = resume;
    options.log_ended = true;
    options.passes_max = passes_max;
    return Follow(config, options, NoProgress());
  }
  static std::string Text(const std::string& path) { return *ReadFile(dir_->File(path), 1 << 28); }

  // What two runs keep is the same, byte by byte: progressive evaluation, ledger, newest checkpoint
  // and release.
  static void ExpectSameRuns(const std::string& name, const std::string& expected) {
    for (const char* file : {"/progressive.jsonl", "/passes.json", "/auc.svg"}) {
      EXPECT_EQ(Text(name + file), Text(expected + file)) << file;
    }
    for (const char* folder : {"/checkpoints", "/releases"}) {
      const auto a = LatestCheckpoint(dir_->File(expected) + folder);
      const auto b = LatestCheckpoint(dir_->File(name) + folder);
      ASSERT_TRUE(a.ok() && b.ok() && a->checkpoint.has_value() && b->checkpoint.has_value());
      ASSERT_EQ(a->checkpoint->step, b->checkpoint->step) << folder;
      ASSERT_EQ(a->checkpoint->files.size(), b->checkpoint->files.size());
      for (size_t i = 0; i < a->checkpoint->files.size(); ++i) {
        EXPECT_EQ(a->checkpoint->files[i].checksum, b->checkpoint->files[i].checksum)
            << folder << " " << a->checkpoint->files[i].name;
      }
    }
  }

  inline static TempDir* dir_ = nullptr;
  inline static Config* config_ = nullptr;
};

}  // namespace grab
