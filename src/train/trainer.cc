#include "train/trainer.h"

#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/threads.h"
#include "batch/stream.h"
#include "checkpoint/model_files.h"
#include "config/config.h"
#include "eval/report.h"
#include "eval/score_split.h"
#include "eval/scores.h"
#include "train/run_log.h"
#include "train/run_state.h"
#include "train/schedule.h"
#include "train/slices.h"
#include "train/step.h"
#include "train/tensor_memory.h"
#include "train/warm_start.h"

namespace grab {
namespace {

constexpr int64_t kLogSteps = 10;

class Trainer {
 public:
  Trainer(const Config& config, const TrainOptions& options, const ShardSet& shards, ModelSpec spec,
          Progress& progress)
      : config_(config),
        train_(options.kind == ModelKind::kDlrm ? config.dlrm.train : config.grab.train),
        options_(options),
        shards_(shards),
        spec_(std::move(spec)),
        progress_(progress),
        stages_(StagesOf(train_)),
        state_(spec_, train_),
        targets_per_pass_(static_cast<int64_t>(CountTargets(shards, Split::kTrain))),
        valid_targets_(static_cast<int64_t>(CountTargets(shards, Split::kValid))) {
    for (const TaskConfig& task : config.tasks) task_weights_.push_back(task.weight);
  }

  Status Run();

 private:
  std::string Path(const char* name) const { return JoinPath(options_.out_dir, name); }
  Stage stage() const { return stages_[static_cast<size_t>(state_.counters.stage)]; }
  // Whether the log-loss of the labels on the validation targets says how good the run is.
  bool Validates() const { return valid_targets_ > 0 && train_.objective == "labels"; }
  StreamOptions StageOptions() const;
  Status Prepare();
  Status Begin();
  Status MakeBuilders();
  Status StartWorkers();
  Status CountItems();
  Status RunStage();
  void Advance();
  bool ValidationDue() const;
  double RateFactor(const Batch& batch) const;
  Status AfterStep(const StepResult& result, int64_t targets);
  Status LogStep(const StepResult& result);
  StatusOr<ScoreTable> Score(Stage stage, const ScoreOptions& options, Progress& progress);
  StatusOr<EvalReport> ValidStageReport(Stage stage);
  Status Validate();
  Status SaveCheckpoint();
  Status LogSkipped(const std::vector<std::string>& skipped);
  Status Finish();
  nlohmann::json RunMetrics() const;
  StatusOr<nlohmann::json> EvaluateSplit(Split split, bool frozen, const char* scores_file);
  bool StepLimitReached() const {
    return options_.steps_max > 0 && state_.counters.step - first_step_ >= options_.steps_max;
  }

