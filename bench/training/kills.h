// kill -9 at random instants of a run, then resume, again and again; what the interrupted run
// leaves is compared with what an uninterrupted one leaves.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace grab::bench {

struct KillOptions {
  std::vector<std::string> command;  // argv of the run but for its --out and --resume
  std::string work_dir;              // exists; gets the folders "whole" and "killed-N"
  int kills = 50;                    // in all
  int kills_per_run = 5;             // of one run, then it may end; then another is begun
  uint64_t seed = 1;                 // of the instants, drawn over the run's whole length
  // Paths in a run folder whose content must be equal: files, or folders with all they hold.
  std::vector<std::string> compared;
};

struct KillResult {
  int kills = 0;
  int runs = 0;
  int mismatches = 0;             // runs that left something else
  std::vector<std::string> what;  // of the mismatches: RUN: PATH
};

// Errors: a run that fails by itself.
StatusOr<KillResult> KillAndResume(const KillOptions& options);

}  // namespace grab::bench
