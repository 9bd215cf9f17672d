// What each part of GRAB's training is worth: the same model trained in different ways on the same
// rows, several seeds each, one after another through `grab train`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/result.h"

namespace grab::bench {

struct ModesOptions {
  std::string name;         // of the data set, in figures
  std::string config_path;  // its config
  std::string shards_dir;   // prepared by it
  std::string out_dir;      // a run folder per way and seed; those that are complete are kept
  std::string
      new_from;  // ISO 8601: where the training rows of a model that replaces an old one begin
  std::vector<int64_t> seeds;
};

// One way of training, over the seeds.
struct ModeResult {
  std::string name;  // "sts", "warm + dual loss"...
  std::string rows;  // "all" or "new": what it trained on
  struct Seed {
    std::optional<double> auc, gauc, logloss, pcoc;  // of the test targets
    // Targets trained when the validation AUC first reached the DLRM's; nullopt: never.
    std::optional<double> rows_to_pass;
    double data_wait_fraction = 0.0;  // of the time in steps and waiting
    nlohmann::json step_seconds;      // StepSeconds of train/step.h
  };
  std::vector<Seed> seeds;
};

StatusOr<std::vector<ModeResult>> CompareModes(const ModesOptions& options);

// A Markdown table; the first result is the reference.
std::string ModesTable(const ModesOptions& options, const std::vector<ModeResult>& results);

// NAME_MODE_auc and NAME_MODE_auc_minus_end_to_end (against the cold run on the same rows).
std::vector<Figure> ModesFigures(const ModesOptions& options,
                                 const std::vector<ModeResult>& results);

}  // namespace grab::bench