  const Config& config_;
  const TrainConfig& train_;
  const TrainOptions& options_;
  const ShardSet& shards_;
  const ModelSpec spec_;
  Progress& progress_;
  const std::vector<Stage> stages_;
  std::vector<Slice> slices_;
  RunState state_;
  std::vector<double> task_weights_;
  int64_t targets_per_pass_;
  int64_t valid_targets_;
  std::unique_ptr<RunLog> log_;
  std::optional<BatchBuilder> builder_;
  std::optional<BatchBuilder>
      sparse_builder_;                        // of Stage::kSparse, whose head looks back one layer
  std::optional<ItemPopularity> popularity_;  // of the next-item objective
  std::optional<StepRunner> steps_;
  Stopwatch wall_;
  Stopwatch since_checkpoint_;
  int64_t first_step_ = 0;
  int64_t targets_in_stage_ = 0;  // since it began or was resumed
  double loss_sum_ = 0.0;
  int64_t loss_count_ = 0;
};

StreamOptions Trainer::StageOptions() const {
  const bool sparse = stage() == Stage::kSparse;
  StreamOptions options;
  options.split = Split::kTrain;
  options.impressions = sparse ? train_.mode == "sts" : train_.batch == "impressions";
  options.shuffle = true;
  // Seeds are below 2^53, so another stage has another order.
  options.seed =
      static_cast<uint64_t>(train_.seed) + (static_cast<uint64_t>(state_.counters.stage) << 53);
  options.pass = static_cast<uint64_t>(state_.counters.pass);
  const Slice& slice = slices_[static_cast<size_t>(state_.counters.slice)];
  options.request_from_ms = slice.from_ms;
  options.request_to_ms = slice.to_ms;
  options.batch_tokens =
      static_cast<uint64_t>(sparse ? train_.sparse_batch_tokens : train_.batch_tokens);
  options.shuffle_blocks = static_cast<uint32_t>(train_.shuffle_blocks);
  options.window_size = static_cast<uint32_t>(train_.window_size);
  options.window_train = static_cast<uint32_t>(train_.window_train);
  return options;
}

Status Trainer::Prepare() {
  if (targets_per_pass_ == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        options_.shards_dir, ": no training targets; check [split] or the events' split"));
  }
  GRAB_RETURN_IF_ERROR(MakeBuilders());
  GRAB_ASSIGN_OR_RETURN(slices_, PlanSlices(shards_, stages_.size() > 1 ? train_.slice_s : 0.0));
  std::vector<std::string> skipped;
  if (options_.resume) {
    GRAB_RETURN_IF_ERROR(LoadRunState(Path("checkpoints"), spec_, train_, state_, skipped));
    if (state_.counters.stage >= static_cast<int64_t>(stages_.size()) ||
        state_.counters.slice >= static_cast<int64_t>(slices_.size())) {
      return absl::InvalidArgumentError(absl::StrCat(
          options_.out_dir, ": stands in stage ", state_.counters.stage + 1, " of slice ",
          state_.counters.slice + 1, ", the config gives ", stages_.size(), " stages of ",
          slices_.size(), " slices; resume with the mode and slice_s it began with"));
    }
  } else if (Exists(Path(kSpecFile))) {
    return absl::AlreadyExistsError(
        absl::StrCat(options_.out_dir,
                     ": already holds a run; continue it with --resume or choose another --out"));
  }
  GRAB_RETURN_IF_ERROR(StartWorkers());
  GRAB_RETURN_IF_ERROR(MakeDirectories(Path("checkpoints")));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(Path("config.toml"), DumpConfig(config_)));
  GRAB_ASSIGN_OR_RETURN(log_, RunLog::Open(Path("log.jsonl")));
  first_step_ = state_.counters.step;
  GRAB_RETURN_IF_ERROR(log_->Write({{"event", "start"},
                                    {"step", state_.counters.step},
                                    {"threads", state_.counters.threads},
                                    {"precision", train_.precision}}));
  GRAB_RETURN_IF_ERROR(LogSkipped(skipped));
  if (!options_.resume) GRAB_RETURN_IF_ERROR(Begin());
  return WriteSpec(spec_, Path(kSpecFile));
}

// What a new run starts with.
Status Trainer::Begin() {
  if (options_.warm_start.empty()) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const WarmStartReport report,
                        WarmStart(options_.warm_start, spec_, state_));
  progress_.Begin("warm start", "", 0);
  progress_.End(absl::StrCat(report.loaded.size(), " loaded, ", report.resized.size(), " in part, ",
                             report.missing.size(), " missing, ", report.unused.size(),
                             " unused: ", Path("warm_start.json")));
  const nlohmann::json json = ToJson(report);
  GRAB_RETURN_IF_ERROR(WriteFileDurably(Path("warm_start.json"), json.dump(1) + "\n"));
  return log_->Write({{"event", "warm_start"}, {"report", json}});
}

Status Trainer::MakeBuilders() {
  PackPlan plan = spec_.Plan();
  GRAB_ASSIGN_OR_RETURN(BatchBuilder builder,
                        BatchBuilder::Create(spec_.tokens, plan, {}, train_.pairwise.value_field));
  builder_.emplace(std::move(builder));
  plan.layers = 1;
  GRAB_ASSIGN_OR_RETURN(BatchBuilder sparse, BatchBuilder::Create(spec_.tokens, std::move(plan)));
  sparse_builder_.emplace(std::move(sparse));
  return CountItems();
}

Status Trainer::CountItems() {
  if (train_.objective != "next_item") return absl::OkStatus();
  const TokenSlot* slot = spec_.tokens.FindSlot(train_.next_item.field);
  if (slot == nullptr || !slot->partial) {
    return absl::InvalidArgumentError(absl::StrCat(
        "train.next_item.field: '", train_.next_item.field, "' is no field of partial tokens"));
  }
  GRAB_ASSIGN_OR_RETURN(ItemPopularity popularity,
                        ItemPopularity::Count(shards_, static_cast<size_t>(slot->fields[0])));
  popularity_.emplace(std::move(popularity));
  return absl::OkStatus();
}

