#include "train/session.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/threads.h"
#include "checkpoint/model_files.h"
#include "config/config.h"
#include "train/table_options.h"
#include "train/warm_start.h"

namespace grab {
namespace {

constexpr int64_t kLogSteps = 10;
constexpr size_t kPrefetchedBatches = 4;

}  // namespace

TrainSession::TrainSession(const Config& config, const SessionOptions& options, ModelSpec spec,
                           Progress& progress)
    : config_(config),
      train_(RunConfigOf(config, options.kind).train),
      options_(options),
      spec_(std::move(spec)),
      progress_(progress),
      stages_(StagesOf(train_)),
      state_(spec_, train_) {
  for (const TaskConfig& task : config.tasks) task_weights_.push_back(task.weight);
}

std::string TrainSession::Path(absl::string_view name) const {
  return JoinPath(options_.out_dir, name);
}

Status TrainSession::Open(const ItemPopularity* popularity) {
  GRAB_RETURN_IF_ERROR(CheckTables(spec_, train_));
  GRAB_RETURN_IF_ERROR(MakeBuilders());
  std::vector<std::string> skipped;
  if (options_.resume) {
    GRAB_RETURN_IF_ERROR(LoadRunState(Path("checkpoints"), spec_, train_, state_, skipped));
    if (counters().stage >= static_cast<int64_t>(stages_.size())) {
      return absl::InvalidArgumentError(absl::StrCat(
          options_.out_dir, ": stands in stage ", counters().stage + 1, ", the config gives ",
          stages_.size(), "; resume with the mode it began with"));
    }
  } else if (Exists(Path(kSpecFile))) {
    return absl::AlreadyExistsError(
        absl::StrCat(options_.out_dir,
                     ": already holds a run; continue it with --resume or choose another --out"));
  }
  saved_step_ = counters().step;
  GRAB_RETURN_IF_ERROR(StartWorkers(popularity));
  GRAB_RETURN_IF_ERROR(MakeDirectories(Path("checkpoints")));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(Path("config.toml"), DumpConfig(config_)));
  GRAB_ASSIGN_OR_RETURN(log_, RunLog::Open(Path("log.jsonl")));
  GRAB_RETURN_IF_ERROR(log_->Write({{"event", "start"},
                                    {"step", counters().step},
                                    {"threads", counters().threads},
                                    {"precision", train_.precision}}));
  GRAB_RETURN_IF_ERROR(LogSkipped(skipped));
  if (!options_.resume) GRAB_RETURN_IF_ERROR(Begin());
  return WriteSpec(spec_, Path(kSpecFile));
}

