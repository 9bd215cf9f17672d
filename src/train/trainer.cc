#include "train/trainer.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "checkpoint/model_files.h"
#include "eval/report.h"
#include "eval/scores.h"
#include "train/schedule.h"
#include "train/session.h"
#include "train/streaming.h"
#include "train/table_options.h"
#include "train/tensor_memory.h"

namespace grab {
namespace {

class Trainer {
 public:
  Trainer(const Config& config, const TrainOptions& options, const ShardSet& shards, ModelSpec spec,
          Progress& progress)
      : options_(options),
        shards_(shards),
        blocks_(shards),
        run_(config, options.session, std::move(spec), progress),
        valid_targets_(static_cast<int64_t>(CountTargets(shards, Split::kValid))) {}

  Status Run();

 private:
  RunCounters& counters() { return run_.counters(); }
  // Whether the log-loss of the labels on the validation targets says how good the run is.
  bool Validates() const { return valid_targets_ > 0 && run_.train().objective == "labels"; }
  Status Prepare();
  Status CountItems();
  StatusOr<bool> RunSlice();
  void Advance();
  StatusOr<bool> AfterStep();
  bool ValidationDue();
  RateFactors Rates(const Batch& batch);
  StatusOr<EvalReport> ValidReport(Stage stage);
  Status Validate();
  Status EvaluateStreaming(nlohmann::json& metrics);
  Status Finish();
  StatusOr<nlohmann::json> EvaluateSplit(Split split, bool frozen, const char* scores_file);
  bool StepLimitReached() {
    return options_.steps_max > 0 && counters().step - first_step_ >= options_.steps_max;
  }

  const TrainOptions& options_;
  const ShardSet& shards_;
  LoadedBlocks blocks_;
  TrainSession run_;
  std::vector<Slice> slices_;
  std::optional<ItemPopularity> popularity_;  // of the next-item objective
  int64_t targets_per_pass_ = 0;
  int64_t valid_targets_;
  int64_t first_step_ = 0;
  Stopwatch wall_;
};

Status Trainer::Prepare() {
  GRAB_ASSIGN_OR_RETURN(slices_, PlanSlices(shards_, run_.train()));
  for (const Slice& slice : slices_) targets_per_pass_ += slice.targets;
  GRAB_RETURN_IF_ERROR(CountItems());
  GRAB_RETURN_IF_ERROR(run_.Open(popularity_.has_value() ? &*popularity_ : nullptr));
  first_step_ = counters().step;
  if (counters().slice < static_cast<int64_t>(slices_.size())) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      options_.session.out_dir, ": stands in slice ", counters().slice + 1, ", the config gives ",
      slices_.size(), "; resume with the slice_s, from and until it began with"));
}

Status Trainer::CountItems() {
  const TrainConfig& train = run_.train();
  if (train.objective != "next_item") return absl::OkStatus();
  const TokenSlot* slot = run_.spec().tokens.FindSlot(train.next_item.field);
  if (slot == nullptr || !slot->partial) {
    return absl::InvalidArgumentError(absl::StrCat(
        "train.next_item.field: '", train.next_item.field, "' is no field of partial tokens"));
  }
  GRAB_ASSIGN_OR_RETURN(ItemPopularity popularity,
                        ItemPopularity::Count(shards_, static_cast<size_t>(slot->fields[0])));
  popularity_.emplace(std::move(popularity));
  return absl::OkStatus();
}

Status Trainer::Run() {
  GRAB_RETURN_IF_ERROR(Prepare());
  while (!counters().finished) {
    GRAB_ASSIGN_OR_RETURN(const bool complete, RunSlice());
    if (StepLimitReached()) return run_.SaveCheckpoint().status();
    if (complete) Advance();
  }
  GRAB_RETURN_IF_ERROR(run_.SaveCheckpoint().status());
  return Finish();
}

// To the next stage, slice or pass.
void Trainer::Advance() {
  RunCounters& now = counters();
  now.batches_in_stage = 0;
  if (++now.stage < static_cast<int64_t>(run_.stages().size())) return;
  now.stage = 0;
  if (++now.slice < static_cast<int64_t>(slices_.size())) return;
  now.slice = 0;
  now.targets_in_pass = 0;
  now.table_targets_in_pass = 0;
  now.validations_in_pass = 0;
  now.table_validations_in_pass = 0;
  now.finished = ++now.pass == run_.train().passes;
  if (!now.finished && run_.train().restart_tables) {
    run_.state().tables = MakeTables(run_.spec(), run_.train(), now.pass);
  }
}

