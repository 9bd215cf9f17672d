// The search of `grab compare --search`: as many random trials for every model, judged by the
// log-loss of the validation targets alone. A trial is a whole training run, in
// DIR/search/MODEL-trialN, and so has figures of the test targets as well: nothing here reads them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/job.h"

namespace grab {

struct SearchTrial {
  std::vector<std::string> settings;  // as of --set; none: the config as it is
  std::optional<double> valid_auc;
  double valid_logloss = 0.0;
  std::string error;  // not empty: the run failed, there are no figures
};

struct ModelSearch {
  std::string model;
  int64_t seed = 0;  // of all trials
  std::vector<SearchTrial> trials;
  size_t chosen = 0;  // of those that ended the first with the least validation log-loss
};

// `trials` trials (>= 1) per model on the job's shards, with its first seed; those that are there
// are not repeated. A trial that fails does not stop the others; a model of which none ended, or
// whose runs have no validation log-loss, is an error. Writes search.json.
StatusOr<std::vector<ModelSearch>> SearchSettings(const Job& job,
                                                  const std::vector<Variant>& models,
                                                  int64_t trials);

// A line that says what was chosen, and what it is worth on the validation targets.
std::string SummaryOf(const ModelSearch& search);

}  // namespace grab
