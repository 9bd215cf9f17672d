// grab compare: several models over several seeds on the same rows.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "cli/comparison.h"
#include "cli/job.h"
#include "data/shard.h"

namespace grab {
namespace {

struct Options {
  JobOptions job;
  std::vector<std::string> models;
  std::string reference = "grab";
};

StatusOr<std::vector<ModelKind>> ParseModels(const Options& options) {
  std::vector<ModelKind> kinds;
  for (const std::string& name : options.models) {
    GRAB_ASSIGN_OR_RETURN(const ModelKind kind, ParseModelKind(name));
    if (std::find(kinds.begin(), kinds.end(), kind) != kinds.end()) {
      return absl::InvalidArgumentError(absl::StrCat("--models: '", name, "' is given twice"));
    }
    kinds.push_back(kind);
  }
  if (kinds.empty()) kinds.assign(std::begin(kModelKinds), std::end(kModelKinds));
  GRAB_ASSIGN_OR_RETURN(const ModelKind reference, ParseModelKind(options.reference));
  if (std::find(kinds.begin(), kinds.end(), reference) != kinds.end()) return kinds;
  return absl::InvalidArgumentError(
      absl::StrCat("--reference: '", options.reference, "' is not among --models"));
}

// A model's runs that ended.
Status AddModel(const Job& job, ModelKind kind, Comparison& comparison) {
  std::vector<int64_t> seeds;
  std::vector<RunMetrics> runs;
  for (const int64_t seed : job.Seeds(kind)) {
    const auto failed = [&](const FailedRun& run) {
      return run.model == ModelKindName(kind) && run.seed == seed;
    };
    if (std::any_of(comparison.failed.begin(), comparison.failed.end(), failed)) continue;
    GRAB_ASSIGN_OR_RETURN(RunMetrics run,
                          ReadRunMetrics(JoinPath(job.RunDir(kind, seed), "metrics.json")));
    runs.push_back(std::move(run));
    seeds.push_back(seed);
  }
  if (runs.empty()) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(ModelResult mean, MeanOverSeeds(seeds, runs));
  comparison.models.push_back({std::move(mean), std::nullopt});
  return absl::OkStatus();
}

Status Conclude(const Job& job, const std::vector<ModelKind>& kinds, Comparison& comparison) {
  for (const ModelKind kind : kinds) GRAB_RETURN_IF_ERROR(AddModel(job, kind, comparison));
  CompareWithReference(comparison);
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(job.Path("shards")));
  comparison.rows_hash = shards->rows_hash();
  comparison.commit = CommitOf(job.binary());
  comparison.cpu = CpuName();
  comparison.threads = DefaultThreads();
  const std::string text =
      ToJson(comparison).dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  GRAB_RETURN_IF_ERROR(WriteFileDurably(job.Path("comparison.json"), text + "\n"));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(job.Path("comparison.md"), ToMarkdown(comparison)));
  std::printf("\n%s%s, comparison.md\n", ToText(comparison).c_str(),
              job.Path("comparison.json").c_str());
  if (comparison.failed.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(comparison.failed.size(),
                                          " training runs failed; the others are compared. Repeat "
                                          "with --resume to try them again"));
}

// Seed by seed, so that what there is when it is stopped can be compared.
Status Compare(const Options& options) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<ModelKind> kinds, ParseModels(options));
  GRAB_ASSIGN_OR_RETURN(const Job job, Job::Begin(options.job));
  GRAB_RETURN_IF_ERROR(job.MakeShards());
  Comparison comparison;
  comparison.reference = options.reference;
  size_t rounds = 0;
  for (const ModelKind kind : kinds) rounds = std::max(rounds, job.Seeds(kind).size());
  for (size_t round = 0; round < rounds; ++round) {
    for (const ModelKind kind : kinds) {
      const int64_t seed = job.Seeds(kind)[round];
      const Status status = job.Train(kind, seed);
      if (status.ok()) continue;
      std::fprintf(stderr, "grab: %s\n", std::string(status.message()).c_str());
      comparison.failed.push_back({ModelKindName(kind), seed, std::string(status.message())});
    }
  }
  return Conclude(job, kinds, comparison);
}

}  // namespace

void AddCompare(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("compare", "Train several models on the same rows, compare");
  options->job.Add(*sub);
  sub->add_option(
         "--models", options->models,
         "Models to compare (docs/zoo.md): dlrm, din, sim, eta, twin, hstu, grab; default: "
         "all")
      ->delimiter(',')
      ->type_name("NAME,NAME,...");
  sub->add_option("--reference", options->reference, "The model that the others are held against")
      ->capture_default_str()
      ->type_name("NAME");
  sub->footer(
      "The table is printed and in DIR/comparison.json and comparison.md. A run that fails does "
      "not "
      "stop the others; --resume tries it again and skips those that are complete.\n\n"
      "Examples:\n"
      "  grab compare --config configs/simulator.toml --out runs/zoo --seeds 1,2,3\n"
      "  grab compare --config configs/kuairand.toml --data ~/kuairand_pure_14d --out runs/zoo "
      "--models dlrm,twin,grab --seeds 1,2,3,4,5");
  sub->callback([&command, options] { command = [options] { return Compare(*options); }; });
}

}  // namespace grab
