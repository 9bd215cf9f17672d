// What each part of GRAB's training is worth: the same model trained in different ways on the same
// rows, several seeds each, one after another through `grab train`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/result.h"
#include "bench/training/runs.h"

namespace grab::bench {

struct ModesOptions {
  RunData data;
  std::string new_from;  // ISO 8601: where the rows of a model that replaces an old one begin
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
    // Seconds waiting for batches, and in steps by StepSeconds of train/step.h.
    double wait_seconds = 0.0;
    nlohmann::json step_seconds;

    double DataWaitFraction() const;
  };
  std::vector<Seed> seeds;
};

StatusOr<std::vector<ModeResult>> CompareModes(const ModesOptions& options);

// Markdown; the first result is the reference.
std::string ModesTable(const ModesOptions& options, const std::vector<ModeResult>& results);

// Markdown: where the time of training goes, in shares of steps and waiting.
std::string TimeTable(const ModesOptions& options, const std::vector<ModeResult>& results);

// NAME_MODE_auc, NAME_MODE_auc_minus_end_to_end (against the cold run on the same rows) and
// NAME_MODE_data_wait_fraction.
std::vector<Figure> ModesFigures(const ModesOptions& options,
                                 const std::vector<ModeResult>& results);

// data_wait_fraction: the most that any way waits, of its median over the seeds.
Figure DataWait(const ModesOptions& options, const std::vector<ModeResult>& results);

}  // namespace grab::bench