// A run keeps the number of workers it began with: with another one, what follows would not be what
// an uninterrupted run computes.
Status Trainer::StartWorkers() {
  const Precision precision = train_.precision == "bf16" ? Precision::kBf16 : Precision::kF32;
  if (!Supported(precision)) {
    return absl::InvalidArgumentError(
        absl::StrCat("train.precision = \"", train_.precision,
                     "\": oneDNN has no such products on this machine"));
  }
  int64_t& threads = state_.counters.threads;
  if (options_.resume && train_.threads != 0 && train_.threads != threads) {
    return absl::InvalidArgumentError(absl::StrCat(
        options_.out_dir, ": was trained with ", threads, " threads, the config asks for ",
        train_.threads, "; resume with train.threads = ", threads, " or 0"));
  }
  if (!options_.resume) threads = train_.threads != 0 ? train_.threads : DefaultThreads();
  steps_.emplace(spec_, train_, task_weights_, popularity_.has_value() ? &*popularity_ : nullptr,
                 state_, static_cast<int>(threads), precision);
  return absl::OkStatus();
}

Status Trainer::Run() {
  GRAB_RETURN_IF_ERROR(Prepare());
  RunCounters& counters = state_.counters;
  while (!counters.finished) {
    GRAB_RETURN_IF_ERROR(RunStage());
    if (StepLimitReached()) return SaveCheckpoint();
    if (counters.finished) break;
    Advance();
  }
  GRAB_RETURN_IF_ERROR(SaveCheckpoint());
  return Finish();
}

// To the next stage, slice or pass.
void Trainer::Advance() {
  RunCounters& counters = state_.counters;
  counters.batches_in_stage = 0;
  if (++counters.stage < static_cast<int64_t>(stages_.size())) return;
  counters.stage = 0;
  if (++counters.slice < static_cast<int64_t>(slices_.size())) return;
  counters.slice = 0;
  counters.targets_in_pass = 0;
  counters.table_targets_in_pass = 0;
  counters.validations_in_pass = 0;
  counters.table_validations_in_pass = 0;
  counters.finished = ++counters.pass == train_.passes;
}

Status Trainer::RunStage() {
  RunCounters& counters = state_.counters;
  const bool sparse = stage() == Stage::kSparse;
  BatchStream stream(shards_, sparse ? *sparse_builder_ : *builder_, StageOptions());
  for (int64_t i = 0; i < counters.batches_in_stage; ++i) {
    GRAB_RETURN_IF_ERROR(stream.Skip().status());
  }
  targets_in_stage_ = 0;
  Prefetcher batches(stream, 4);
  progress_.Begin(
      absl::StrCat("train ", ModelKindName(spec_.kind), " pass ", counters.pass + 1, "/",
                   train_.passes, stages_.size() > 1 ? absl::StrCat(", ", StageName(stage())) : ""),
      "targets", static_cast<uint64_t>(targets_per_pass_));
  while (!counters.finished && !StepLimitReached()) {
    Stopwatch watch;
    GRAB_ASSIGN_OR_RETURN(const std::optional<Batch> batch, batches.Next());
    counters.wait_seconds += watch.Seconds();
    if (!batch.has_value()) break;
    watch.Restart();
    GRAB_ASSIGN_OR_RETURN(const StepResult result,
                          steps_->Step(stage(), *batch, RateFactor(*batch)));
    counters.train_seconds += watch.Seconds();
    GRAB_RETURN_IF_ERROR(AfterStep(result, batch->full.rows));
  }
  progress_.End("");
  return absl::OkStatus();
}

// Each side of the model has a schedule of its own, over the targets that train it.
double Trainer::RateFactor(const Batch& batch) const {
  const RunCounters& counters = state_.counters;
  const int64_t trained =
      batch.full.rows + (TrainsModel(stage()) ? counters.targets : counters.table_targets);
  return LearningRateFactor(train_, static_cast<double>(trained) /
                                        static_cast<double>(targets_per_pass_ * train_.passes));
}

