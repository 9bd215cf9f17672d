#include "trees/trees_run.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/threads.h"
#include "batch/stream.h"
#include "config/config.h"
#include "eval/report.h"
#include "eval/score_split.h"
#include "model/spec.h"
#include "trees/booster.h"
#include "trees/running_counts.h"

namespace grab {
namespace {

// The targets of a split; of those of training only what has a label of a task that has trees.
struct Part {
  std::vector<uint32_t> events;  // in shard order
  std::vector<uint32_t> labels;
  std::vector<uint32_t> labels_known;
  std::optional<TreeRows> rows;  // none without targets
};

Part TargetsOf(const EventLog& log, size_t tasks, Split split) {
  // Tasks are at most 31, and come first.
  const uint32_t is_task = (1u << tasks) - 1;
  Part part;
  for (uint32_t i = 0; i < log.size(); ++i) {
    const uint32_t labels_known = static_cast<uint32_t>(log.outcomes_known[i]) & is_task;
    if (log.split[i] != split || (split == Split::kTrain && labels_known == 0)) continue;
    part.events.push_back(i);
    part.labels.push_back(static_cast<uint32_t>(log.outcomes[i]) & is_task);
    part.labels_known.push_back(labels_known);
  }
  return part;
}

struct LabelCounts {
  uint64_t known = 0;
  uint64_t positives = 0;
};

LabelCounts CountLabels(const Part& part, size_t task) {
  LabelCounts counts;
  for (size_t i = 0; i < part.labels.size(); ++i) {
    counts.known += part.labels_known[i] >> task & 1;
    counts.positives += part.labels[i] >> task & 1;
  }
  return counts;
}

class TreesRun {
 public:
  TreesRun(const Config& config, const TreesOptions& options, const ShardSet& shards,
           ModelSpec spec, FeaturePlan plan, Progress& progress)
      : config_(config),
        options_(options),
        shards_(shards),
        spec_(std::move(spec)),
        plan_(std::move(plan)),
        progress_(progress),
        memory_(config.trees.memory_limit_mb),
        threads_(config.trees.threads > 0 ? static_cast<int>(config.trees.threads)
                                          : DefaultThreads()) {}

  Status Run();

 private:
  std::string Path(absl::string_view name) const { return JoinPath(options_.out_dir, name); }
  Status Count();
  Status MakeRows(Part& part, absl::Span<const float> values);
  Status Fit();
  Status FitTask(size_t task);
  Status EvaluateAll();
  Status EvaluatePart(const char* name, const TreeRows& rows, const ScoreOptions& options,
                      const char* scores_file);

