// What users add to the chance in an AUC: against the definition, pair by pair; against leaving one
// user out; and against what other draws of users show.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "eval/metrics.h"
#include "eval/user_spread.h"

namespace grab {
namespace {

// Users of 1 to 12 rows, with rates of their own that the scores know in part, so that the rows of
// a user go together; scores on a grid have ties. Two tasks: labels of the second are known of half
// the rows.
ScoreTable RandomUsers(uint64_t seed, size_t users, bool ties) {
  Rng rng(seed);
  ScoreTable table;
  table.tasks = {"first", "second"};
  for (size_t user = 0; user < users; ++user) {
    const double rate = 1.5 * rng.Normal(), seen = rate + rng.Normal();
    for (uint64_t rows = 1 + rng.Below(12); rows > 0; --rows) {
      table.event_id.push_back(table.rows() + 1);
      table.user_key.push_back(Mix64(user));
      const bool positive = rng.Uniform() < 1.0 / (1.0 + std::exp(-rate));
      table.labels.push_back(positive ? 3 : 0);
      table.labels_known.push_back(rng.Bernoulli(0.5) ? 3 : 1);
      for (int task = 0; task < 2; ++task) {
        const double p = 1.0 / (1.0 + std::exp(-seen - 0.5 * rng.Normal()));
        table.p.push_back(static_cast<float>(ties ? std::round(10.0 * p) / 10.0 : p));
      }
    }
  }
  return table;
}

struct Pairs {
  double wins = 0.0;
  double all = 0.0;
};

// Rightly ranked pairs of a positive of `positives_of` and a negative of `negatives_of`; 0: of any
// user but `without`.
Pairs Rank(const ScoreTable& table, size_t task, uint64_t positives_of, uint64_t negatives_of,
           uint64_t without = 0) {
  Pairs pairs;
  const auto takes = [&](size_t i, uint32_t label, uint64_t of) {
    return (table.labels_known[i] >> task & 1) != 0 && (table.labels[i] >> task & 1) == label &&
           (of == 0 ? table.user_key[i] != without : table.user_key[i] == of);
  };
  for (size_t i = 0; i < table.rows(); ++i) {
    if (!takes(i, 1, positives_of)) continue;
    for (size_t j = 0; j < table.rows(); ++j) {
      if (!takes(j, 0, negatives_of)) continue;
      const float a = table.p[2 * i + task], b = table.p[2 * j + task];
      pairs.wins += a > b ? 1.0 : a == b ? 0.5 : 0.0;
      pairs.all += 1.0;
    }
  }
  return pairs;
}

double Auc(const Pairs& pairs) { return pairs.wins / pairs.all; }

// A user's share of all pairs' wins, as positive and as negative, less what its number of pairs
// would win at the AUC. Sums of at most 4,000 terms of doubles: 1e-12.
TEST(AucInfluence, FollowsTheDefinition) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    const ScoreTable table = RandomUsers(seed, 30, seed % 2 == 0);
    for (size_t task = 0; task < 2; ++task) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", task " << task);
      const Pairs whole = Rank(table, task, 0, 0);
      const auto found = AucInfluence(table, task);
      ASSERT_TRUE(found.has_value());
      double sum = 0.0;
      for (size_t u = 0; u < found->user_key.size(); ++u) {
        const Pairs above = Rank(table, task, found->user_key[u], 0);
        const Pairs below = Rank(table, task, 0, found->user_key[u]);
        const double expected =
            (above.wins + below.wins - Auc(whole) * (above.all + below.all)) / whole.all;
        EXPECT_NEAR(found->influence[u], expected, 1e-12);
        sum += found->influence[u];
      }
      EXPECT_NEAR(sum, 0.0, 1e-12);
    }
  }
}

// The jackknife's standard deviation of the same AUC; both are first-order in 1 / users, so that
// with 60 users they agree within a few percent.
TEST(UserSd, IsThatOfLeavingOneUserOut) {
  for (uint64_t seed = 11; seed <= 14; ++seed) {
    const ScoreTable table = RandomUsers(seed, 60, false);
    const auto found = AucInfluence(table, 0);
    ASSERT_TRUE(found.has_value());
    const auto users = static_cast<double>(found->user_key.size());
    std::vector<double> without;
    double mean = 0.0;
    for (const uint64_t user : found->user_key) {
      without.push_back(Auc(Rank(table, 0, 0, 0, user)));
      mean += without.back() / users;
    }
    double squares = 0.0;
    for (const double auc : without) squares += (auc - mean) * (auc - mean);
    const double jackknife = std::sqrt(squares * (users - 1.0) / users);
    EXPECT_NEAR(UserSd(found->influence) / jackknife, 1.0, 0.05) << "seed " << seed;
  }
}

double FastAuc(const ScoreTable& table, size_t task) {
  std::vector<double> p;
  std::vector<uint8_t> label;
  for (size_t i = 0; i < table.rows(); ++i) {
    p.push_back(table.p[2 * i + task]);
    label.push_back(static_cast<uint8_t>(table.labels[i] >> task & 1));
  }
  return *ComputeMetrics(p, label)->auc;
}

// 400 draws of users: the spread of the difference of two scores' AUCs is what UserSd says of each
// draw. The sd of 400 differences is known to 3.5 %, hence 12 %; rows that are taken for users say
// less than that allows.
TEST(UserSd, SaysWhatOtherUsersShow) {
  constexpr int kDraws = 400;
  double sum = 0.0, squares = 0.0, said = 0.0, said_of_rows = 0.0;
  for (int draw = 0; draw < kDraws; ++draw) {
    ScoreTable table = RandomUsers(1000 + static_cast<uint64_t>(draw), 300, false);
    table.labels_known.assign(table.rows(), 3);
    // The second score is a poor one: it knows nothing of the user's own rate.
    Rng rng(static_cast<uint64_t>(draw));
    for (size_t i = 0; i < table.rows(); ++i)
      table.p[2 * i + 1] = static_cast<float>(rng.Uniform());
    const auto spread = [&](const ScoreTable& of) {
      const auto a = AucInfluence(of, 0), b = AucInfluence(of, 1);
      std::vector<double> difference = a->influence;
      for (size_t u = 0; u < difference.size(); ++u) difference[u] -= b->influence[u];
      return UserSd(difference);
    };
    const double difference = FastAuc(table, 0) - FastAuc(table, 1);
    sum += difference / kDraws;
    squares += difference * difference / kDraws;
    said += spread(table) / kDraws;
    table.user_key = table.event_id;
    said_of_rows += spread(table) / kDraws;
  }
  const double sd = std::sqrt((squares - sum * sum) * kDraws / (kDraws - 1));
  EXPECT_NEAR(said / sd, 1.0, 0.12);
  EXPECT_LT(said_of_rows / sd, 1.0 - 0.12);
}

TEST(AucInfluence, OfOneClassThereIsNone) {
  ScoreTable table = RandomUsers(1, 5, false);
  table.labels.assign(table.rows(), 0);
  EXPECT_FALSE(AucInfluence(table, 0).has_value());
  table.labels_known.assign(table.rows(), 0);
  EXPECT_FALSE(AucInfluence(table, 0).has_value());
}

}  // namespace
}  // namespace grab