Status Trainer::AfterStep(const StepResult& result, int64_t targets) {
  const RunCounters& counters = state_.counters;
  loss_sum_ += result.loss.total;
  ++loss_count_;
  targets_in_stage_ += targets;
  progress_.Update(static_cast<uint64_t>(targets_in_stage_),
                   absl::StrCat("loss ", loss_sum_ / static_cast<double>(loss_count_)));
  if (counters.step % kLogSteps == 0) GRAB_RETURN_IF_ERROR(LogStep(result));
  if (ValidationDue()) GRAB_RETURN_IF_ERROR(Validate());
  if (counters.step % train_.checkpoint_steps == 0 ||
      since_checkpoint_.Seconds() > 60.0 * train_.checkpoint_minutes) {
    return SaveCheckpoint();
  }
  return absl::OkStatus();
}

// Validations are spread evenly over the targets of a pass; the tables' own stage adds one at its
// end.
bool Trainer::ValidationDue() const {
  const RunCounters& counters = state_.counters;
  if (TrainsModel(stage())) {
    return counters.targets_in_pass * train_.validations_per_pass >=
           (counters.validations_in_pass + 1) * targets_per_pass_;
  }
  return counters.table_targets_in_pass >=
         (counters.table_validations_in_pass + 1) * targets_per_pass_;
}

Status Trainer::LogStep(const StepResult& result) {
  const RunCounters& counters = state_.counters;
  nlohmann::json line = {{"event", "step"},
                         {"step", counters.step},
                         {"pass", counters.pass},
                         {"slice", counters.slice},
                         {"stage", StageName(stage())},
                         {"targets", counters.targets},
                         {"table_targets", counters.table_targets},
                         {"tokens", counters.tokens},
                         {"loss", loss_sum_ / static_cast<double>(loss_count_)},
                         {"gradient_norm", result.gradient_norm},
                         {"step_peak_bytes", steps_->step_peak_bytes()},
                         {"train_seconds", counters.train_seconds},
                         {"wait_seconds", counters.wait_seconds}};
  if (train_.dual_loss.weight > 0.0) {
    line["dual_loss_weight"] =
        DualLossWeight(train_.dual_loss, counters.dual_loss, counters.targets);
  }
  loss_sum_ = 0.0;
  loss_count_ = 0;
  return log_->Write(line);
}

StatusOr<ScoreTable> Trainer::Score(Stage stage, const ScoreOptions& options, Progress& progress) {
  const auto forward = [&](const Batch& batch) -> StatusOr<std::vector<float>> {
    return steps_->Logits(stage, batch);
  };
  return ScoreSplit(shards_, spec_, config_.eval, options, forward, progress);
}

StatusOr<EvalReport> Trainer::ValidStageReport(Stage stage) {
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores,
                        Score(stage, {Split::kValid, false}, NoProgress()));
  GRAB_ASSIGN_OR_RETURN(EvalReport report, Evaluate(scores, config_.eval));
  if (report.tasks[0].metrics.logloss.has_value()) return report;
  return absl::InvalidArgumentError(absl::StrCat(
      options_.shards_dir, ": no validation target has a label of task '", spec_.tasks[0], "'"));
}

// The model itself is judged in every stage. It is the sequence stages that follow the tables, so
// only they can be told to stop for being worse.
Status Trainer::Validate() {
  RunCounters& counters = state_.counters;
  ++(TrainsModel(stage()) ? counters.validations_in_pass : counters.table_validations_in_pass);
  if (!Validates()) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const EvalReport report, ValidStageReport(Stage::kJoint));
  const double logloss = *report.tasks[0].metrics.logloss;
  const bool better = counters.best_step == 0 || logloss < counters.best_logloss;
  if (better) {
    counters.best_logloss = logloss;
    counters.best_step = counters.step;
    counters.worse_validations = 0;
    GRAB_RETURN_IF_ERROR(SaveRunState(state_, spec_, Path("best"), 1));
  } else if (TrainsModel(stage())) {
    ++counters.worse_validations;
  }
  if (train_.patience > 0 && counters.worse_validations >= train_.patience)
    counters.finished = true;
  nlohmann::json line = {{"event", "validation"},
                         {"step", counters.step},
                         {"pass", counters.pass},
                         {"slice", counters.slice},
                         {"stage", StageName(stage())},
                         {"targets", counters.targets},
                         {"table_targets", counters.table_targets},
                         {"metrics", ToJson(report)},
                         {"best", better},
                         {"stop", counters.finished}};
  if (stage() == Stage::kSparse) {
    GRAB_ASSIGN_OR_RETURN(const EvalReport head, ValidStageReport(Stage::kSparse));
    line["sparse_head_metrics"] = ToJson(head);
  }
  return log_->Write(line);
}

