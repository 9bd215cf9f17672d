#include "cli/job.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <set>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "cli/binaries.h"
#include "cli/process.h"
#include "config/config.h"
#include "data/shard.h"

namespace grab {
namespace {

constexpr int kUsageExitCode = 2;
constexpr char kTrees[] = "trees";
constexpr int64_t kPermutationSeed = 1;

// The config at `path` is the one of `dump`.
Status CheckSameConfig(const std::string& path, const std::string& dump) {
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

// As of --set, the seed's last.
std::vector<std::string> RunSettings(const Variant& variant, int64_t seed) {
  std::vector<std::string> settings = variant.settings;
  const std::string section =
      variant.kind ? absl::StrCat(ModelKindName(*variant.kind), ".train") : kTrees;
  settings.push_back(absl::StrCat(section, ".seed=", seed));
  return settings;
}

}  // namespace

Variant VariantOf(ModelKind kind) { return {ModelKindName(kind), kind, {}}; }

StatusOr<Variant> ParseVariant(const std::string& name) {
  if (name == kTrees) return Variant{kTrees, std::nullopt, {}};
  const StatusOr<ModelKind> kind = ParseModelKind(name);
  if (kind.ok()) return VariantOf(*kind);
  return absl::InvalidArgumentError(absl::StrCat(kind.status().message(), ", or ", kTrees));
}

StatusOr<std::vector<Variant>> ParseVariants(const std::vector<std::string>& names) {
  std::vector<Variant> variants;
  for (const std::string& name : names) {
    if (std::count(names.begin(), names.end(), name) > 1) {
      return absl::InvalidArgumentError(absl::StrCat("--models: '", name, "' is given twice"));
    }
    GRAB_ASSIGN_OR_RETURN(variants.emplace_back(), ParseVariant(name));
  }
  return variants;
}

void JobOptions::Add(CLI::App& app) {
  config.Add(app);
  config.AddData(app);
  app.add_option("--out", out, "New folder for everything the job makes")
      ->required()
      ->type_name("DIR");
  app.add_option("--seeds", seeds,
                 "Train each model with each of these seeds, report means; default: the config's")
      ->delimiter(',')
      ->type_name("N,N,...");
  app.add_flag("--resume", resume, "Continue a job: skip the steps that are complete");
}

Job::Job(JobOptions options, Config config, std::string binary)
    : options_(std::move(options)),
      config_(std::move(config)),
      binary_(std::move(binary)),
      simulates_(options_.config.data_dir.empty() && config_.name == kSimulatorName) {
  if (simulates_) config_.data_dir = Path("raw");
}

StatusOr<Job> Job::Begin(JobOptions options) {
  const std::set<int64_t> distinct(options.seeds.begin(), options.seeds.end());
  if (distinct.size() != options.seeds.size()) {
    return absl::InvalidArgumentError("--seeds: a seed is given twice");
  }
  GRAB_ASSIGN_OR_RETURN(Config config, options.config.Load());
  GRAB_RETURN_IF_ERROR(FindTrain().status());  // not after an hour of preparing
  GRAB_ASSIGN_OR_RETURN(std::string binary, ExecutablePath());
  Job job(std::move(options), std::move(config), std::move(binary));
  GRAB_RETURN_IF_ERROR(job.WriteConfig());
  return job;
}

StatusOr<Job> Job::Permuted() const {
  Job job = *this;
  job.options_.out = Path("permuted");
  job.simulates_ = false;
  job.config_.prepare.permute_feedback = kPermutationSeed;
  GRAB_RETURN_IF_ERROR(job.WriteConfig());
  return job;
}

std::string Job::Path(absl::string_view name) const { return JoinPath(options_.out, name); }

std::string Job::RunDir(const std::string& name, int64_t seed) const {
  return Path(absl::StrCat(name, "-seed", seed));
}

std::vector<int64_t> Job::Seeds(const Variant& variant) const {
  if (!options_.seeds.empty()) return options_.seeds;
  if (!variant.kind.has_value()) return {config_.trees.seed};
  return {RunConfigOf(config_, *variant.kind).train.seed};
}

Status Job::WriteConfig() const {
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
  return CheckSameConfig(path, dump);
}

Status Job::Step(const std::string& name, bool complete, std::vector<std::string> arguments) const {
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

Status Job::MakeShards() const {
  if (simulates_) {
    GRAB_RETURN_IF_ERROR(Step("simulate", Exists(Path("raw")),
                              {"simulate", "--config", Path("config.toml"), "--out", Path("raw")}));
  }
  return Step("prepare", Exists(Path(absl::StrCat("shards/", kManifestName))),
              {"prepare", "--config", Path("config.toml"), "--out", Path("shards")});
}

// The effective config that a training run writes into its folder says what it was trained with.
Status Job::CheckRun(const std::string& dir, const std::vector<std::string>& settings) const {
  const std::string path = JoinPath(dir, "config.toml");
  if (!Exists(path)) return absl::OkStatus();
  GRAB_ASSIGN_OR_RETURN(const Config config, LoadConfig(Path("config.toml"), settings));
  return CheckSameConfig(path, DumpConfig(config));
}

std::vector<std::string> Job::TrainArguments(const std::string& dir, const Variant& variant,
                                             const std::vector<std::string>& settings) const {
  std::vector<std::string> arguments = {variant.kind ? "train" : "trees", "--config",
                                        Path("config.toml")};
  if (variant.kind.has_value()) {
    arguments.insert(arguments.end(), {"--model", ModelKindName(*variant.kind)});
  }
  arguments.insert(arguments.end(), {"--shards", Path("shards"), "--out", dir});
  for (const std::string& setting : settings) {
    arguments.insert(arguments.end(), {"--set", setting});
  }
  return arguments;
}

Status Job::TrainInto(const std::string& dir, const Variant& variant, int64_t seed) const {
  const std::vector<std::string> settings = RunSettings(variant, seed);
  std::vector<std::string> arguments = TrainArguments(dir, variant, settings);
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
  GRAB_RETURN_IF_ERROR(CheckRun(dir, settings));
  return Step(absl::StrCat("train ", variant.name, ", seed ", seed), complete,
              std::move(arguments));
}

}  // namespace grab