// One stage of the current slice; whether it is complete.
StatusOr<bool> Trainer::RunSlice() {
  const auto slice = static_cast<size_t>(counters().slice);
  std::string label = absl::StrCat("train ", ModelKindName(run_.spec().kind), " pass ",
                                   counters().pass + 1, "/", run_.train().passes);
  if (slices_.size() > 1) absl::StrAppend(&label, ", slice ", slice + 1, "/", slices_.size());
  return run_.RunStage(
      blocks_, slices_[slice],
      {label, [&](const Batch& batch) { return Rates(batch); }, [&] { return AfterStep(); }});
}

// Each side of the model has a schedule of its own, over the targets that train it.
RateFactors Trainer::Rates(const Batch& batch) {
  const int64_t trained =
      batch.full.rows + (TrainsModel(run_.stage()) ? counters().targets : counters().table_targets);
  const double factor = LearningRateFactor(
      run_.train(),
      static_cast<double>(trained) / static_cast<double>(targets_per_pass_ * run_.train().passes));
  return {factor, factor};
}

StatusOr<bool> Trainer::AfterStep() {
  if (ValidationDue()) GRAB_RETURN_IF_ERROR(Validate());
  return !counters().finished && !StepLimitReached();
}

// Validations are spread evenly over the targets of a pass; the tables' own stage adds one at its
// end.
bool Trainer::ValidationDue() {
  const RunCounters& now = counters();
  if (TrainsModel(run_.stage())) {
    return now.targets_in_pass * run_.train().validations_per_pass >=
           (now.validations_in_pass + 1) * targets_per_pass_;
  }
  return now.table_targets_in_pass >= (now.table_validations_in_pass + 1) * targets_per_pass_;
}

StatusOr<EvalReport> Trainer::ValidReport(Stage stage) {
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores,
                        run_.Score(shards_, stage, {Split::kValid, false}, NoProgress()));
  GRAB_ASSIGN_OR_RETURN(EvalReport report, Evaluate(scores, run_.config().eval));
  if (report.tasks[0].metrics.logloss.has_value()) return report;
  return absl::InvalidArgumentError(absl::StrCat(options_.shards_dir,
                                                 ": no validation target has a label of task '",
                                                 run_.spec().tasks[0], "'"));
}

// The model itself is judged in every stage. It is the sequence stages that follow the tables, so
// only they can be told to stop for being worse.
Status Trainer::Validate() {
  RunCounters& now = counters();
  const Stage stage = run_.stage();
  ++(TrainsModel(stage) ? now.validations_in_pass : now.table_validations_in_pass);
  if (!Validates()) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const EvalReport report, ValidReport(Stage::kJoint));
  const double logloss = *report.tasks[0].metrics.logloss;
  const bool better = now.best_step == 0 || logloss < now.best_logloss;
  if (better) {
    now.best_logloss = logloss;
    now.best_step = now.step;
    now.worse_validations = 0;
    GRAB_RETURN_IF_ERROR(SaveRunState(run_.state(), run_.spec(), run_.Path("best"), 1).status());
  } else if (TrainsModel(stage)) {
    ++now.worse_validations;
  }
  const int64_t patience = run_.train().patience;
  if (patience > 0 && now.worse_validations >= patience) now.finished = true;
  nlohmann::json line = {{"event", "validation"},
                         {"step", now.step},
                         {"pass", now.pass},
                         {"slice", now.slice},
                         {"stage", StageName(stage)},
                         {"targets", now.targets},
                         {"table_targets", now.table_targets},
                         {"metrics", ToJson(report)},
                         {"best", better},
                         {"stop", now.finished}};
  if (stage == Stage::kSparse) {
    GRAB_ASSIGN_OR_RETURN(const EvalReport head, ValidReport(Stage::kSparse));
    line["sparse_head_metrics"] = ToJson(head);
  }
  return run_.log().Write(line);
}

