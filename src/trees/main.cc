// grab-trees: the boosted-trees baseline, the only binary that links XGBoost. `grab trees` runs it.
#include <CLI/CLI.hpp>
#include <memory>

#include "base/program.h"
#include "config/config.h"
#include "trees/trees_run.h"

namespace grab {
namespace {

constexpr char kProgram[] = "grab";

int Main(int argc, char** argv) {
  CLI::App app("Trains boosted trees on running counts of prepared shards.", "grab trees");
  app.footer(
      "Writes the run folder that grab train does. Settings: [trees].\n\n"
      "Examples:\n"
      "  grab trees --config configs/kuairand.toml --shards data/kuairand --out runs/trees\n"
      "  grab trees ... --set trees.seed=7 --set trees.depth_max=4");
  std::string config_path;
  std::vector<std::string> overrides;
  TreesOptions options;
  app.add_option("--config", config_path, "Config file")->required();
  app.add_option("--set", overrides, "Override a setting: key=value")->allow_extra_args(false);
  app.add_option("--shards", options.shards_dir, "Folder written by grab prepare")->required();
  app.add_option("--out", options.out_dir, "Run folder")->required();
  if (const auto code = ParseCommandLine(app, argc, argv, kProgram)) return *code;
  const StatusOr<Config> config = LoadConfig(config_path, overrides);
  if (!config.ok()) return ExitCode(config.status(), kProgram);
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  return ExitCode(TrainTrees(*config, options, *progress), kProgram);
}

}  // namespace
}  // namespace grab

int main(int argc, char** argv) { return grab::Main(argc, argv); }