// What a new run starts with.
Status TrainSession::Begin() {
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

Status TrainSession::MakeBuilders() {
  PackPlan plan = spec_.Plan();
  GRAB_ASSIGN_OR_RETURN(BatchBuilder builder,
                        BatchBuilder::Create(spec_.tokens, plan, {}, train_.pairwise.value_field));
  builder_.emplace(std::move(builder));
  plan.layers = 1;
  GRAB_ASSIGN_OR_RETURN(BatchBuilder sparse, BatchBuilder::Create(spec_.tokens, std::move(plan)));
  sparse_builder_.emplace(std::move(sparse));
  return absl::OkStatus();
}

// A run keeps the number of workers it began with: with another one, what follows would not be what
// an uninterrupted run computes.
Status TrainSession::StartWorkers(const ItemPopularity* popularity) {
  const Precision precision = train_.precision == "bf16" ? Precision::kBf16 : Precision::kF32;
  if (!Supported(precision)) {
    return absl::InvalidArgumentError(
        absl::StrCat("train.precision = \"", train_.precision,
                     "\": oneDNN has no such products on this machine"));
  }
  int64_t& threads = counters().threads;
  if (options_.resume && train_.threads != 0 && train_.threads != threads) {
    return absl::InvalidArgumentError(absl::StrCat(
        options_.out_dir, ": was trained with ", threads, " threads, the config asks for ",
        train_.threads, "; resume with train.threads = ", threads, " or 0"));
  }
  if (!options_.resume) threads = train_.threads != 0 ? train_.threads : DefaultThreads();
  steps_.emplace(spec_, train_, task_weights_, popularity, state_, static_cast<int>(threads),
                 precision);
  return absl::OkStatus();
}

StreamOptions TrainSession::StageOptions(const Slice& slice) {
  const bool sparse = stage() == Stage::kSparse;
  StreamOptions options;
  options.targets_only = !HasHistory(spec_.kind);
  options.split = slice.split;
  options.request_from_ms = slice.from_ms;
  options.request_to_ms = slice.to_ms;
  options.impressions = sparse ? train_.mode == "sts" : train_.batch == "impressions";
  options.shuffle = true;
  // Seeds are below 2^53, so another stage has another order.
  options.seed =
      static_cast<uint64_t>(train_.seed) + (static_cast<uint64_t>(counters().stage) << 53);
  options.pass = static_cast<uint64_t>(counters().pass);
  options.batch_tokens =
      static_cast<uint64_t>(sparse ? train_.sparse_batch_tokens : train_.batch_tokens);
  options.shuffle_blocks = static_cast<uint32_t>(train_.shuffle_blocks);
  options.window_size = static_cast<uint32_t>(train_.window_size);
  options.window_train = static_cast<uint32_t>(train_.window_train);
  return options;
}

StatusOr<bool> TrainSession::RunStage(LoadedBlocks& blocks, const Slice& slice,
                                      const StageRun& run) {
  BatchStream stream(blocks, stage() == Stage::kSparse ? *sparse_builder_ : *builder_,
                     StageOptions(slice));
  for (int64_t i = 0; i < counters().batches_in_stage; ++i) {
    GRAB_RETURN_IF_ERROR(stream.Skip().status());
  }
  targets_in_stage_ = 0;
  Prefetcher batches(stream, kPrefetchedBatches);
  progress_.Begin(
      stages_.size() > 1 ? absl::StrCat(run.label, ", ", StageName(stage())) : run.label, "targets",
      static_cast<uint64_t>(slice.targets));
  for (bool go_on = true; go_on;) {
    Stopwatch watch;
    GRAB_ASSIGN_OR_RETURN(std::optional<Batch> batch, batches.Next());
    counters().wait_seconds += watch.Seconds();
    if (!batch.has_value()) {
      progress_.End("");
      return true;
    }
    // Not right after a step: it may have been the stage's last, and a checkpoint stands before the
    // next one, wherever that is.
    if (run.checkpoints && CheckpointDue()) GRAB_RETURN_IF_ERROR(SaveCheckpoint().status());
    for (uint32_t& known : batch->labels_known) known &= run.labels;
    watch.Restart();
    GRAB_ASSIGN_OR_RETURN(const StepResult result,
                          steps_->Step(stage(), *batch, run.rates(*batch)));
    counters().train_seconds += watch.Seconds();
    GRAB_RETURN_IF_ERROR(AfterStep(result, batch->full.rows));
    GRAB_ASSIGN_OR_RETURN(go_on, run.after_step());
  }
  progress_.End("");
  return false;
}

bool TrainSession::CheckpointDue() {
  return counters().step - saved_step_ >= train_.checkpoint_steps ||
         since_checkpoint_.Seconds() > 60.0 * train_.checkpoint_minutes;
}

Status TrainSession::AfterStep(const StepResult& result, int64_t targets) {
  loss_sum_ += result.loss.total;
  ++loss_count_;
  targets_in_stage_ += targets;
  progress_.Update(static_cast<uint64_t>(targets_in_stage_),
                   absl::StrCat("loss ", loss_sum_ / static_cast<double>(loss_count_)));
  return counters().step % kLogSteps == 0 ? LogStep(result) : absl::OkStatus();
}

Status TrainSession::LogStep(const StepResult& result) {
  nlohmann::json line = {{"event", "step"},
                         {"step", counters().step},
                         {"pass", counters().pass},
                         {"slice", counters().slice},
                         {"stage", StageName(stage())},
                         {"targets", counters().targets},
                         {"table_targets", counters().table_targets},
                         {"tokens", counters().tokens},
                         {"loss", loss_sum_ / static_cast<double>(loss_count_)},
                         {"gradient_norm", result.gradient_norm},
                         {"step_peak_bytes", steps_->step_peak_bytes()},
                         {"train_seconds", counters().train_seconds},
                         {"wait_seconds", counters().wait_seconds},
                         {"tables", DescribeTables(state_.tables)}};
  if (train_.dual_loss.weight > 0.0) {
    line["dual_loss_weight"] =
        DualLossWeight(train_.dual_loss, counters().dual_loss, counters().targets);
  }
  loss_sum_ = 0.0;
  loss_count_ = 0;
  return log_->Write(line);
}

StatusOr<ScoreTable> TrainSession::Score(const ShardSet& shards, Stage stage,
                                         const ScoreOptions& options, Progress& progress) {
  const auto forward = [&](const Batch& batch) -> StatusOr<std::vector<float>> {
    return steps_->Logits(stage, batch);
  };
  return ScoreSplit(shards, spec_, config_.eval, options, forward, progress);
}

Status TrainSession::ScoreSlice(LoadedBlocks& blocks, const Slice& slice, ScoreTable& scores) {
  StreamOptions options;
  options.split = slice.split;
  options.request_from_ms = slice.from_ms;
  options.request_to_ms = slice.to_ms;
  options.batch_tokens = static_cast<uint64_t>(config_.eval.batch_tokens);
  options.shuffle_blocks = static_cast<uint32_t>(train_.shuffle_blocks);
  const auto forward = [&](const Batch& batch) -> StatusOr<std::vector<float>> {
    return steps_->Logits(Stage::kJoint, batch);
  };
  GRAB_ASSIGN_OR_RETURN(const BatchBuilder builder,
                        BatchBuilder::Create(spec_.tokens, spec_.Plan(), config_.eval.slices));
  BatchStream stream(blocks, builder, options);
  return ScoreStream(stream, forward, NoProgress(), scores);
}

StatusOr<bool> TrainSession::SaveCheckpoint() {
  since_checkpoint_.Restart();
  saved_step_ = counters().step;
  GRAB_ASSIGN_OR_RETURN(const bool saved,
                        SaveRunState(state_, spec_, Path("checkpoints"), train_.checkpoints_kept));
  GRAB_RETURN_IF_ERROR(log_->Write({{"event", "checkpoint"}, {"step", counters().step}}));
  return saved;
}

Status TrainSession::LogSkipped(const std::vector<std::string>& skipped) {
  for (const std::string& reason : skipped) {
    GRAB_RETURN_IF_ERROR(log_->Write({{"event", "damaged_checkpoint"}, {"reason", reason}}));
  }
  return absl::OkStatus();
}

nlohmann::json TrainSession::Metrics() {
  const StepSeconds& seconds = steps_->seconds();
  int64_t dense_weights = 0;
  for (const WeightSpec& weight : spec_.Weights()) dense_weights += weight.elements();
  return {{"model", ModelKindName(spec_.kind)},
          {"mode", train_.mode},
          {"steps", counters().step},
          {"best_step", counters().best_step},
          {"train_tokens", counters().tokens},
          {"threads", counters().threads},
          {"dense_weights", dense_weights},
          {"tables", DescribeTables(state_.tables)},
          {"step_peak_bytes", steps_->step_peak_bytes()},
          {"tokens_per_second", static_cast<double>(counters().tokens) / counters().train_seconds},
          {"train_seconds", counters().train_seconds},
          {"wait_seconds", counters().wait_seconds},
          {"step_seconds",
           {{"look_up", seconds.look_up},
            {"forward", seconds.forward},
            {"backward", seconds.backward},
            {"dense_update", seconds.dense_update},
            {"table_update", seconds.table_update}}}};
}

}  // namespace grab
