// What fresher levels are worth: against a quadratic reference that takes every row's evidence and
// every pair's order for itself, on random tables of 2 to 300 rows with ties in time, missing
// values and unknown labels; and on rows whose values have planted levels. Sums are taken in
// another order than the reference's, so corrections differ by rounding, which can turn the order
// of a pair only if its scores agree to 1e-13: the tolerance allows one such pair.
#include <gtest/gtest.h>

#include <cmath>

#include "eval/level_gain.h"
#include "support/eval_table.h"

namespace grab {
namespace {

struct Row {
  int64_t time_ms;
  double p;
  int label;
  std::vector<uint64_t> keys;  // the user, then the slices
};

std::vector<Row> KnownRows(const ScoreTable& table, size_t task) {
  std::vector<Row> rows;
  for (size_t i = 0; i < table.rows(); ++i) {
    if ((table.labels_known[i] >> task & 1) == 0) continue;
    Row row{table.request_time_ms[i],
            table.p[i * table.tasks.size() + task],
            static_cast<int>(table.labels[i] >> task & 1),
            {table.user_key[i]}};
    for (size_t s = 0; s < table.slices.size(); ++s) {
      row.keys.push_back(table.slice_values[i * table.slices.size() + s]);
    }
    rows.push_back(row);
  }
  return rows;
}

double Correction(const std::vector<Row>& rows, size_t i, size_t key, bool hindsight,
                  double prior) {
  if (rows[i].keys[key] == 0) return 0.0;
  double residual = 0.0, precision = 0.0;
  for (size_t j = 0; j < rows.size(); ++j) {
    if (j == i || rows[j].keys[key] != rows[i].keys[key]) continue;
    if (!hindsight && rows[j].time_ms >= rows[i].time_ms) continue;
    residual += rows[j].label - rows[j].p;
    precision += rows[j].p * (1.0 - rows[j].p);
  }
  return residual / (prior + precision);
}

double PairAuc(const std::vector<Row>& rows, const std::vector<double>& score) {
  double ordered = 0.0, pairs = 0.0;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < rows.size(); ++j) {
      if (rows[i].label != 1 || rows[j].label != 0) continue;
      pairs += 1.0;
      ordered += score[i] > score[j] ? 1.0 : score[i] == score[j] ? 0.5 : 0.0;
    }
  }
  return ordered / pairs;
}

// The corrected scores; `priors` has one for each key, or none for no correction by it.
std::vector<double> Corrected(const std::vector<Row>& rows, bool hindsight,
                              const std::vector<std::optional<double>>& priors) {
  std::vector<double> score;
  for (size_t i = 0; i < rows.size(); ++i) {
    double logit = std::log(rows[i].p / (1.0 - rows[i].p));
    for (size_t key = 0; key < priors.size(); ++key) {
      if (priors[key]) logit += Correction(rows, i, key, hindsight, *priors[key]);
    }
    score.push_back(1.0 / (1.0 + std::exp(-logit)));
  }
  return score;
}