Status Trainer::SaveCheckpoint() {
  since_checkpoint_.Restart();
  GRAB_RETURN_IF_ERROR(SaveRunState(state_, spec_, Path("checkpoints"), train_.checkpoints_kept));
  return log_->Write({{"event", "checkpoint"}, {"step", state_.counters.step}});
}

Status Trainer::LogSkipped(const std::vector<std::string>& skipped) {
  for (const std::string& reason : skipped) {
    GRAB_RETURN_IF_ERROR(log_->Write({{"event", "damaged_checkpoint"}, {"reason", reason}}));
  }
  return absl::OkStatus();
}

StatusOr<nlohmann::json> Trainer::EvaluateSplit(Split split, bool frozen, const char* scores_file) {
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores, Score(Stage::kJoint, {split, frozen}, progress_));
  if (scores_file != nullptr) GRAB_RETURN_IF_ERROR(WriteScores(Path(scores_file), scores));
  GRAB_ASSIGN_OR_RETURN(const EvalReport report, Evaluate(scores, config_.eval));
  return ToJson(report)["tasks"];
}

// What the training itself was and cost.
nlohmann::json Trainer::RunMetrics() const {
  const RunCounters& counters = state_.counters;
  const StepSeconds& seconds = steps_->seconds();
  return {{"model", ModelKindName(spec_.kind)},
          {"mode", train_.mode},
          {"train_rows", targets_per_pass_},
          {"steps", counters.step},
          {"best_step", counters.best_step},
          {"train_tokens", counters.tokens},
          {"threads", counters.threads},
          {"step_peak_bytes", steps_->step_peak_bytes()},
          {"tokens_per_second", static_cast<double>(counters.tokens) / counters.train_seconds},
          {"train_seconds", counters.train_seconds},
          {"wait_seconds", counters.wait_seconds},
          {"step_seconds",
           {{"look_up", seconds.look_up},
            {"forward", seconds.forward},
            {"backward", seconds.backward},
            {"dense_update", seconds.dense_update},
            {"table_update", seconds.table_update}}},
          {"rows_hash", shards_.rows_hash()}};
}

Status Trainer::Finish() {
  nlohmann::json metrics = RunMetrics();
  if (state_.counters.best_step > 0) {
    std::vector<std::string> skipped;
    GRAB_RETURN_IF_ERROR(LoadRunState(Path("best"), spec_, train_, state_, skipped));
    GRAB_RETURN_IF_ERROR(LogSkipped(skipped));
  } else {
    GRAB_RETURN_IF_ERROR(SaveRunState(state_, spec_, Path("best"), 1));
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
  if (test_targets > 0 && train_.objective == "labels") {
    GRAB_RETURN_IF_ERROR(evaluate("test", Split::kTest, false, "test_scores.csv"));
    GRAB_RETURN_IF_ERROR(evaluate("test_frozen", Split::kTest, true, nullptr));
  }
  metrics["wall_seconds"] = wall_.Seconds();
  return WriteFileDurably(Path("metrics.json"), metrics.dump(1) + "\n");
}

}  // namespace

Status Train(const Config& config, const TrainOptions& options, Progress& progress) {
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(options.shards_dir));
  GRAB_ASSIGN_OR_RETURN(ModelSpec spec,
                        ModelSpec::FromConfig(config, options.kind, shards->schema()));
  if (spec.tasks.size() != config.tasks.size()) {
    return absl::InvalidArgumentError(absl::StrCat(options.shards_dir, ": has ", spec.tasks.size(),
                                                   " tasks, the config ", config.tasks.size(),
                                                   "; prepare again"));
  }
  GRAB_RETURN_IF_ERROR(MakeDirectories(options.out_dir));
  InstallTensorMemory();
  Trainer trainer(config, options, *shards, std::move(spec), progress);
  return trainer.Run();
}

}  // namespace grab
