// What fresher levels would be worth: how much AUC scores gain when the level of every user and of
// every value of a sliced field is corrected by other labels of the same rows. Little means that a
// model which goes on learning has nothing to learn there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "eval/scores.h"
#include "nlohmann/json_fwd.hpp"

namespace grab {

// The correction of row i is one Newton step of an intercept for its value, drawn to zero:
// sum_j (label_j - p_j) / (prior + sum_j p_j (1 - p_j)), added to its logit.
struct LevelGain {
  double auc = 0.0;             // more than without
  std::optional<double> prior;  // the best on these very rows; nullopt where none gains
};
inline constexpr double kLevelPriors[] = {1, 2, 4, 8, 16, 32, 64, 128, 256};

struct KeyLevels {
  std::string key;      // "user" or a slice column
  uint64_t values = 0;  // distinct; rows whose value is missing keep their score
  // Over j of earlier request times: at most what is known when i is scored, since labels come in
  // later than requests.
  LevelGain before;
  LevelGain hindsight;  // over all j but i, later ones too: more of levels than can be known
};

struct LevelReport {
  std::string task;
  double auc = 0.0;
  std::vector<KeyLevels> keys;
  // By the sum of all keys' corrections, each with its own prior: more than without.
  double before_auc = 0.0, hindsight_auc = 0.0;
};

// Of the rows whose label of `task`, an index into table.tasks, is known; nullopt where they are of
// one class or none. O(n log n) time for each key and prior, about 120 bytes per row.
StatusOr<std::optional<LevelReport>> ComputeLevelGains(const ScoreTable& table, size_t task);

// {"task", "auc", "keys": [{"key", "values", "before", "before_prior", "hindsight",
// "hindsight_prior"}], "together": {"before", "hindsight"}}; a prior that none is better than is
// null.
nlohmann::json ToJson(const LevelReport& report);
std::string ToText(const LevelReport& report);

}  // namespace grab
