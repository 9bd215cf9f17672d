// grab-train: the training binary, the only one that links libtorch. `grab train` runs it.
#include <dlfcn.h>
#include <malloc.h>

#include <CLI/CLI.hpp>

#include "base/program.h"
#include "config/config.h"
#include "kernels/simd_target.h"
#include "train/follow.h"
#include "train/trainer.h"

namespace grab {
namespace {

// What libtorch needs on Debian to be fast: OpenBLAS's own threads fight the workers'; and
// activations of several MB are mapped and unmapped by every operator unless malloc keeps them.
void TuneProcess() {
  mallopt(M_MMAP_THRESHOLD, 1 << 25);
  mallopt(M_TRIM_THRESHOLD, 1 << 25);
  using SetThreads = void (*)(int);
  if (auto* set = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads")))
    set(1);
}

constexpr char kProgram[] = "grab";

constexpr char kFooter[] =
    "Examples:\n"
    "  grab train --config configs/kuairand.toml --shards data/kuairand --model grab --out "
    "runs/grab\n"
    "  grab train --config runs/grab/config.toml --shards data/kuairand --model grab --out "
    "runs/grab --resume\n"
    "  grab train ... --model grab --out runs/warm --warm-start runs/dlrm\n"
    "  grab train ... --set grab.train.mode=end_to_end --set grab.train.seed=7\n"
    "  grab train --config configs/mine.toml --data /logs --model grab --out runs/live --follow";

struct Options {
  std::string config_path, model, data_dir;
  std::vector<std::string> overrides;
  bool follows = false;
  SessionOptions session;
  TrainOptions train;
  FollowOptions follow;

  void Add(CLI::App& app);
};

void Options::Add(CLI::App& app) {
  app.add_option("--config", config_path, "Config file")->required();
  app.add_option("--set", overrides, "Override a setting: key=value")->allow_extra_args(false);
  app.add_option("--model", model, "What to train: dlrm, din, sim, eta, twin, hstu or grab")
      ->required();
  CLI::Option* shards =
      app.add_option("--shards", train.shards_dir, "Folder written by grab prepare");
  app.add_option("--out", session.out_dir, "Run folder")->required();
  app.add_flag("--resume", session.resume, "Continue from the newest checkpoint of the run folder");
  app.add_option("--warm-start", session.warm_start,
                 "Run or checkpoint folder whose tables and weights a new run starts from");
  CLI::Option* steps_max =
      app.add_option("--steps-max", train.steps_max,
                     "Stop after this many steps of this call, with a checkpoint; 0: no limit");
  CLI::Option* following = app.add_flag(
      "--follow", follows, "Follow the growing raw log pass by pass instead (docs/streaming.md)");
  app.add_option("--data", data_dir, "With --follow: folder of the raw log")->needs(following);
  app.add_flag("--log-ended", follow.log_ended,
               "With --follow: the log will not grow; stop at its end")
      ->needs(following);
  app.add_option("--passes-max", follow.passes_max,
                 "With --follow: stop after this many passes of this call; 0: no limit")
      ->needs(following);
  following->excludes(shards)->excludes(steps_max);
}

Status Run(Options& options) {
  if (!options.follows && options.train.shards_dir.empty())
    return absl::InvalidArgumentError("--shards or --follow is required");
  GRAB_ASSIGN_OR_RETURN(Config config, LoadConfig(options.config_path, options.overrides));
  if (!options.data_dir.empty()) config.data_dir = options.data_dir;
  GRAB_ASSIGN_OR_RETURN(options.session.kind, ParseModelKind(options.model));
  options.train.session = options.follow.session = options.session;
  GRAB_RETURN_IF_ERROR(ForceSimdTargetOfEnvironment());
  TuneProcess();
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  return options.follows ? Follow(config, options.follow, *progress)
                         : Train(config, options.train, *progress);
}

int Main(int argc, char** argv) {
  CLI::App app("Trains one model on prepared shards, or on a log that grows.", "grab train");
  app.footer(kFooter);
  Options options;
  options.Add(app);
  if (const auto code = ParseCommandLine(app, argc, argv, kProgram)) return *code;
  return ExitCode(Run(options), kProgram);
}

}  // namespace
}  // namespace grab

int main(int argc, char** argv) { return grab::Main(argc, argv); }
