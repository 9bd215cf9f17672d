// Scores of several models of the same targets: their differences and the mean of their logits,
// against values computed by hand, and what cannot be joined.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "eval/joined_scores.h"
#include "support/eval_table.h"

namespace grab {
namespace {

TEST(CompareScores, MatchesHandComputedValues) {
  ScoreTable a = RandomScoreTable(3, 1, 0, 1);
  ScoreTable b = a;
  a.event_id = {5, 7, 9};
  a.p = {0.5f, 0.25f, 0.75f};
  b.event_id = {9, 5, 7};
  b.p = {0.75f, 0.375f, 0.5f};
  const auto diff = CompareScores(a, b, a.tasks[0]);
  ASSERT_TRUE(diff.ok()) << diff.status();
  EXPECT_EQ(diff->rows, 3u);
  EXPECT_EQ(diff->p_diff_max, 0.25);  // exact: powers of two
  EXPECT_EQ(diff->p_diff_mean, (0.125 + 0.25) / 3);
  EXPECT_EQ(diff->event_id_of_max, 7u);
}

TEST(CompareScores, TasksAreFoundByName) {
  ScoreTable a = RandomScoreTable(50, 2, 0, 3);
  ScoreTable b = a;
  std::swap(b.tasks[0], b.tasks[1]);
  for (size_t i = 0; i < b.rows(); ++i) std::swap(b.p[2 * i], b.p[2 * i + 1]);
  for (const std::string& task : a.tasks) {
    const auto diff = CompareScores(a, b, task);
    ASSERT_TRUE(diff.ok());
    EXPECT_EQ(diff->p_diff_max, 0.0);
  }
}

TEST(CompareScores, MissingRowsTasksAndNumbersAreErrors) {
  const ScoreTable a = RandomScoreTable(3, 1, 0, 1);
  const auto expect = [&](const ScoreTable& x, const ScoreTable& y, const std::string& text) {
    const auto diff = CompareScores(x, y, a.tasks[0]);
    EXPECT_EQ(diff.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(diff.status().ToString().find(text), std::string::npos) << diff.status();
  };
  ScoreTable less = RandomScoreTable(2, 1, 0, 1);
  less.event_id = {a.event_id[0], a.event_id[1]};
  ScoreTable other = a;
  other.event_id[1] += 1000;
  ScoreTable twice = a;
  twice.event_id[1] = twice.event_id[0];
  ScoreTable renamed = a;
  renamed.tasks[0] = "other";
  ScoreTable no_number = a;
  no_number.p[2] = std::numeric_limits<float>::quiet_NaN();
  expect(a, less, "only in the first");
  expect(less, a, "only in the second");
  expect(a, other, "only in the first");
  expect(a, twice, "twice");
  expect(a, renamed, "no task");
  expect(a, no_number, "no number");
}

// Rows of one task, positive where the number of the event is odd.
ScoreTable Scores(std::vector<uint64_t> events, std::vector<float> p) {
  ScoreTable table = RandomScoreTable(events.size(), 1, 0, 1);
  for (size_t i = 0; i < events.size(); ++i) {
    table.labels_known[i] = 1;
    table.labels[i] = static_cast<uint32_t>(events[i] % 2);
  }
  table.event_id = std::move(events);
  table.p = std::move(p);
  return table;
}

// Odds of 1/3 and 3, 1 and 9, 3 and 3: their geometric means are 1, 3 and 3.
TEST(LogitMean, IsTheGeometricMeanOfTheOdds) {
  LogitMean mean;
  ASSERT_EQ(mean.Add(Scores({5, 8, 9}, {0.25f, 0.5f, 0.75f})), absl::OkStatus());
  ASSERT_EQ(mean.Add(Scores({9, 5, 8}, {0.75f, 0.75f, 0.9f})), absl::OkStatus());
  const auto table = mean.Table();
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->event_id, (std::vector<uint64_t>{5, 8, 9}));
  EXPECT_EQ(table->labels, (std::vector<uint32_t>{1, 0, 1}));
  // A float's rounding.
  EXPECT_NEAR(table->p[0], 0.5, 1e-7);
  EXPECT_NEAR(table->p[1], 0.75, 1e-7);
  EXPECT_NEAR(table->p[2], 0.75, 1e-7);
}

TEST(LogitMean, KeepsTheTasksThatAllHave) {
  const ScoreTable both = RandomScoreTable(50, 2, 1, 3);
  ScoreTable second = both;
  second.tasks = {both.tasks[1]};
  second.p.clear();
  for (size_t i = 0; i < both.rows(); ++i) {
    second.p.push_back(both.p[2 * i + 1]);
    second.labels[i] = both.labels[i] >> 1;
    second.labels_known[i] = both.labels_known[i] >> 1;
  }
  for (const bool fewer_first : {false, true}) {
    LogitMean mean;
    ASSERT_EQ(mean.Add(fewer_first ? second : both), absl::OkStatus());
    ASSERT_EQ(mean.Add(fewer_first ? both : second), absl::OkStatus());
    const auto table = mean.Table();
    ASSERT_TRUE(table.ok()) << table.status();
    EXPECT_EQ(table->tasks, second.tasks);
    EXPECT_EQ(table->labels, second.labels);
    EXPECT_EQ(table->labels_known, second.labels_known);
    EXPECT_EQ(table->slice_values, both.slice_values);
    for (size_t i = 0; i < both.rows(); ++i) EXPECT_NEAR(table->p[i], second.p[i], 1e-6) << i;
  }
}

TEST(LogitMean, RefusesWhatCannotBeJoined) {
  const ScoreTable first = Scores({5, 7, 9}, {0.25f, 0.5f, 1.0f});
  LogitMean mean;
  ASSERT_EQ(mean.Add(first), absl::OkStatus());
  const auto refused = [&](const ScoreTable& table, const std::string& text) {
    const Status status = mean.Add(table);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.ToString().find(text), std::string::npos) << status;
  };
  refused(Scores({5, 7}, {0.25f, 0.5f}), "only in the first");
  ScoreTable renamed = first;
  renamed.tasks[0] = "other";
  refused(renamed, "none that the others have");
  ScoreTable relabelled = first;
  relabelled.labels[1] ^= 1;
  refused(relabelled, "event 7 has another label");
  relabelled = first;
  relabelled.labels_known[2] = relabelled.labels[2] = 0;
  refused(relabelled, "event 9 has another label");
  ASSERT_EQ(mean.Table()->p[0], 0.25f) << "what was refused left nothing behind";
  ASSERT_EQ(mean.Add(Scores({5, 7, 9}, {0.25f, 0.5f, 0.0f})), absl::OkStatus());
  EXPECT_NE(mean.Table().status().message().find("0 in one, 1 in another"), std::string::npos);
}

}  // namespace
}  // namespace grab
