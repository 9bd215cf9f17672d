// grab scale: models against the length of history, their size, or the data.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/compare_variants.h"
#include "cli/scaling.h"

namespace grab {
namespace {

struct Options {
  JobOptions job;
  std::vector<std::string> models;
  std::string along;
  std::vector<double> values;
};

// What is asked for, checked as far as it can be before there are shards.
struct Plan {
  ScaleAxis axis = ScaleAxis::kHistory;
  std::vector<double> values;
  std::vector<Variant> models;
};

StatusOr<Plan> MakePlan(const Options& options) {
  Plan plan;
  GRAB_ASSIGN_OR_RETURN(plan.axis, ParseScaleAxis(options.along));
  plan.values = options.values.empty() ? DefaultValues(plan.axis) : options.values;
  if (std::adjacent_find(plan.values.begin(), plan.values.end(), std::greater_equal<>()) !=
      plan.values.end()) {
    return absl::InvalidArgumentError("--values: expected numbers that ascend");
  }
  if (!options.models.empty()) {
    GRAB_ASSIGN_OR_RETURN(plan.models, ParseVariants(options.models));
    return plan;
  }
  // GRAB, the last of the kinds, first.
  for (auto kind = std::rbegin(kModelKinds); kind != std::rend(kModelKinds); ++kind) {
    if (HasAxis(*kind, plan.axis)) plan.models.push_back(VariantOf(*kind));
  }
  return plan;
}

// Of every model all values, in order. Without shards only to check them.
StatusOr<std::vector<Variant>> ScaledVariants(const Config& config, const Plan& plan,
                                              const ShardSet* shards) {
  std::vector<Variant> variants;
  for (const Variant& model : plan.models) {
    TrainingTime time;
    if (shards != nullptr && plan.axis == ScaleAxis::kData && model.kind.has_value()) {
      GRAB_ASSIGN_OR_RETURN(time, TrainingTimeOf(*shards, RunConfigOf(config, *model.kind).train));
    }
    for (const double value : plan.values) {
      GRAB_ASSIGN_OR_RETURN(variants.emplace_back(),
                            ScaledVariant(config, model, plan.axis, value, time));
    }
  }
  return variants;
}

Scaling Collect(const Plan& plan, const std::vector<Variant>& variants,
                const Comparison& comparison) {
  Scaling scaling{plan.axis, plan.values, {}};
  auto variant = variants.begin();
  for (const Variant& model : plan.models) {
    ScaleSeries& series = scaling.series.emplace_back();
    series.model = model.name;
    for (const double value : plan.values) {
      const ComparedModel* found = FindModel(comparison, (variant++)->name);
      if (found != nullptr) series.points.push_back({value, found->result});
    }
  }
  return scaling;
}

Status Scale(const Options& options) {
  GRAB_ASSIGN_OR_RETURN(const Plan plan, MakePlan(options));
  GRAB_ASSIGN_OR_RETURN(const Config config, options.job.config.Load());
  // Values and models are looked at before the folder is made.
  GRAB_RETURN_IF_ERROR(ScaledVariants(config, plan, nullptr).status());
  GRAB_ASSIGN_OR_RETURN(const Job job, Job::Begin(options.job));
  GRAB_RETURN_IF_ERROR(job.MakeShards());
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(job.Path("shards")));
  GRAB_ASSIGN_OR_RETURN(const std::vector<Variant> variants,
                        ScaledVariants(job.config(), plan, shards.get()));
  const std::string reference = variants[plan.values.size() - 1].name;
  GRAB_ASSIGN_OR_RETURN(const Comparison comparison, CompareVariants(job, variants, reference));
  const Scaling scaling = Collect(plan, variants, comparison);
  GRAB_RETURN_IF_ERROR(WriteFileDurably(job.Path("scale.json"), ToJson(scaling).dump(2) + "\n"));
  GRAB_RETURN_IF_ERROR(WriteFileDurably(job.Path("scale.svg"), RenderSvg(ChartOf(scaling))));
  const Status status = WriteComparison(job, comparison);
  std::printf("%s, scale.svg\n", job.Path("scale.json").c_str());
  return status;
}

}  // namespace

void AddScale(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub =
      app.add_subcommand("scale", "Train models at several lengths of history, sizes or data");
  options->job.Add(*sub);
  sub->add_option("--models", options->models,
                  "Models to scale; default: all that have the axis, GRAB first")
      ->delimiter(',')
      ->type_name("NAME,NAME,...");
  sub->add_option("--along", options->along,
                  "history: window_len of all channels, 0 for none; width: d_model, the hidden "
                  "widths in proportion; depth: layers; data: the newest share of the time of the "
                  "training targets, earlier events stay history")
      ->required()
      ->type_name("AXIS");
  sub->add_option("--values", options->values,
                  "Ascending; default: history 0,8,16,...,2048; width 16,32,64,128,256; depth "
                  "1,2,4,8; data 0.0625,0.125,0.25,0.5,1")
      ->delimiter(',')
      ->type_name("N,N,...");
  sub->footer(
      "Each model at each value is a line of the table, MODEL-AXIS-VALUE, held against the first "
      "model at the largest value; comparison.json and comparison.md as of grab compare, "
      "scale.json "
      "and scale.svg with AUC against the value. batch_tokens stays: longer histories leave fewer "
      "targets to a step. A run that fails does not stop the others; --resume tries it again.\n\n"
      "Examples:\n"
      "  grab scale --config configs/simulator.toml --out runs/history --along history --models "
      "grab,din --seeds 1,2,3\n"
      "  grab scale --config configs/simulator.toml --out runs/data --along data --values "
      "0.125,0.5,1");
  sub->callback([&command, options] { command = [options] { return Scale(*options); }; });
}

}  // namespace grab
