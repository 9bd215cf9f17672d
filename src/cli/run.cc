// grab run: the main job.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/threads.h"
#include "checkpoint/checkpoint.h"
#include "cli/commands.h"
#include "cli/job.h"
#include "cli/results.h"
#include "config/config.h"
#include "data/shard.h"
#include "data/simulator.h"

namespace grab {
namespace {

constexpr ModelKind kModels[] = {ModelKind::kDlrm, ModelKind::kGrab};

Status ExportAndScore(const Job& job) {
  const Variant grab = VariantOf(ModelKind::kGrab);
  const std::string run = job.RunDir(grab.name, job.Seeds(grab)[0]);
  GRAB_ASSIGN_OR_RETURN(const LatestCheckpointResult exported, LatestCheckpoint(job.Path("model")));
  GRAB_RETURN_IF_ERROR(job.Step("export", exported.checkpoint.has_value(),
                                {"export", "--run", run, "--out", job.Path("model")}));
  return job.Step(
      "score", Exists(job.Path("score_parity.json")),
      {"score", "--model", job.Path("model"), "--shards", job.Path("shards"), "--split", "test",
       "--out", job.Path("scores.csv"), "--compare", JoinPath(run, "test_scores.csv")});
}

StatusOr<Results> Collect(const Job& job) {
  Results results;
  for (const ModelKind kind : kModels) {
    const Variant model = VariantOf(kind);
    std::vector<RunMetrics> runs;
    for (const int64_t seed : job.Seeds(model)) {
      GRAB_ASSIGN_OR_RETURN(RunMetrics run,
                            ReadRunMetrics(JoinPath(job.RunDir(model.name, seed), "metrics.json")));
      runs.push_back(std::move(run));
    }
    GRAB_ASSIGN_OR_RETURN(ModelResult mean, MeanOverSeeds(job.Seeds(model), runs));
    results.models.push_back(std::move(mean));
  }
  GRAB_ASSIGN_OR_RETURN(results.score_parity_max_abs_diff,
                        ReadScoreParity(job.Path("score_parity.json")));
  if (job.config().name == kSimulatorName && Exists(JoinPath(job.config().data_dir, "truth"))) {
    GRAB_ASSIGN_OR_RETURN(const int64_t from_ms, ParseTimeMs(job.config().split.test_from));
    GRAB_ASSIGN_OR_RETURN(const int64_t to_ms, ParseTimeMs(job.config().split.end));
    GRAB_ASSIGN_OR_RETURN(results.true_auc, TrueAuc(job.config().data_dir, from_ms, to_ms));
  }
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(job.Path("shards")));
  results.rows_hash = shards->rows_hash();
  results.commit = CommitOf(job.binary());
  results.cpu = CpuName();
  results.threads = DefaultThreads();
  return results;
}

Status Conclude(const Job& job) {
  GRAB_ASSIGN_OR_RETURN(const Results results, Collect(job));
  const std::string text =
      ToJson(results).dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  GRAB_RETURN_IF_ERROR(WriteFileDurably(job.Path("results.json"), text + "\n"));
  std::printf("\n%s%s\n", ToText(results).c_str(), job.Path("results.json").c_str());
  return absl::OkStatus();
}

Status RunJob(const JobOptions& options) {
  GRAB_ASSIGN_OR_RETURN(const Job job, Job::Begin(options));
  GRAB_RETURN_IF_ERROR(job.MakeShards());
  for (const ModelKind kind : kModels) {
    const Variant model = VariantOf(kind);
    for (const int64_t seed : job.Seeds(model)) GRAB_RETURN_IF_ERROR(job.Train(model, seed));
  }
  GRAB_RETURN_IF_ERROR(ExportAndScore(job));
  return Conclude(job);
}

}  // namespace

void AddRun(CLI::App& app, Command& command) {
  const auto options = std::make_shared<JobOptions>();
  CLI::App* sub = app.add_subcommand(
      "run", "The main job: prepare, train DLRM and GRAB, compare, export, score");
  options->Add(*sub);
  sub->footer(
      "Steps: simulate (config 'simulator' without --data: a new log in DIR/raw), prepare, train "
      "dlrm, train grab, "
      "export, score. The results are printed and in DIR/results.json.\n\n"
      "Examples:\n"
      "  grab run --config configs/simulator.toml --out runs/demo\n"
      "  grab run --config configs/kuairand.toml --data ~/kuairand_pure_14d --out runs/kuairand "
      "--seeds 1,2,3\n"
      "  grab run --config configs/kuairand.toml --data ~/kuairand_pure_14d --out runs/kuairand "
      "--seeds 1,2,3 --resume");
  sub->callback([&command, options] { command = [options] { return RunJob(*options); }; });
}

}  // namespace grab
