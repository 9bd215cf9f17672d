// grab-trees: the boosted-trees baseline, the only binary that links XGBoost. `grab trees` runs it.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "config/config.h"
#include "trees/trees_run.h"

namespace grab {
namespace {

int Fail(const Status& status) {
  std::fprintf(stderr, "grab: error: %s\n", std::string(status.message()).c_str());
  const bool user =
      absl::IsInvalidArgument(status) || absl::IsNotFound(status) || absl::IsAlreadyExists(status);
  return user ? 2 : 1;
}

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
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const StatusOr<Config> config = LoadConfig(config_path, overrides);
  if (!config.ok()) return Fail(config.status());
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  const Status status = TrainTrees(*config, options, *progress);
  return status.ok() ? 0 : Fail(status);
}

}  // namespace
}  // namespace grab

int main(int argc, char** argv) { return grab::Main(argc, argv); }
