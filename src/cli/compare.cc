// grab compare: several models over several seeds on the same rows.
#include <algorithm>
#include <memory>

#include "cli/commands.h"
#include "cli/compare_variants.h"

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

Status Compare(const Options& options) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<ModelKind> kinds, ParseModels(options));
  GRAB_ASSIGN_OR_RETURN(const Job job, Job::Begin(options.job));
  std::vector<Variant> variants;
  for (const ModelKind kind : kinds) variants.push_back({ModelKindName(kind), kind, {}});
  return CompareVariants(job, variants, options.reference);
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