  const Config& config_;
  const TreesOptions& options_;
  const ShardSet& shards_;
  const ModelSpec spec_;  // DLRM's less the auxiliary tasks, for score files: tasks and slices
  const FeaturePlan plan_;
  Progress& progress_;
  MemoryBudget memory_;
  const int threads_;
  Part train_, valid_, test_;
  std::optional<TreeRows> test_frozen_;
  std::vector<Booster> boosters_;  // per task
  nlohmann::json metrics_;
  Stopwatch wall_;
};

Status TreesRun::MakeRows(Part& part, absl::Span<const float> values) {
  if (values.empty()) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(part.rows, TreeRows::Create(values, plan_.names, threads_));
  return absl::OkStatus();
}

// From the shards to rows of features; the log and its counts are gone afterwards.
Status TreesRun::Count() {
  GRAB_ASSIGN_OR_RETURN(const EventLog log, LoadEventLog(shards_, plan_, memory_, progress_));
  std::vector<uint32_t> events;
  for (const auto& [part, split] :
       {std::pair{&train_, Split::kTrain}, {&valid_, Split::kValid}, {&test_, Split::kTest}}) {
    *part = TargetsOf(log, plan_.tasks, split);
    events.insert(events.end(), part->events.begin(), part->events.end());
  }
  if (train_.events.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(shards_.dir(), ": has no training targets with labels"));
  }
  const auto rows = static_cast<double>(events.size() + test_.events.size());  // frozen ones too
  const double value_bytes = sizeof(float) + kBoosterBytesPerValue;
  GRAB_RETURN_IF_ERROR(memory_.Take(
      CountBytes(log, plan_) + rows * static_cast<double>(plan_.columns()) * value_bytes,
      absl::StrCat(shards_.dir(), ": counts, and ", plan_.columns(), " features of ", events.size(),
                   " targets")));
  progress_.Begin("running counts", "targets", events.size());
  const std::vector<float> values = RunningFeatures(log, plan_, events);
  absl::Span<const float> rest = values;
  for (Part* part : {&train_, &valid_, &test_}) {
    const size_t size = part->events.size() * plan_.columns();
    GRAB_RETURN_IF_ERROR(MakeRows(*part, rest.first(size)));
    rest.remove_prefix(size);
  }
  if (!test_.events.empty()) {
    GRAB_ASSIGN_OR_RETURN(const int64_t first_ms, FirstRequestMs(shards_, Split::kTest));
    const std::vector<float> frozen = RunningFeatures(log, plan_, test_.events, first_ms);
    GRAB_ASSIGN_OR_RETURN(test_frozen_, TreeRows::Create(frozen, plan_.names, threads_));
  }
  progress_.Update(events.size(), "");
  progress_.End(absl::StrCat(plan_.columns(), " features each"));
  uint64_t cells = 0;
  for (const EventLog::Cells& counter : log.cells) cells += counter.count;
  metrics_["features"] = plan_.columns();
  metrics_["tables"] = {{"rows", cells},
                        {"bytes", cells * sizeof(uint32_t) * (1 + 2 * plan_.outcomes.size())}};
  return absl::OkStatus();
}

Status TreesRun::FitTask(size_t task) {
  const std::string& name = spec_.tasks[task];
  const LabelCounts labels = CountLabels(train_, task);
  if (labels.known == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(shards_.dir(), ": no training target has a label of task '", name, "'"));
  }
  GRAB_RETURN_IF_ERROR(train_.rows->SetLabels(train_.labels, train_.labels_known, task));
  const TreeRows* valid = nullptr;
  if (CountLabels(valid_, task).known > 0) {
    GRAB_RETURN_IF_ERROR(valid_.rows->SetLabels(valid_.labels, valid_.labels_known, task));
    valid = &*valid_.rows;
  }
  progress_.Begin(absl::StrCat("trees of ", name), "trees",
                  static_cast<uint64_t>(config_.trees.rounds_max));
  const double base_rate =
      static_cast<double>(labels.positives) / static_cast<double>(labels.known);
  GRAB_ASSIGN_OR_RETURN(Booster booster,
                        Booster::Fit(config_.trees, threads_, *train_.rows, base_rate, valid,
                                     [&](int64_t rounds, double loss) {
                                       progress_.Update(static_cast<uint64_t>(rounds),
                                                        absl::StrCat("valid log-loss ", loss));
                                     }));
  progress_.End(absl::StrCat(booster.fit().best_rounds, " trees kept"));
  GRAB_ASSIGN_OR_RETURN(const std::string bytes, booster.Serialized());
  GRAB_RETURN_IF_ERROR(WriteFileDurably(Path(name + ".ubj"), bytes));
  metrics_["trees"][name] = {{"grown", booster.fit().rounds}, {"kept", booster.fit().best_rounds}};
  boosters_.push_back(std::move(booster));
  return absl::OkStatus();
}

Status TreesRun::Fit() {
  const Stopwatch watch;
  uint64_t nodes = 0;
  for (size_t task = 0; task < spec_.tasks.size(); ++task) {
    GRAB_RETURN_IF_ERROR(FitTask(task));
    GRAB_ASSIGN_OR_RETURN(const uint64_t task_nodes, boosters_.back().Nodes());
    nodes += task_nodes;
  }
  metrics_["train_seconds"] = watch.Seconds();
  metrics_["dense_weights"] = nodes;
  return absl::OkStatus();
}

