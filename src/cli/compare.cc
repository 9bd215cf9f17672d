// grab compare: several models over several seeds on the same rows.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/compare_variants.h"
#include "cli/leak_checks.h"
#include "cli/report_attention.h"
#include "cli/search.h"

namespace grab {
namespace {

struct Options {
  JobOptions job;
  std::vector<std::string> models;
  std::string reference = "grab";
  int64_t search = 0;  // trials per model; 0: the config as it is
  bool without_permutation = false;
};

// Before the folder is begun, not after an hour of training.
Status CheckFeedback(const Config& config) {
  for (const SourceConfig& source : config.sources) {
    if (!source.feedback.empty()) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "source: none names its feedback columns, among whose rows the check for leaks permutes "
      "them; name them, or give --without-permutation");
}

StatusOr<std::vector<Variant>> ParseModels(const Options& options) {
  std::vector<std::string> names = options.models;
  if (names.empty()) {
    for (const ModelKind kind : kModelKinds) names.push_back(ModelKindName(kind));
    names.push_back("trees");
  }
  GRAB_ASSIGN_OR_RETURN(std::vector<Variant> variants, ParseVariants(names));
  if (std::count(names.begin(), names.end(), options.reference) == 1) return variants;
  return absl::InvalidArgumentError(
      absl::StrCat("--reference: '", options.reference, "' is not among --models"));
}

// The models with the settings that the search chose; a remark about each.
Status Search(const Job& job, int64_t trials, std::vector<Variant>& variants,
              std::vector<std::string>& remarks) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<ModelSearch> searches,
                        SearchSettings(job, variants, trials));
  for (size_t i = 0; i < variants.size(); ++i) {
    variants[i].settings = searches[i].trials[searches[i].chosen].settings;
    remarks.push_back(SummaryOf(searches[i]));
  }
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

Status Compare(const Options& options) {
  GRAB_ASSIGN_OR_RETURN(std::vector<Variant> variants, ParseModels(options));
  const bool permute = !options.without_permutation;
  if (permute) {
    GRAB_ASSIGN_OR_RETURN(const Config config, options.job.config.Load());
    GRAB_RETURN_IF_ERROR(CheckFeedback(config));
  }
  GRAB_ASSIGN_OR_RETURN(const Job job, Job::Begin(options.job));
  GRAB_RETURN_IF_ERROR(job.MakeShards());
  GRAB_ASSIGN_OR_RETURN(std::vector<Check> checks,
                        CheckForLeaks(job, variants, options.reference, permute));
  std::vector<std::string> remarks;
  if (options.search > 0) {
    GRAB_RETURN_IF_ERROR(Search(job, options.search, variants, remarks));
  }
  GRAB_ASSIGN_OR_RETURN(Comparison comparison, CompareVariants(job, variants, options.reference));
  MeasureAttention(job, variants, comparison);
  comparison.checks = std::move(checks);
  comparison.remarks = std::move(remarks);
  return WriteComparison(job, comparison);
}

}  // namespace

void AddCompare(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("compare", "Train several models on the same rows, compare");
  options->job.Add(*sub);
  sub->add_option("--models", options->models,
                  "Models to compare (docs/zoo.md): dlrm, din, sim, eta, twin, hstu, grab, trees; "
                  "default: all")
      ->delimiter(',')
      ->type_name("NAME,NAME,...");
  sub->add_option("--reference", options->reference, "The model that the others are held against")
      ->capture_default_str()
      ->type_name("NAME");
  constexpr int64_t kTrialsMax = 1000;
  sub->add_option("--search", options->search,
                  "Choose each model's settings first, among so many random ones around the config "
                  "(docs/protocols.md), by log-loss on the validation targets with the first seed")
      ->check(CLI::Range(int64_t{1}, kTrialsMax))
      ->type_name("N");
  sub->add_flag(
      "--without-permutation", options->without_permutation,
      "Do not train on permuted feedback: for logs whose feedback is no column, and where "
      "one more run of the reference costs too much");
  sub->footer(
      "The table is printed and in DIR/comparison.json and comparison.md; where the first GRAB "
      "looks is in DIR/attention.json (grab attention). A run that fails does "
      "not stop the others; --resume tries it again and skips those that are complete. Of a "
      "search, DIR/search.json has the trials and what was chosen. A check for leaks that fails "
      "(docs/protocols.md) makes the command fail when all is written.\n\n"
      "Examples:\n"
      "  grab compare --config configs/simulator.toml --out runs/zoo --seeds 1,2,3\n"
      "  grab compare --config configs/kuairand.toml --data ~/kuairand_pure_14d --out runs/zoo "
      "--models dlrm,twin,grab --seeds 1,2,3,4,5\n"
      "  grab compare --config configs/simulator.toml --out runs/tuned --seeds 1,2,3 --search 8");
  sub->callback([&command, options] { command = [options] { return Compare(*options); }; });
}

}  // namespace grab
