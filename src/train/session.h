// A model in training with its folder, checkpoints and log: what a run over fixed shards
// (trainer.h) and one that follows a growing log (follow.h) share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/progress.h"
#include "base/status.h"
#include "batch/stream.h"
#include "config/settings.h"
#include "eval/score_split.h"
#include "model/spec.h"
#include "train/run_log.h"
#include "train/run_state.h"
#include "train/slices.h"
#include "train/stage.h"
#include "train/step.h"

namespace grab {

struct SessionOptions {
  ModelKind kind = ModelKind::kGrab;
  std::string out_dir;
  bool resume = false;     // continue from the newest checkpoint of out_dir
  std::string warm_start;  // run or checkpoint folder that a new run starts from; empty: cold
};

// How a stage trains a slice.
struct StageRun {
  std::string label;                               // for the progress line
  std::function<RateFactors(const Batch&)> rates;  // of a batch about to be trained
  std::function<StatusOr<bool>()> after_step;      // false: stop
  bool checkpoints = true;
  uint32_t labels = ~uint32_t{0};  // bits of the tasks whose labels are read
};

class TrainSession {
 public:
  // All arguments must outlive it.
  TrainSession(const Config& config, const SessionOptions& options, ModelSpec spec,
               Progress& progress);

  // A new run or, with `resume`, the newest checkpoint's. A folder that already holds a run is
  // refused without `resume`. `popularity`: for the next-item objective, else nullptr.
  Status Open(const ItemPopularity* popularity);

  // Trains the current stage (counters.stage) on the targets of `slice` that it has not trained
  // yet, until `run` stops it or none is left; then returns whether none is left.
  StatusOr<bool> RunStage(LoadedBlocks& blocks, const Slice& slice, const StageRun& run);

  // Appends the scores of the targets of `slice` to those of MakeScoreTable.
  Status ScoreSlice(LoadedBlocks& blocks, const Slice& slice, ScoreTable& scores);

  // Scores with the model, or in Stage::kSparse with the head that trains the tables.
  StatusOr<ScoreTable> Score(const ShardSet& shards, Stage stage, const ScoreOptions& options,
                             Progress& progress);

  // False: the newest checkpoint is of this step already, and stays.
  StatusOr<bool> SaveCheckpoint();
  Status LogSkipped(const std::vector<std::string>& skipped);

  std::string Path(absl::string_view name) const;  // in the run folder
  const Config& config() const { return config_; }
  const TrainConfig& train() const { return train_; }
  const ModelSpec& spec() const { return spec_; }
  RunState& state() { return state_; }
  RunCounters& counters() { return state_.counters; }
  RunLog& log() { return *log_; }
  Progress& progress() { return progress_; }
  const std::vector<Stage>& stages() const { return stages_; }
  Stage stage() { return stages_[static_cast<size_t>(counters().stage)]; }
  // What the training was and cost so far.
  nlohmann::json Metrics();

 private:
  Status Begin();
  Status MakeBuilders();
  Status StartWorkers(const ItemPopularity* popularity);
  StreamOptions StageOptions(const Slice& slice);
  bool CheckpointDue();
  Status AfterStep(const StepResult& result, int64_t targets);
  Status LogStep(const StepResult& result);

  const Config& config_;
  const TrainConfig& train_;
  const SessionOptions& options_;
  const ModelSpec spec_;
  Progress& progress_;
  const std::vector<Stage> stages_;
  RunState state_;
  std::vector<double> task_weights_;
  std::unique_ptr<RunLog> log_;
  std::optional<BatchBuilder> builder_;
  std::optional<BatchBuilder>
      sparse_builder_;  // of Stage::kSparse, whose head looks back one layer
  std::optional<StepRunner> steps_;
  Stopwatch since_checkpoint_;
  int64_t saved_step_ = 0;        // of the newest checkpoint
  int64_t targets_in_stage_ = 0;  // since it began or was resumed
  double loss_sum_ = 0.0;
  int64_t loss_count_ = 0;
};

}  // namespace grab
