#include "cli/compare_variants.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/threads.h"
#include "cli/user_spread.h"
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

Status Verdict(const Comparison& comparison) {
  for (const Check& check : comparison.checks) {
    if (check.ok) continue;
    return absl::FailedPreconditionError(
        absl::StrFormat("check '%s' failed, the figures mean nothing: %.5g is more than %.5g: %s",
                        check.name, check.value, check.bound, check.what));
  }
  if (comparison.failed.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(comparison.failed.size(),
                                          " training runs failed; the others are compared. Repeat "
                                          "with --resume to try them again"));
}

}  // namespace

StatusOr<Comparison> CompareVariants(const Job& job, const std::vector<Variant>& variants,
                                     const std::string& reference) {
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
  for (const Variant& variant : variants) {
    GRAB_RETURN_IF_ERROR(AddVariant(job, variant, comparison));
  }
  CompareWithReference(comparison);
  GRAB_RETURN_IF_ERROR(AddUserSpread(job, comparison));
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(job.Path("shards")));
  comparison.rows_hash = shards->rows_hash();
  comparison.commit = CommitOf(job.binary());
  comparison.cpu = CpuName();
  comparison.threads = DefaultThreads();
  return comparison;
}

Status WriteComparison(const Job& job, const Comparison& comparison) {
  const std::string text =
      ToJson(comparison).dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  GRAB_RETURN_IF_ERROR(WriteFileDurably(job.Path("comparison.json"), text + "\n"));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(job.Path("comparison.md"), ToMarkdown(comparison)));
  std::printf("\n%s%s, comparison.md\n", ToText(comparison).c_str(),
              job.Path("comparison.json").c_str());
  return Verdict(comparison);
}

}  // namespace grab
