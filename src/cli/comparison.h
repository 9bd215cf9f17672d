// What `grab compare`, `ablate` or `scale` found: every model over its seeds beside one of them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/results.h"
#include "eval/significance.h"

namespace grab {

// A training run that did not end.
struct FailedRun {
  std::string model;
  int64_t seed = 0;
  std::string error;
};

struct ComparedModel {
  ModelResult result;
  // Its AUC less the reference's, seed by seed; nullopt: no seed has both, or it is the reference.
  std::optional<PairedDifference> auc_minus_reference;
  // Half of the 95 % interval of its mean over samples of as many test users (AddUserSpread);
  // nullopt: there is no difference, or one user.
  std::optional<double> users_95;
};

// One thing that must hold for the rest to mean anything (docs/protocols.md, "Checks").
struct Check {
  std::string name;
  bool ok = true;
  double value = 0.0;
  double bound = 0.0;  // of the value
  std::string what;    // was measured, and on what
};

struct Comparison {
  std::string reference;  // a model's name
  std::vector<ComparedModel> models;
  std::vector<FailedRun> failed;
  std::vector<std::string> remarks;  // lines below the table
  std::vector<Check> checks;
  std::string rows_hash;
  std::string commit;  // empty: not known
  std::string cpu;     // empty: not known
  int threads = 0;
};

// nullptr: no run of it ended.
const ComparedModel* FindModel(const Comparison& comparison, const std::string& name);

// Fills auc_minus_reference of every model.
void CompareWithReference(Comparison& comparison);

nlohmann::json ToJson(const Comparison& comparison);
std::string ToText(const Comparison& comparison);
std::string ToMarkdown(const Comparison& comparison);

}  // namespace grab
