// grab export
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "checkpoint/model_files.h"
#include "cli/commands.h"
#include "cli/schema_check.h"
#include "serve/precision_check.h"

namespace grab {
namespace {

struct Options {
  std::string run;
  std::string out;
  std::string precision = "f32";
  std::string shards;
};

// A low precision must prove itself on the validation split.
Status CheckCost(const Options& options, Precision precision, const Model& model) {
  if (options.shards.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--precision ", options.precision,
                     " is checked on a validation split: name the run's shards with --shards"));
  }
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(options.shards));
  GRAB_RETURN_IF_ERROR(CheckSchema(*shards, model.spec, JoinPath(options.run, "best")));
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  const auto scores = [&](Precision in) {
    return ScoreThroughEngine(model, in, *shards, EvalConfig(), Split::kValid, *progress);
  };
  GRAB_ASSIGN_OR_RETURN(const ScoreTable f32, scores(Precision::kF32));
  GRAB_ASSIGN_OR_RETURN(const ScoreTable low, scores(precision));
  GRAB_ASSIGN_OR_RETURN(const std::vector<PrecisionCost> costs,
                        ComparePrecision(precision, f32, low));
  std::string beyond;
  for (const PrecisionCost& cost : costs) {
    std::printf("%s, %s\n", options.precision.c_str(), cost.ToString().c_str());
    if (!cost.within) absl::StrAppend(&beyond, "\n  ", cost.ToString());
  }
  if (beyond.empty()) return absl::OkStatus();
  const PrecisionLimits limits = LimitsOf(precision);
  return absl::FailedPreconditionError(absl::StrCat(
      options.precision, " is refused: it may cost ", limits.auc, " of AUC and ",
      100.0 * limits.pcoc_relative, " % of PCOC on the validation split, but:", beyond));
}

Status Export(const Options& options) {
  GRAB_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadModel(JoinPath(options.run, "best")));
  for (const std::string& reason : loaded.skipped) {
    std::fprintf(stderr, "grab: passed over a damaged model: %s\n", reason.c_str());
  }
  GRAB_ASSIGN_OR_RETURN(const Precision precision, ParsePrecision(options.precision));
  if (precision != Precision::kF32) {
    GRAB_RETURN_IF_ERROR(CheckCost(options, precision, loaded.model));
  }
  GRAB_ASSIGN_OR_RETURN(const std::string path,
                        ExportModel(ViewOf(loaded.model), loaded.step, precision, options.out));
  uint64_t rows = 0;
  for (const EmbeddingTable& table : loaded.model.tables) rows += table.rows();
  int64_t weights = 0;
  for (const WeightSpec& weight : loaded.model.spec.Weights()) weights += weight.elements();
  std::printf("%s: %s after %llu steps, %lld dense weights, %llu embedding rows\n", path.c_str(),
              ModelKindName(loaded.model.spec.kind), static_cast<unsigned long long>(loaded.step),
              static_cast<long long>(weights), static_cast<unsigned long long>(rows));
  return absl::OkStatus();
}

}  // namespace

void AddExport(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand("export", "A trained model without its optimiser state");
  sub->add_option("--run", options->run, "Run folder written by grab train")
      ->required()
      ->type_name("DIR");
  sub->add_option("--out", options->out, "Folder of models; this one becomes OUT/step-N")
      ->required()
      ->type_name("DIR");
  sub->add_option("--precision", options->precision,
                  "What it is to be served in; bf16 and int8 are refused if they cost too much")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->capture_default_str();
  sub->add_option("--shards", options->shards,
                  "Folder written by grab prepare: bf16 and int8 are measured on its validation "
                  "split")
      ->type_name("DIR");
  sub->footer(
      "Takes the best checkpoint of the run. The files: docs/formats/checkpoint.md. bf16 may cost "
      "1e-4\nof AUC and 0.5 % of PCOC, int8 3e-4 and 1 %, on any task.\n\n"
      "Example:\n"
      "  grab export --run runs/demo/grab-seed1 --out runs/demo/model");
  sub->callback([&command, options] { command = [options] { return Export(*options); }; });
}

}  // namespace grab
