#include "eval/user_spread.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace grab {
namespace {

struct Row {
  float p;
  bool positive;
  uint32_t user;  // in UserInfluence
};

// The task's labelled rows, ascending in p; fills the users.
std::vector<Row> LabelledRows(const ScoreTable& table, size_t task, std::vector<uint64_t>& users) {
  const auto labelled = [&](size_t i) { return (table.labels_known[i] >> task & 1) != 0; };
  for (size_t i = 0; i < table.rows(); ++i) {
    if (labelled(i)) users.push_back(table.user_key[i]);
  }
  std::sort(users.begin(), users.end());
  users.erase(std::unique(users.begin(), users.end()), users.end());
  std::vector<Row> rows;
  for (size_t i = 0; i < table.rows(); ++i) {
    if (!labelled(i)) continue;
    const auto user = std::lower_bound(users.begin(), users.end(), table.user_key[i]);
    rows.push_back({table.p[i * table.tasks.size() + task], (table.labels[i] >> task & 1) != 0,
                    static_cast<uint32_t>(user - users.begin())});
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.p < b.p; });
  return rows;
}

// Calls visit(row, share) with the share of the other class that the row ranks rightly against,
// ties by half.
template <class Visit>
void ForEachShare(const std::vector<Row>& rows, double positives, double negatives,
                  const Visit& visit) {
  double positives_below = 0.0, negatives_below = 0.0;
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    double tied_positives = 0.0;
    for (end = begin; end < rows.size() && rows[end].p == rows[begin].p; ++end) {
      tied_positives += rows[end].positive ? 1.0 : 0.0;
    }
    const double tied_negatives = static_cast<double>(end - begin) - tied_positives;
    const double of_positive = (negatives_below + tied_negatives / 2.0) / negatives;
    const double of_negative = (positives - positives_below - tied_positives / 2.0) / positives;
    for (size_t i = begin; i < end; ++i)
      visit(rows[i], rows[i].positive ? of_positive : of_negative);
    positives_below += tied_positives;
    negatives_below += tied_negatives;
  }
}

}  // namespace

std::optional<UserInfluence> AucInfluence(const ScoreTable& table, size_t task) {
  GRAB_CHECK(task < table.tasks.size());
  UserInfluence result;
  const std::vector<Row> rows = LabelledRows(table, task, result.user_key);
  const auto positives = static_cast<double>(
      std::count_if(rows.begin(), rows.end(), [](const Row& row) { return row.positive; }));
  const double negatives = static_cast<double>(rows.size()) - positives;
  if (positives == 0.0 || negatives == 0.0) return std::nullopt;
  double auc = 0.0;
  ForEachShare(rows, positives, negatives, [&](const Row& row, double share) {
    if (row.positive) auc += share / positives;
  });
  result.influence.assign(result.user_key.size(), 0.0);
  ForEachShare(rows, positives, negatives, [&](const Row& row, double share) {
    result.influence[row.user] += (share - auc) / (row.positive ? positives : negatives);
  });
  return result;
}

double UserSd(absl::Span<const double> influence) {
  GRAB_CHECK(influence.size() >= 2);
  const auto users = static_cast<double>(influence.size());
  double squares = 0.0;
  for (const double of_user : influence) squares += of_user * of_user;
  return std::sqrt(squares * users / (users - 1.0));
}

}  // namespace grab
