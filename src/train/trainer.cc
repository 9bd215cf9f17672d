#include "train/trainer.h"

#include <cmath>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/threads.h"
#include "batch/stream.h"
#include "checkpoint/model_files.h"
#include "config/config.h"
#include "embedding/maintain.h"
#include "eval/report.h"
#include "eval/score_split.h"
#include "eval/scores.h"
#include "train/data_parallel.h"
#include "train/run_log.h"
#include "train/run_state.h"
#include "train/schedule.h"
#include "train/sparse.h"
#include "train/table_options.h"
#include "train/tensor_memory.h"

namespace grab {
namespace {

constexpr int64_t kLogSteps = 10;

// The rows of a batch, for the message of a step that went wrong.
std::string DescribeBatch(const Batch& batch) {
  std::string text = absl::StrCat(batch.full.rows, " full and ", batch.partial.rows,
                                  " partial tokens, first events");
  for (size_t i = 0; i < std::min<size_t>(batch.event_id.size(), 5); ++i) {
    absl::StrAppend(&text, " ", absl::Hex(batch.event_id[i]), " (user ",
                    absl::Hex(batch.user_key[i]), ")");
  }
  return text;
}

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
        state_(spec_, train_),
        lookup_(spec_.tokens),
        targets_per_pass_(static_cast<int64_t>(CountTargets(shards, Split::kTrain))),
        valid_targets_(static_cast<int64_t>(CountTargets(shards, Split::kValid))) {
    for (const TaskConfig& task : config.tasks) task_weights_.push_back(task.weight);
  }

  Status Run();

 private:
  std::string Path(const char* name) const { return JoinPath(options_.out_dir, name); }
  StreamOptions PassOptions() const;
  Status Prepare();
  Status RunPass();
  StatusOr<double> Step(const Batch& batch);
  StatusOr<ScoreTable> Score(const ScoreOptions& options, Progress& progress);
  Status AfterStep(double loss);
  Status Validate();
  Status SaveCheckpoint();
  Status StartWorkers();
  Status LogSkipped(const std::vector<std::string>& skipped);
  Status Finish();
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
  RunState state_;
  Lookup lookup_;
  std::optional<DataParallel> workers_;
  std::vector<double> task_weights_;
  int64_t targets_per_pass_;
  int64_t valid_targets_;
  std::unique_ptr<RunLog> log_;
  std::optional<BatchBuilder> builder_;
  Stopwatch wall_;
  Stopwatch since_checkpoint_;
  int64_t first_step_ = 0;
  double gradient_norm_ = 0.0;
  int64_t step_peak_bytes_ = 0;  // tensors of a step beside weights and moments; the most so far
  double loss_sum_ = 0.0;
  int64_t loss_count_ = 0;
};

StreamOptions Trainer::PassOptions() const {
  StreamOptions options;
  options.split = Split::kTrain;
  options.impressions = train_.batch == "impressions";
  options.shuffle = true;
  options.seed = static_cast<uint64_t>(train_.seed);
  options.pass = static_cast<uint64_t>(state_.counters.pass);
  options.batch_tokens = static_cast<uint64_t>(train_.batch_tokens);
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
  GRAB_ASSIGN_OR_RETURN(BatchBuilder builder, BatchBuilder::Create(spec_.tokens, spec_.Plan()));
  builder_.emplace(std::move(builder));
  const std::string checkpoints = Path("checkpoints");
  std::vector<std::string> skipped;
  if (options_.resume) {
    GRAB_RETURN_IF_ERROR(LoadRunState(checkpoints, spec_, train_, state_, skipped));
  } else if (Exists(Path(kSpecFile))) {
    return absl::AlreadyExistsError(
        absl::StrCat(options_.out_dir,
                     ": already holds a run; continue it with --resume or choose another --out"));
  }
  GRAB_RETURN_IF_ERROR(StartWorkers());
  GRAB_RETURN_IF_ERROR(MakeDirectories(checkpoints));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(Path("config.toml"), DumpConfig(config_)));
  GRAB_RETURN_IF_ERROR(WriteSpec(spec_, Path(kSpecFile)));
  GRAB_ASSIGN_OR_RETURN(log_, RunLog::Open(Path("log.jsonl")));
  first_step_ = state_.counters.step;
  GRAB_RETURN_IF_ERROR(log_->Write({{"event", "start"},
                                    {"step", state_.counters.step},
                                    {"threads", state_.counters.threads},
                                    {"precision", train_.precision}}));
  return LogSkipped(skipped);
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
  workers_.emplace(spec_, state_.net, static_cast<int>(threads), precision);
  return absl::OkStatus();
}

