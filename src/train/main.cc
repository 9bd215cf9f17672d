// grab-train: the training binary, the only one that links libtorch. `grab train` runs it.
#include <dlfcn.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdio>

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

int Fail(const Status& status) {
  std::fprintf(stderr, "grab: error: %s\n", std::string(status.message()).c_str());
  const bool user =
      absl::IsInvalidArgument(status) || absl::IsNotFound(status) || absl::IsAlreadyExists(status);
  return user ? 2 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("Trains one model on prepared shards, or on a log that grows.", "grab train");
  app.footer(
      "Examples:\n"
      "  grab train --config configs/kuairand.toml --shards data/kuairand --model grab --out "
      "runs/grab\n"
      "  grab train --config runs/grab/config.toml --shards data/kuairand --model grab --out "
      "runs/grab --resume\n"
      "  grab train ... --model grab --out runs/warm --warm-start runs/dlrm\n"
      "  grab train ... --set grab.train.mode=end_to_end --set grab.train.seed=7\n"
      "  grab train --config configs/mine.toml --data /logs --model grab --out runs/live --follow");
  std::string config_path, model, data_dir;
  std::vector<std::string> overrides;
  TrainOptions options;
  FollowOptions follow;
  SessionOptions session;
  bool follows = false;
  app.add_option("--config", config_path, "Config file")->required();
  app.add_option("--set", overrides, "Override a setting: key=value")->allow_extra_args(false);
  app.add_option("--model", model, "What to train: dlrm, din, sim, eta, twin, hstu or grab")
      ->required();
  CLI::Option* shards =
      app.add_option("--shards", options.shards_dir, "Folder written by grab prepare");
  app.add_option("--out", session.out_dir, "Run folder")->required();
  app.add_flag("--resume", session.resume, "Continue from the newest checkpoint of the run folder");
  app.add_option("--warm-start", session.warm_start,
                 "Run or checkpoint folder whose tables and weights a new run starts from");
  CLI::Option* steps_max =
      app.add_option("--steps-max", options.steps_max,
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
  try {
    app.parse(argc, argv);
    if (!follows && options.shards_dir.empty()) throw CLI::RequiredError("--shards or --follow");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  StatusOr<Config> config = LoadConfig(config_path, overrides);
  if (!config.ok()) return Fail(config.status());
  if (!data_dir.empty()) config->data_dir = data_dir;
  const StatusOr<ModelKind> kind = ParseModelKind(model);
  if (!kind.ok()) return Fail(kind.status());
  session.kind = *kind;
  options.session = follow.session = session;
  if (const Status status = ForceSimdTargetOfEnvironment(); !status.ok()) return Fail(status);
  TuneProcess();
  const std::unique_ptr<Progress> progress = MakeConsoleProgress();
  const Status status =
      follows ? Follow(*config, follow, *progress) : Train(*config, options, *progress);
  return status.ok() ? 0 : Fail(status);
}

}  // namespace
}  // namespace grab

int main(int argc, char** argv) { return grab::Main(argc, argv); }
