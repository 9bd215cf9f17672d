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

StatusOr<std::vector<Variant>> ParseModels(const Options& options) {
  std::vector<std::string> names = options.models;
  if (names.empty()) {
    for (const ModelKind kind : kModelKinds) names.push_back(ModelKindName(kind));
    names.push_back("trees");
  }
  std::vector<Variant> variants;
  for (const std::string& name : names) {
    if (std::count(names.begin(), names.end(), name) > 1) {
      return absl::InvalidArgumentError(absl::StrCat("--models: '", name, "' is given twice"));
    }
    GRAB_ASSIGN_OR_RETURN(variants.emplace_back(), ParseVariant(name));
  }
  if (std::count(names.begin(), names.end(), options.reference) == 1) return variants;
  return absl::InvalidArgumentError(
      absl::StrCat("--reference: '", options.reference, "' is not among --models"));
}

Status Compare(const Options& options) {
  GRAB_ASSIGN_OR_RETURN(const std::vector<Variant> variants, ParseModels(options));
  GRAB_ASSIGN_OR_RETURN(const Job job, Job::Begin(options.job));
  return CompareVariants(job, variants, options.reference);
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
  sub->footer(
      "The table is printed and in DIR/comparison.json and comparison.md; where the first GRAB "
      "looks "
      "is in DIR/attention.json (grab attention). A run that fails does not stop the others; "
      "--resume "
      "tries it again and skips those that are complete.\n\n"
      "Examples:\n"
      "  grab compare --config configs/simulator.toml --out runs/zoo --seeds 1,2,3\n"
      "  grab compare --config configs/kuairand.toml --data ~/kuairand_pure_14d --out runs/zoo "
      "--models dlrm,twin,grab --seeds 1,2,3,4,5");
  sub->callback([&command, options] { command = [options] { return Compare(*options); }; });
}

}  // namespace grab