Status Trainer::Run() {
  GRAB_RETURN_IF_ERROR(Prepare());
  RunCounters& counters = state_.counters;
  while (!counters.finished) {
    GRAB_RETURN_IF_ERROR(RunPass());
    if (StepLimitReached()) return SaveCheckpoint();
    if (counters.finished) break;
    ++counters.pass;
    counters.batches_in_pass = 0;
    counters.targets_in_pass = 0;
    counters.validations_in_pass = 0;
    counters.finished = counters.pass == train_.passes;
  }
  GRAB_RETURN_IF_ERROR(SaveCheckpoint());
  return Finish();
}

Status Trainer::RunPass() {
  RunCounters& counters = state_.counters;
  BatchStream stream(shards_, *builder_, PassOptions());
  for (int64_t i = 0; i < counters.batches_in_pass; ++i) {
    GRAB_RETURN_IF_ERROR(stream.Skip().status());
  }
  Prefetcher batches(stream, 4);
  progress_.Begin(absl::StrCat("train ", ModelKindName(spec_.kind), " pass ", counters.pass + 1,
                               "/", train_.passes),
                  "targets", static_cast<uint64_t>(targets_per_pass_));
  while (!counters.finished && !StepLimitReached()) {
    GRAB_ASSIGN_OR_RETURN(const std::optional<Batch> batch, batches.Next());
    if (!batch.has_value()) break;
    const Stopwatch watch;
    GRAB_ASSIGN_OR_RETURN(const double loss, Step(*batch));
    counters.train_seconds += watch.Seconds();
    GRAB_RETURN_IF_ERROR(AfterStep(loss));
  }
  progress_.End("");
  return absl::OkStatus();
}

StatusOr<double> Trainer::Step(const Batch& batch) {
  RunCounters& counters = state_.counters;
  for (const int64_t request_ms : batch.request_time_ms) {
    counters.newest_request_s = std::max(counters.newest_request_s, request_ms / 1000);
  }
  LookupOptions lookup_options;
  lookup_options.id_dropout = train_.id_dropout;
  lookup_options.seed =
      HashCombine(static_cast<uint64_t>(train_.seed), static_cast<uint64_t>(counters.step));
  lookup_options.now_s = ClockSeconds(counters.newest_request_s);
  lookup_options.tables_bytes_max = static_cast<uint64_t>(train_.tables_bytes_max);
  lookup_options.pool = &workers_->pool();
  const BatchLookup lookup = lookup_.FindOrInsert(batch, lookup_options, state_.tables);
  ResetTensorMemoryPeak();
  const int64_t before = ReadTensorMemory().in_use;
  const std::vector<torch::Tensor> rows = GatherRows(state_.tables, lookup, true, torch::kFloat32, &workers_->pool());
  const double value = workers_->Backward(batch, lookup, rows, task_weights_);
  gradient_norm_ = GradientNorm(state_.net.weights(), workers_->pool());
  if (!std::isfinite(value) || !std::isfinite(gradient_norm_)) {
    return absl::DataLossError(absl::StrCat(
        "step ", counters.step, ", pass ", counters.pass, ", batch ", counters.batches_in_pass,
        ": loss is ", value, ", gradient norm ", gradient_norm_, "; batch: ", DescribeBatch(batch),
        ". Nothing was updated; lower the learning rates or check the numbers of these events"));
  }
  counters.step += 1;
  counters.batches_in_pass += 1;
  counters.targets_in_pass += batch.full.rows;
  counters.targets += batch.full.rows;
  counters.tokens += static_cast<int64_t>(batch.tokens());
  const double factor =
      LearningRateFactor(train_, static_cast<double>(counters.targets) /
                                     static_cast<double>(targets_per_pass_ * train_.passes));
  state_.optimiser.Step(train_.dense_lr * factor, ClipFactor(gradient_norm_, train_.clip_norm),
                        workers_->pool());
  UpdateRows(lookup, rows, factor, state_.tables, workers_->pool());
  MaintainTables(lookup_options.now_s, lookup_options.tables_bytes_max, state_.tables,
                 &workers_->pool());
  const TensorMemory memory = ReadTensorMemory();
  step_peak_bytes_ = std::max(step_peak_bytes_, memory.peak - before);
  return value;
}

Status Trainer::AfterStep(double loss) {
  RunCounters& counters = state_.counters;
  loss_sum_ += loss;
  ++loss_count_;
  progress_.Update(static_cast<uint64_t>(counters.targets_in_pass),
                   absl::StrCat("loss ", loss_sum_ / static_cast<double>(loss_count_)));
  if (counters.step % kLogSteps == 0) {
    GRAB_RETURN_IF_ERROR(log_->Write({{"event", "step"},
                                      {"step", counters.step},
                                      {"pass", counters.pass},
                                      {"targets", counters.targets},
                                      {"tokens", counters.tokens},
                                      {"loss", loss_sum_ / static_cast<double>(loss_count_)},
                                      {"gradient_norm", gradient_norm_},
                                      {"step_peak_bytes", step_peak_bytes_},
                                      {"tables", DescribeTables(state_.tables)},
                                      {"train_seconds", counters.train_seconds}}));
    loss_sum_ = 0.0;
    loss_count_ = 0;
  }
  const bool due = counters.targets_in_pass * train_.validations_per_pass >=
                   (counters.validations_in_pass + 1) * targets_per_pass_;
  if (due) GRAB_RETURN_IF_ERROR(Validate());
  if (counters.step % train_.checkpoint_steps == 0 ||
      since_checkpoint_.Seconds() > 60.0 * train_.checkpoint_minutes) {
    return SaveCheckpoint();
  }
  return absl::OkStatus();
}

