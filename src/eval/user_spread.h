// How much of an AUC, or of a difference between two, is owed to the users who happen to be in the
// test: what seeds do not show.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "eval/scores.h"

namespace grab {

// What every user adds to the chance in an AUC: the first-order effect of its rows, whose sum over
// the users is 0. That of a difference of AUCs over the same rows is the difference of both.
struct UserInfluence {
  std::vector<uint64_t> user_key;  // ascending
  std::vector<double> influence;   // by user
};

// Of the rows whose label of `task` is known: their structural components, summed by user
// (Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53, 1997). nullopt:
// the rows are of one class. O(n log n) time.
std::optional<UserInfluence> AucInfluence(const ScoreTable& table, size_t task);

// Standard deviation, over samples of as many users, of what has these influences; at least two.
double UserSd(absl::Span<const double> influence);

}  // namespace grab
