// grab run: the main job. Every step is a process of its own, `grab STEP ...`, so that a step can
// be repeated by hand and its memory is gone when it ends.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/file.h"
#include "base/threads.h"
#include "checkpoint/checkpoint.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/process.h"
#include "cli/results.h"
#include "config/config.h"
#include "data/shard.h"
#include "data/simulator.h"

namespace grab {
namespace {

constexpr char kSimulatorName[] = "simulator";
constexpr const char* kModels[] = {"dlrm", "grab"};
constexpr int kUsageExitCode = 2;

struct Options {
  ConfigOptions config;
  std::string out;
  std::vector<int64_t> seeds;
  bool resume = false;
};

class Runner {
 public:
  Runner(const Options& options, Config config, std::string binary)
      : options_(options),
        config_(std::move(config)),
        binary_(std::move(binary)),
        simulates_(options.config.data_dir.empty() && config_.name == kSimulatorName) {
    if (simulates_) config_.data_dir = Path("raw");
  }

  Status Run() {
    GRAB_RETURN_IF_ERROR(Begin());
    GRAB_RETURN_IF_ERROR(MakeShards());
    for (const char* model : kModels) {
      for (const int64_t seed : Seeds(model)) GRAB_RETURN_IF_ERROR(TrainModel(model, seed));
    }
    GRAB_RETURN_IF_ERROR(ExportAndScore());
    return Conclude();
  }

 private:
  std::string Path(absl::string_view name) const { return JoinPath(options_.out, name); }
  std::string RunDir(const std::string& model, int64_t seed) const {
    return Path(absl::StrCat(model, "-seed", seed));
  }
  std::vector<int64_t> Seeds(const std::string& model) const {
    if (!options_.seeds.empty()) return options_.seeds;
    return {model == "dlrm" ? config_.dlrm.train.seed : config_.grab.train.seed};
  }

  Status Begin();
  Status MakeShards();
  Status TrainModel(const std::string& model, int64_t seed);
  Status ExportAndScore();
  Status Conclude();
  // Runs `grab ARGUMENTS`, or says that its output is complete.
  Status Step(const std::string& name, bool complete, std::vector<std::string> arguments) const;
  StatusOr<Results> Collect() const;