StatusOr<ScoreTable> Trainer::Score(const ScoreOptions& options, Progress& progress) {
  const auto forward = [&](const Batch& batch) -> StatusOr<std::vector<float>> {
    const BatchLookup lookup = lookup_.Find(batch, state_.tables);
    return workers_->Logits(batch, lookup, GatherRows(state_.tables, lookup, false));
  };
  return ScoreSplit(shards_, spec_, config_.eval, options, forward, progress);
}

Status Trainer::Validate() {
  RunCounters& counters = state_.counters;
  ++counters.validations_in_pass;
  if (valid_targets_ == 0) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores, Score({Split::kValid, false}, NoProgress()));
  GRAB_ASSIGN_OR_RETURN(const EvalReport report, Evaluate(scores, config_.eval));
  const Metrics& metrics = report.tasks[0].metrics;
  if (!metrics.logloss.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options_.shards_dir, ": no validation target has a label of task '", spec_.tasks[0], "'"));
  }
  const bool better = counters.best_step == 0 || *metrics.logloss < counters.best_logloss;
  if (better) {
    counters.best_logloss = *metrics.logloss;
    counters.best_step = counters.step;
    counters.worse_validations = 0;
    GRAB_RETURN_IF_ERROR(SaveRunState(state_, spec_, Path("best"), 1));
  } else {
    ++counters.worse_validations;
  }
  if (train_.patience > 0 && counters.worse_validations >= train_.patience)
    counters.finished = true;
  return log_->Write({{"event", "validation"},
                      {"step", counters.step},
                      {"pass", counters.pass},
                      {"targets", counters.targets},
                      {"metrics", ToJson(report)},
                      {"best", better},
                      {"stop", counters.finished}});
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
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores, Score({split, frozen}, progress_));
  if (scores_file != nullptr) GRAB_RETURN_IF_ERROR(WriteScores(Path(scores_file), scores));
  GRAB_ASSIGN_OR_RETURN(const EvalReport report, Evaluate(scores, config_.eval));
  return ToJson(report)["tasks"];
}

Status Trainer::Finish() {
  const RunCounters counters = state_.counters;
  if (counters.best_step > 0) {
    std::vector<std::string> skipped;
    GRAB_RETURN_IF_ERROR(LoadRunState(Path("best"), spec_, train_, state_, skipped));
    GRAB_RETURN_IF_ERROR(LogSkipped(skipped));
  } else {
    GRAB_RETURN_IF_ERROR(SaveRunState(state_, spec_, Path("best"), 1));
  }
  nlohmann::json metrics = {
      {"model", ModelKindName(spec_.kind)},
      {"train_rows", targets_per_pass_},
      {"steps", counters.step},
      {"best_step", counters.best_step},
      {"train_tokens", counters.tokens},
      {"threads", counters.threads},
      {"step_peak_bytes", step_peak_bytes_},
      {"tokens_per_second", static_cast<double>(counters.tokens) / counters.train_seconds},
      {"rows_hash", shards_.rows_hash()}};
  // Of each evaluation the main task stands by itself; "tasks" holds all of them.
  const auto evaluate = [&](const char* name, Split split, bool frozen,
                            const char* scores_file) -> Status {
    GRAB_ASSIGN_OR_RETURN(const nlohmann::json tasks, EvaluateSplit(split, frozen, scores_file));
    metrics[name] = tasks[0];
    if (tasks.size() > 1) metrics["tasks"][name] = tasks;
    return absl::OkStatus();
  };
  if (valid_targets_ > 0) {
    GRAB_RETURN_IF_ERROR(evaluate("valid", Split::kValid, false, "valid_scores.csv"));
  }
  const auto test_targets = static_cast<int64_t>(CountTargets(shards_, Split::kTest));
  metrics["test_rows"] = test_targets;
  if (test_targets > 0) {
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
  GRAB_RETURN_IF_ERROR(CheckTables(
      spec, options.kind == ModelKind::kDlrm ? config.dlrm.train : config.grab.train));
  GRAB_RETURN_IF_ERROR(MakeDirectories(options.out_dir));
  InstallTensorMemory();
  Trainer trainer(config, options, *shards, std::move(spec), progress);
  return trainer.Run();
}

}  // namespace grab
