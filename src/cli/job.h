// The steps that `grab run`, `compare`, `ablate` and `scale` share. Each is a process of its own,
// `grab STEP ...`, so that it can be repeated by hand and its memory is gone when it ends; a step
// whose output is complete is skipped when the job is resumed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "cli/options.h"
#include "config/settings.h"
#include "model/spec.h"

namespace CLI {
class App;
}

namespace grab {

struct JobOptions {
  ConfigOptions config;
  std::string out;
  std::vector<int64_t> seeds;
  bool resume = false;

  // --config, --set, --data, --out, --seeds, --resume.
  void Add(CLI::App& app);
};

// A model, with settings of its own beside the config's.
struct Variant {
  std::string name;                   // its folders are NAME-seedN
  std::optional<ModelKind> kind;      // nullopt: boosted trees (grab trees)
  std::vector<std::string> settings;  // KEY=VALUE, as of --set
};

// A model as it is, by its name.
Variant VariantOf(ModelKind kind);
StatusOr<Variant> ParseVariant(const std::string& name);
// Those that --models names, each once.
StatusOr<std::vector<Variant>> ParseVariants(const std::vector<std::string>& names);

class Job {
 public:
  // Loads the config and begins the folder: the effective config, which all steps read, is written
  // once, and a resumed job must be the same.
  static StatusOr<Job> Begin(JobOptions options);

  // The same job on the same log with feedback permuted (prepare.permute_feedback), in the folder
  // "permuted" of this one.
  StatusOr<Job> Permuted() const;

  const Config& config() const { return config_; }
  const std::string& binary() const { return binary_; }
  std::string Path(absl::string_view name) const;  // in the job's folder
  std::string RunDir(const std::string& name, int64_t seed) const;
  std::vector<int64_t> Seeds(const Variant& variant) const;  // those asked for, else the config's

  // Config 'simulator' without a log: simulate one. Then prepare.
  Status MakeShards() const;
  // From the newest checkpoint, if there is one; trees from the start. A run that is there with
  // other settings is an InvalidArgument.
  Status Train(const Variant& variant, int64_t seed) const {
    return TrainInto(RunDir(variant.name, seed), variant, seed);
  }
  // The same in another folder.
  Status TrainInto(const std::string& dir, const Variant& variant, int64_t seed) const;
  // Runs `grab ARGUMENTS`, or says that its output is complete.
  Status Step(const std::string& name, bool complete, std::vector<std::string> arguments) const;

 private:
  Job(JobOptions options, Config config, std::string binary);
  Status WriteConfig() const;
  Status CheckRun(const std::string& dir, const std::vector<std::string>& settings) const;
  std::vector<std::string> TrainArguments(const std::string& dir, const Variant& variant,
                                          const std::vector<std::string>& settings) const;

  JobOptions options_;
  Config config_;
  std::string binary_;
  bool simulates_;
};

inline constexpr char kSimulatorName[] = "simulator";

}  // namespace grab