TEST(LevelGain, IsThatOfAQuadraticReference) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Rng rng(seed);
    ScoreTable table = RandomScoreTable(2 + rng.Below(299), 2, 2, seed);
    for (size_t i = 0; i < table.rows(); ++i) {
      table.user_key[i] = 1 + rng.Below(9);
      table.request_time_ms[i] /= 50000;  // about 20 times, not in order
    }
    const size_t task = rng.Below(2);
    const std::vector<Row> rows = KnownRows(table, task);
    const auto report = ComputeLevelGains(table, task);
    ASSERT_TRUE(report.ok()) << report.status();
    int positives = 0;
    for (const Row& row : rows) positives += row.label;
    const int negatives = static_cast<int>(rows.size()) - positives;
    ASSERT_EQ(report->has_value(), positives > 0 && negatives > 0);
    if (!report->has_value()) continue;
    const LevelReport& got = **report;
    const double pair = 1.0 / (positives * negatives) + 1e-12;
    const double auc = PairAuc(rows, Corrected(rows, false, {}));
    EXPECT_NEAR(got.auc, auc, pair);
    ASSERT_EQ(got.keys.size(), 3u);
    for (const bool hindsight : {false, true}) {
      std::vector<std::optional<double>> chosen;
      for (size_t key = 0; key < 3; ++key) {
        const LevelGain& gain = hindsight ? got.keys[key].hindsight : got.keys[key].before;
        chosen.push_back(gain.prior);
        double best = 0.0;
        for (const double prior : kLevelPriors) {
          std::vector<std::optional<double>> one(key + 1);
          one[key] = prior;
          best = std::max(best, PairAuc(rows, Corrected(rows, hindsight, one)) - auc);
        }
        EXPECT_NEAR(gain.auc, best, pair) << got.keys[key].key;
      }
      EXPECT_NEAR(hindsight ? got.hindsight_auc : got.before_auc,
                  PairAuc(rows, Corrected(rows, hindsight, chosen)) - auc, 2 * pair);
    }
  }
}

// 200 values with levels of deviation 1 that p does not know, 40 rows each. Labels of 20 rows
// before tell most of a level, those of 39 others more; with the level itself the gain is that of
// the true probabilities. The users have none: a correction by their 4 rows is chance.
TEST(LevelGain, FindsPlantedLevelsAndNoOthers) {
  Rng rng(11);
  ScoreTable table = RandomScoreTable(8000, 1, 1, 11);
  ScoreTable truth = table;
  std::vector<double> level(201);
  for (double& value : level) value = rng.Normal();
  for (size_t i = 0; i < table.rows(); ++i) {
    const double logit = rng.Normal();
    table.user_key[i] = 1 + rng.Below(2000);
    table.slice_values[i] = 1 + rng.Below(200);
    table.p[i] = static_cast<float>(1.0 / (1.0 + std::exp(-logit)));
    truth.p[i] = static_cast<float>(1.0 / (1.0 + std::exp(-logit - level[table.slice_values[i]])));
    table.labels_known[i] = 1;
    table.labels[i] = rng.Bernoulli(truth.p[i]) ? 1 : 0;
  }
  truth.labels = table.labels;
  truth.labels_known = table.labels_known;
  const auto report = ComputeLevelGains(table, 0);
  ASSERT_TRUE(report.ok() && report->has_value());
  const auto best = ComputeLevelGains(truth, 0);
  ASSERT_TRUE(best.ok() && best->has_value());
  const KeyLevels& user = (*report)->keys[0];
  const KeyLevels& slice = (*report)->keys[1];
  const double room = (*best)->auc - (*report)->auc;
  EXPECT_GT(slice.before.auc, 0.6 * room);
  EXPECT_GT(slice.hindsight.auc, slice.before.auc);
  EXPECT_LT(slice.hindsight.auc, room);
  EXPECT_LT(user.before.auc, 0.05 * room);
  EXPECT_LT(user.hindsight.auc, 0.05 * room);
  EXPECT_LT((*best)->hindsight_auc, 0.05 * room);
}

TEST(LevelGain, IsZeroWhereNothingIsKnownOfTheOthers) {
  ScoreTable table = RandomScoreTable(100, 1, 1, 5);
  for (size_t i = 0; i < table.rows(); ++i) {
    table.user_key[i] = i + 1;
    table.slice_values[i] = 0;
  }
  const auto report = ComputeLevelGains(table, 0);
  ASSERT_TRUE(report.ok() && report->has_value());
  for (const KeyLevels& key : (*report)->keys) {
    EXPECT_EQ(key.before.auc, 0.0);
    EXPECT_EQ(key.hindsight.auc, 0.0);
    EXPECT_EQ(key.hindsight.prior, std::nullopt);
  }
  EXPECT_EQ((*report)->keys[1].values, 0u);
}

}  // namespace
}  // namespace grab
