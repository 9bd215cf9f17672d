// Several models' scores of the same targets, joined by event_id in any order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "eval/scores.h"

namespace grab {

// |p_a - p_b| of one task over the same events.
struct ScoreDiff {
  uint64_t rows = 0;
  double p_diff_max = 0.0;
  double p_diff_mean = 0.0;
  uint64_t event_id_of_max = 0;
};

// A task that either lacks, an event that either lacks or holds twice is an InvalidArgument that
// names it.
StatusOr<ScoreDiff> CompareScores(const ScoreTable& a, const ScoreTable& b,
                                  const std::string& task);

// What models score together: the logistic of the mean of their logits.
class LogitMean {
 public:
  // The first table gives rows and tasks, of which each next one keeps those that it has too.
  // InvalidArgument, and the mean as it was: other events, other labels, or no common task.
  Status Add(const ScoreTable& table);

  // After at least one table. InvalidArgument where a p is 0 in one table and 1 in another.
  StatusOr<ScoreTable> Table() const;

 private:
  ScoreTable first_;
  std::vector<std::vector<double>> logits_;  // per task of first_ the sum over tables [rows]
  std::vector<bool> common_;                 // per task of first_: all tables have it
  size_t tables_ = 0;
};

}  // namespace grab
