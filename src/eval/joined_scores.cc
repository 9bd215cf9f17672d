#include "eval/joined_scores.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/check.h"

namespace grab {
namespace {

// (event id, row), ascending.
StatusOr<std::vector<std::pair<uint64_t, size_t>>> ByEvent(const ScoreTable& table,
                                                           const char* which) {
  std::vector<std::pair<uint64_t, size_t>> order(table.rows());
  for (size_t i = 0; i < order.size(); ++i) order[i] = {table.event_id[i], i};
  std::sort(order.begin(), order.end());
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i].first == order[i - 1].first) {
      return absl::InvalidArgumentError(
          absl::StrCat("the ", which, " scores hold event ", order[i].first, " twice"));
    }
  }
  return order;
}

// Rows of the same event, by ascending event_id.
StatusOr<std::vector<std::pair<size_t, size_t>>> PairRows(const ScoreTable& a,
                                                          const ScoreTable& b) {
  GRAB_ASSIGN_OR_RETURN(const auto rows_a, ByEvent(a, "first"));
  GRAB_ASSIGN_OR_RETURN(const auto rows_b, ByEvent(b, "second"));
  std::vector<std::pair<size_t, size_t>> pairs;
  pairs.reserve(rows_a.size());
  for (size_t i = 0; i < rows_a.size() || i < rows_b.size(); ++i) {
    if (i == rows_a.size() || i == rows_b.size() || rows_a[i].first != rows_b[i].first) {
      const bool in_a =
          i == rows_b.size() || (i < rows_a.size() && rows_a[i].first < rows_b[i].first);
      return absl::InvalidArgumentError(absl::StrCat(
          "event ", in_a ? rows_a[i].first : rows_b[i].first, " is only in the ",
          in_a ? "first" : "second", " scores (", rows_a.size(), " and ", rows_b.size(), " rows)"));
    }
    pairs.emplace_back(rows_a[i].second, rows_b[i].second);
  }
  return pairs;
}

double P(const ScoreTable& table, size_t row, size_t task) {
  return table.p[row * table.tasks.size() + task];
}

// The label of a task, 2 where it is unknown.
uint32_t Label(const ScoreTable& table, size_t row, size_t task) {
  return (table.labels_known[row] >> task & 1) == 0 ? 2 : table.labels[row] >> task & 1;
}

}  // namespace

StatusOr<ScoreDiff> CompareScores(const ScoreTable& a, const ScoreTable& b,
                                  const std::string& task) {
  const int task_a = a.TaskIndex(task);
  const int task_b = b.TaskIndex(task);
  if (task_a < 0 || task_b < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", task_a < 0 ? "first" : "second", " scores have no task '", task,
                     "', only ", absl::StrJoin(task_a < 0 ? a.tasks : b.tasks, ", ")));
  }
  GRAB_ASSIGN_OR_RETURN(const auto pairs, PairRows(a, b));
  ScoreDiff diff;
  double sum = 0.0;
  for (const auto& [row_a, row_b] : pairs) {
    const uint64_t event = a.event_id[row_a];
    const double p_a = P(a, row_a, static_cast<size_t>(task_a));
    const double p_b = P(b, row_b, static_cast<size_t>(task_b));
    const double difference = std::abs(p_a - p_b);
    if (std::isnan(difference)) {
      return absl::InvalidArgumentError(
          absl::StrCat("event ", event, " has no number as its probability"));
    }
    sum += difference;
    if (diff.rows++ == 0 || difference > diff.p_diff_max) {
      diff.p_diff_max = difference;
      diff.event_id_of_max = event;
    }
  }
  if (diff.rows > 0) diff.p_diff_mean = sum / static_cast<double>(diff.rows);
  return diff;
}

Status LogitMean::Add(const ScoreTable& table) {
  const bool is_first = tables_ == 0;
  const ScoreTable& first = is_first ? table : first_;
  const size_t tasks = first.tasks.size();
  std::vector<int> task_in(tasks, -1);  // places in `table` of tasks that all have
  for (size_t t = 0; t < tasks; ++t) {
    if (is_first || common_[t]) task_in[t] = table.TaskIndex(first.tasks[t]);
  }
  if (std::all_of(task_in.begin(), task_in.end(), [](int in) { return in < 0; })) {
    return absl::InvalidArgumentError(
        absl::StrCat("of the tasks ", absl::StrJoin(first.tasks, ", "), " of the first scores ",
                     absl::StrJoin(table.tasks, ", "), " has none that the others have too"));
  }
  GRAB_ASSIGN_OR_RETURN(const auto pairs, PairRows(first, table));
  for (size_t t = 0; t < tasks; ++t) {
    if (task_in[t] < 0) continue;
    for (const auto& [row, other] : pairs) {
      if (Label(first, row, t) == Label(table, other, static_cast<size_t>(task_in[t]))) continue;
      return absl::InvalidArgumentError(absl::StrCat("event ", first.event_id[row],
                                                     " has another label of task '", first.tasks[t],
                                                     "' than in the first scores"));
    }
  }
  if (is_first) {
    first_ = table;
    logits_.assign(tasks, std::vector<double>(table.rows(), 0.0));
    common_.assign(tasks, true);
  }
  for (size_t t = 0; t < tasks; ++t) {
    common_[t] = task_in[t] >= 0;
    if (!common_[t]) continue;
    for (const auto& [row, other] : pairs) {
      const double p = P(table, other, static_cast<size_t>(task_in[t]));
      logits_[t][row] += std::log(p) - std::log1p(-p);
    }
  }
  ++tables_;
  return absl::OkStatus();
}

StatusOr<ScoreTable> LogitMean::Table() const {
  GRAB_CHECK(tables_ > 0);
  std::vector<size_t> kept;
  for (size_t t = 0; t < common_.size(); ++t) {
    if (common_[t]) kept.push_back(t);
  }
  ScoreTable mean = first_;
  mean.tasks.clear();
  for (const size_t t : kept) mean.tasks.push_back(first_.tasks[t]);
  mean.p.clear();
  for (size_t row = 0; row < first_.rows(); ++row) {
    mean.labels[row] = mean.labels_known[row] = 0;
    for (size_t k = 0; k < kept.size(); ++k) {
      mean.labels[row] |= (first_.labels[row] >> kept[k] & 1) << k;
      mean.labels_known[row] |= (first_.labels_known[row] >> kept[k] & 1) << k;
      const double logit = logits_[kept[k]][row] / static_cast<double>(tables_);
      if (std::isnan(logit)) {
        return absl::InvalidArgumentError(
            absl::StrCat("event ", first_.event_id[row], " has no mean logit of task '",
                         first_.tasks[kept[k]], "': its probability is 0 in one, 1 in another"));
      }
      mean.p.push_back(static_cast<float>(1.0 / (1.0 + std::exp(-logit))));
    }
  }
  return mean;
}

}  // namespace grab