  const Options& options_;
  Config config_;
  std::string binary_;
  bool simulates_;
};

// The effective config, which all steps read, is written once. A resumed run must be the same run.
Status Runner::Begin() {
  const std::string path = Path("config.toml");
  const std::string dump = DumpConfig(config_);
  if (!Exists(options_.out)) {
    GRAB_RETURN_IF_ERROR(MakeDirectories(options_.out));
    return WriteFileDurably(path, dump);
  }
  if (!options_.resume) {
    return absl::AlreadyExistsError(absl::StrCat(
        options_.out, ": already exists; continue it with --resume, or choose another --out"));
  }
  GRAB_ASSIGN_OR_RETURN(const std::string before, ReadFile(path, kConfigBytesMax));
  if (before == dump) return absl::OkStatus();
  const std::vector<std::string> old_lines = absl::StrSplit(before, '\n');
  const std::vector<std::string> new_lines = absl::StrSplit(dump, '\n');
  size_t line = 0;
  while (line < old_lines.size() && line < new_lines.size() && old_lines[line] == new_lines[line]) {
    ++line;
  }
  const auto at = [&](const std::vector<std::string>& lines) {
    return line < lines.size() ? lines[line] : std::string("(the end)");
  };
  return absl::InvalidArgumentError(absl::StrCat(
      path, ":", line + 1, ": a run is resumed with the settings it began with: there '",
      at(old_lines), "', now '", at(new_lines), "'"));
}

Status Runner::Step(const std::string& name, bool complete,
                    std::vector<std::string> arguments) const {
  if (complete) {
    GRAB_CHECK(options_.resume);
    std::printf("== %s: complete, skipped\n", name.c_str());
    return absl::OkStatus();
  }
  std::printf("== %s: grab %s\n", name.c_str(), absl::StrJoin(arguments, " ").c_str());
  std::fflush(stdout);
  arguments.insert(arguments.begin(), binary_);
  const StatusOr<int> code = RunProcess(arguments);
  if (!code.ok()) return Annotate(code.status(), absl::StrCat("step '", name, "'"));
  if (*code == 0) return absl::OkStatus();
  const std::string message = absl::StrCat("step '", name, "' failed with exit code ", *code);
  return *code == kUsageExitCode ? absl::InvalidArgumentError(message)
                                 : absl::InternalError(message);
}

Status Runner::MakeShards() {
  if (simulates_) {
    GRAB_RETURN_IF_ERROR(Step("simulate", Exists(Path("raw")),
                              {"simulate", "--config", Path("config.toml"), "--out", Path("raw")}));
  }
  return Step("prepare", Exists(Path(absl::StrCat("shards/", kManifestName))),
              {"prepare", "--config", Path("config.toml"), "--out", Path("shards")});
}

Status Runner::TrainModel(const std::string& model, int64_t seed) {
  const std::string dir = RunDir(model, seed);
  std::vector<std::string> arguments = {"train",
                                        "--config",
                                        Path("config.toml"),
                                        "--model",
                                        model,
                                        "--shards",
                                        Path("shards"),
                                        "--out",
                                        dir,
                                        "--set",
                                        absl::StrCat(model, ".train.seed=", seed)};
  const bool complete = Exists(JoinPath(dir, "metrics.json"));
  if (!complete && Exists(dir)) {
    GRAB_ASSIGN_OR_RETURN(const LatestCheckpointResult latest,
                          LatestCheckpoint(JoinPath(dir, "checkpoints")));
    if (latest.checkpoint.has_value()) {
      arguments.push_back("--resume");
    } else {
      GRAB_RETURN_IF_ERROR(RemoveAll(dir));
    }
  }
  return Step(absl::StrCat("train ", model, ", seed ", seed), complete, std::move(arguments));
}

Status Runner::ExportAndScore() {
  const std::string run = RunDir("grab", Seeds("grab")[0]);
  GRAB_ASSIGN_OR_RETURN(const LatestCheckpointResult exported, LatestCheckpoint(Path("model")));
  GRAB_RETURN_IF_ERROR(Step("export", exported.checkpoint.has_value(),
                            {"export", "--run", run, "--out", Path("model")}));
  return Step("score", Exists(Path("score_parity.json")),
              {"score", "--model", Path("model"), "--shards", Path("shards"), "--split", "test",
               "--out", Path("scores.csv"), "--compare", JoinPath(run, "test_scores.csv")});
}

StatusOr<Results> Runner::Collect() const {
  Results results;
  for (const std::string model : kModels) {
    std::vector<RunMetrics> runs;
    for (const int64_t seed : Seeds(model)) {
      GRAB_ASSIGN_OR_RETURN(RunMetrics run,
                            ReadRunMetrics(JoinPath(RunDir(model, seed), "metrics.json")));
      runs.push_back(std::move(run));
    }
    GRAB_ASSIGN_OR_RETURN(ModelResult mean, MeanOverSeeds(Seeds(model), runs));
    results.models.push_back(std::move(mean));
  }
  GRAB_ASSIGN_OR_RETURN(results.score_parity_max_abs_diff,
                        ReadScoreParity(Path("score_parity.json")));
  if (config_.name == kSimulatorName && Exists(JoinPath(config_.data_dir, "truth"))) {
    GRAB_ASSIGN_OR_RETURN(const int64_t from_ms, ParseTimeMs(config_.split.test_from));
    GRAB_ASSIGN_OR_RETURN(const int64_t to_ms, ParseTimeMs(config_.split.end));
    GRAB_ASSIGN_OR_RETURN(results.true_auc, TrueAuc(config_.data_dir, from_ms, to_ms));
  }
  GRAB_ASSIGN_OR_RETURN(const std::unique_ptr<ShardSet> shards, ShardSet::Open(Path("shards")));
  results.rows_hash = shards->rows_hash();
  results.commit = CommitOf(binary_);
  results.cpu = CpuName();
  results.threads = DefaultThreads();
  return results;
}

Status Runner::Conclude() {
  GRAB_ASSIGN_OR_RETURN(const Results results, Collect());
  const std::string text =
      ToJson(results).dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  GRAB_RETURN_IF_ERROR(WriteFileDurably(Path("results.json"), text + "\n"));
  std::printf("\n%s%s\n", ToText(results).c_str(), Path("results.json").c_str());
  return absl::OkStatus();
}

Status RunJob(const Options& options) {
  const std::set<int64_t> distinct(options.seeds.begin(), options.seeds.end());
  if (distinct.size() != options.seeds.size()) {
    return absl::InvalidArgumentError("--seeds: a seed is given twice");
  }
  GRAB_ASSIGN_OR_RETURN(Config config, options.config.Load());
  GRAB_RETURN_IF_ERROR(FindTrain().status());  // not after an hour of preparing
  GRAB_ASSIGN_OR_RETURN(std::string binary, ExecutablePath());
  return Runner(options, std::move(config), std::move(binary)).Run();
}

}  // namespace

void AddRun(CLI::App& app, Command& command) {
  const auto options = std::make_shared<Options>();
  CLI::App* sub = app.add_subcommand(
      "run", "The main job: prepare, train DLRM and GRAB, compare, export, score");
  options->config.Add(*sub);
  options->config.AddData(*sub);
  sub->add_option("--out", options->out, "New folder for everything the job makes")
      ->required()
      ->type_name("DIR");
  sub->add_option("--seeds", options->seeds,
                  "Train each model with each of these seeds, report means; default: the config's")
      ->delimiter(',')
      ->type_name("N,N,...");
  sub->add_flag("--resume", options->resume, "Continue a job: skip the steps that are complete");
  sub->footer(
      "Steps: simulate (config 'simulator' without --data: a new log in DIR/raw), prepare, train "
      "dlrm, train grab, "
      "export, score. The results are printed and in DIR/results.json.\n\n"
      "Examples:\n"
      "  grab run --config configs/simulator.toml --out runs/demo\n"
      "  grab run --config configs/kuairand.toml --data ~/kuairand_pure_14d --out runs/kuairand "
      "--seeds 1,2,3\n"
      "  grab run --config configs/kuairand.toml --data ~/kuairand_pure_14d --out runs/kuairand "
      "--seeds 1,2,3 --resume");
  sub->callback([&command, options] { command = [options] { return RunJob(*options); }; });
}

}  // namespace grab
