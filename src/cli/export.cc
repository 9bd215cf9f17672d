// grab export
#include <cstdio>
#include <memory>

#include "base/file.h"
#include "checkpoint/model_files.h"
#include "cli/commands.h"

namespace grab {
namespace {

struct Options {
  std::string run;
  std::string out;
};

Status Export(const Options& options) {
  GRAB_ASSIGN_OR_RETURN(const LoadedModel loaded, LoadModel(JoinPath(options.run, "best")));
  for (const std::string& reason : loaded.skipped) {
    std::fprintf(stderr, "grab: passed over a damaged model: %s\n", reason.c_str());
  }
  GRAB_ASSIGN_OR_RETURN(const std::string path,
                        ExportModel(loaded.model, loaded.step, options.out));
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
  sub->footer(
      "Takes the best checkpoint of the run. The files: docs/formats/checkpoint.md.\n\n"
      "Example:\n"
      "  grab export --run runs/demo/grab-seed1 --out runs/demo/model");
  sub->callback([&command, options] { command = [options] { return Export(*options); }; });
}

}  // namespace grab
