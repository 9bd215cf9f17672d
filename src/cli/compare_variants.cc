#include "cli/compare_variants.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/threads.h"
#include "cli/comparison.h"
#include "cli/report_attention.h"
#include "data/shard.h"

namespace grab {
namespace {

// A variant's runs that ended.
Status AddVariant(const Job& job, const Variant& variant, Comparison& comparison) {
  std::vector<int64_t> seeds;
  std::vector<RunMetrics> runs;
  for (const int64_t seed : job.Seeds(variant)) {
    const auto failed = [&](const FailedRun& run) {
      return run.model == variant.name && run.seed == seed;
    };
    if (std::any_of(comparison.failed.begin(), comparison.failed.end(), failed)) continue;
    GRAB_ASSIGN_OR_RETURN(RunMetrics run,
                          ReadRunMetrics(JoinPath(job.RunDir(variant.name, seed), "metrics.json")));
    run.model = variant.name;
    runs.push_back(std::move(run));
    seeds.push_back(seed);
  }
  if (runs.empty()) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(ModelResult mean, MeanOverSeeds(seeds, runs));
  comparison.models.push_back({std::move(mean), std::nullopt});
  return absl::OkStatus();
}

// Where the first GRAB looks, its first run that ended: for the report, so no more than a note is
// lost when it cannot be told.
void MeasureAttention(const Job& job, const std::vector<Variant>& variants,
                      const Comparison& comparison) {
  const auto grab = std::find_if(variants.begin(), variants.end(), [](const Variant& variant) {
    return variant.kind == ModelKind::kGrab;
  });
  if (grab == variants.end()) return;
  const auto compared = std::find_if(
      comparison.models.begin(), comparison.models.end(),
      [&](const ComparedModel& model) { return model.result.mean.model == grab->name; });
  if (compared == comparison.models.end()) return;
  const std::string out = job.Path(kAttentionFile);
  const std::string run = job.RunDir(grab->name, compared->result.seeds[0]);
  const Status status = job.Step("attention", Exists(out),
                                 {"attention", "--model", JoinPath(run, "best"), "--shards",
                                  job.Path("shards"), "--out", out});
  if (!status.ok()) std::fprintf(stderr, "grab: %s\n", std::string(status.message()).c_str());
}

Status Conclude(const Job& job, const std::vector<Variant>& variants, Comparison& comparison) {
  for (const Variant& variant : variants) {
    GRAB_RETURN_IF_ERROR(AddVariant(job, variant, comparison));
  }
  MeasureAttention(job, variants, comparison);
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

}  // namespace

Status CompareVariants(const Job& job, const std::vector<Variant>& variants,
                       const std::string& reference) {
  GRAB_RETURN_IF_ERROR(job.MakeShards());
  Comparison comparison;
  comparison.reference = reference;
  size_t rounds = 0;
  for (const Variant& variant : variants) {
    rounds = std::max(rounds, job.Seeds(variant).size());
  }
  for (size_t round = 0; round < rounds; ++round) {
    for (const Variant& variant : variants) {
      const int64_t seed = job.Seeds(variant)[round];
      const Status status = job.Train(variant, seed);
      if (status.ok()) continue;
      std::fprintf(stderr, "grab: %s\n", std::string(status.message()).c_str());
      comparison.failed.push_back({variant.name, seed, std::string(status.message())});
    }
  }
  return Conclude(job, variants, comparison);
}

}  // namespace grab