StatusOr<nlohmann::json> Trainer::EvaluateSplit(Split split, bool frozen, const char* scores_file) {
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores,
                        run_.Score(shards_, Stage::kJoint, {split, frozen}, run_.progress()));
  if (scores_file != nullptr) GRAB_RETURN_IF_ERROR(WriteScores(run_.Path(scores_file), scores));
  GRAB_ASSIGN_OR_RETURN(const EvalReport report,
                        EvaluateTargets(shards_, split, scores, run_.config().eval));
  return ToJson(report)["tasks"];
}

// The best state is loaded, and changed.
Status Trainer::EvaluateStreaming(nlohmann::json& metrics) {
  for (const Split split : {Split::kValid, Split::kTest}) {
    if (CountTargets(shards_, split) == 0) continue;
    GRAB_ASSIGN_OR_RETURN(const ScoreTable scores, ScoreAndTrain(run_, blocks_, split));
    GRAB_ASSIGN_OR_RETURN(const EvalReport report, Evaluate(scores, run_.config().eval));
    const bool test = split == Split::kTest;
    metrics[test ? "test_streaming" : "valid_streaming"] = ToJson(report)["tasks"][0];
    if (test) GRAB_RETURN_IF_ERROR(WriteScores(run_.Path("test_streaming_scores.csv"), scores));
  }
  return absl::OkStatus();
}

Status Trainer::Finish() {
  nlohmann::json metrics = run_.Metrics();
  metrics["train_rows"] = targets_per_pass_;
  metrics["rows_hash"] = shards_.rows_hash();
  if (counters().best_step > 0) {
    std::vector<std::string> skipped;
    GRAB_RETURN_IF_ERROR(
        LoadRunState(run_.Path("best"), run_.spec(), run_.train(), run_.state(), skipped));
    GRAB_RETURN_IF_ERROR(run_.LogSkipped(skipped));
  } else {
    GRAB_RETURN_IF_ERROR(SaveRunState(run_.state(), run_.spec(), run_.Path("best"), 1).status());
  }
  // Of each evaluation the main task stands by itself; "tasks" holds all of them.
  const auto evaluate = [&](const char* name, Split split, bool frozen,
                            const char* scores_file) -> Status {
    GRAB_ASSIGN_OR_RETURN(const nlohmann::json tasks, EvaluateSplit(split, frozen, scores_file));
    metrics[name] = tasks[0];
    if (tasks.size() > 1) metrics["tasks"][name] = tasks;
    return absl::OkStatus();
  };
  if (Validates()) {
    GRAB_RETURN_IF_ERROR(evaluate("valid", Split::kValid, false, "valid_scores.csv"));
  }
  const auto test_targets = static_cast<int64_t>(CountTargets(shards_, Split::kTest));
  metrics["test_rows"] = test_targets;
  metrics["scores_per_second"] = 0.0;
  if (test_targets > 0 && run_.train().objective == "labels") {
    const Stopwatch scoring;
    GRAB_RETURN_IF_ERROR(evaluate("test", Split::kTest, false, "test_scores.csv"));
    metrics["scores_per_second"] = static_cast<double>(test_targets) / scoring.Seconds();
    GRAB_RETURN_IF_ERROR(evaluate("test_frozen", Split::kTest, true, nullptr));
  }
  // Streaming is left out: models are compared by what a run costs, and not all of them stream.
  metrics["wall_seconds"] = wall_.Seconds();
  if (run_.train().streaming.slice_s > 0.0 && run_.train().objective == "labels") {
    GRAB_RETURN_IF_ERROR(EvaluateStreaming(metrics));
  }
  return WriteFileDurably(run_.Path("metrics.json"), metrics.dump(1) + "\n");
}

}  // namespace

Status Train(const Config& config, const TrainOptions& options, Progress& progress) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(options.shards_dir));
  GRAB_ASSIGN_OR_RETURN(ModelSpec spec,
                        ModelSpec::FromConfig(config, options.session.kind, shards->schema()));
  if (spec.tasks.size() != config.tasks.size()) {
    return absl::InvalidArgumentError(absl::StrCat(options.shards_dir, ": has ", spec.tasks.size(),
                                                   " tasks, the config ", config.tasks.size(),
                                                   "; prepare again"));
  }
  GRAB_RETURN_IF_ERROR(MakeDirectories(options.session.out_dir));
  InstallTensorMemory();
  Trainer trainer(config, options, *shards, std::move(spec), progress);
  return trainer.Run();
}

}  // namespace grab