// Of each evaluation the main task stands by itself; "tasks" holds all of them.
Status TreesRun::EvaluatePart(const char* name, const TreeRows& rows, const ScoreOptions& options,
                              const char* scores_file) {
  std::vector<std::vector<float>> logits;
  for (const Booster& booster : boosters_) {
    GRAB_ASSIGN_OR_RETURN(logits.emplace_back(), booster.Logits(rows));
  }
  size_t row = 0;
  const auto forward = [&](const UserBlock&, uint32_t, const std::vector<uint32_t>& targets,
                           float* out) {
    for (size_t i = 0; i < targets.size(); ++i, ++row) {
      for (const std::vector<float>& task : logits) *out++ = task[row];
    }
    return absl::OkStatus();
  };
  GRAB_ASSIGN_OR_RETURN(const ScoreTable scores, ScoreSplitByUser(shards_, spec_, config_.eval,
                                                                  options, forward, NoProgress()));
  GRAB_CHECK(row == rows.rows());
  if (scores_file != nullptr) GRAB_RETURN_IF_ERROR(WriteScores(Path(scores_file), scores));
  GRAB_ASSIGN_OR_RETURN(const EvalReport report,
                        EvaluateTargets(shards_, options.split, scores, config_.eval));
  const nlohmann::json tasks = ToJson(report)["tasks"];
  metrics_[name] = tasks[0];
  if (tasks.size() > 1) metrics_["tasks"][name] = tasks;
  return absl::OkStatus();
}

Status TreesRun::EvaluateAll() {
  if (valid_.rows.has_value()) {
    GRAB_RETURN_IF_ERROR(
        EvaluatePart("valid", *valid_.rows, {Split::kValid, false}, "valid_scores.csv"));
  }
  metrics_["scores_per_second"] = 0.0;
  if (!test_.rows.has_value()) return absl::OkStatus();
  const Stopwatch scoring;
  GRAB_RETURN_IF_ERROR(EvaluatePart("test", *test_.rows, {Split::kTest, false}, "test_scores.csv"));
  metrics_["scores_per_second"] = static_cast<double>(test_.events.size()) / scoring.Seconds();
  return EvaluatePart("test_frozen", *test_frozen_, {Split::kTest, true}, nullptr);
}

Status TreesRun::Run() {
  GRAB_RETURN_IF_ERROR(WriteFileDurably(Path("config.toml"), DumpConfig(config_)));
  GRAB_RETURN_IF_ERROR(Count());
  GRAB_RETURN_IF_ERROR(Fit());
  GRAB_RETURN_IF_ERROR(EvaluateAll());
  metrics_["model"] = "trees";
  metrics_["threads"] = threads_;
  metrics_["rows_hash"] = shards_.rows_hash();
  metrics_["train_rows"] = train_.events.size();
  metrics_["test_rows"] = test_.events.size();
  metrics_["tokens_per_second"] = 0.0;  // trees read no tokens
  metrics_["wall_seconds"] = wall_.Seconds();
  return WriteFileDurably(Path("metrics.json"), metrics_.dump(1) + "\n");
}

}  // namespace

Status TrainTrees(const Config& config, const TreesOptions& options, Progress& progress) {
  if (Exists(JoinPath(options.out_dir, "metrics.json"))) {
    return absl::AlreadyExistsError(
        absl::StrCat(options.out_dir, ": already holds a run; choose another --out"));
  }
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(options.shards_dir));
  GRAB_ASSIGN_OR_RETURN(ModelSpec spec,
                        ModelSpec::FromConfig(config, ModelKind::kDlrm, shards->schema()));
  StatusOr<FeaturePlan> plan = FeaturePlan::Create(config, spec.tokens);
  if (!plan.ok()) return Annotate(plan.status(), options.shards_dir);
  spec.tasks.resize(plan->tasks);
  GRAB_RETURN_IF_ERROR(MakeDirectories(options.out_dir));
  TreesRun run(config, options, *shards, std::move(spec), *std::move(plan), progress);
  return run.Run();
}

}  // namespace grab
