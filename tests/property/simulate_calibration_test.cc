// The true probabilities are the probabilities: given the past, an impression's click is a
// Bernoulli draw of click_probability, so sum(click - p) over any set chosen before the draw has
// mean 0 and variance sum p(1 - p). Checked within 4 standard deviations overall, per decile of p,
// per position and per day, on three seeds. Seeds are fixed, so the test does not flicker; a bias
// of 0.01 over these 200,000 draws would be 13 standard deviations.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data/world_ads.h"
#include "data/world_user.h"

namespace grab {
namespace {

constexpr uint64_t kUsers = 2500;
constexpr double kDays = 14.0;

// Sum of (outcome - p) and of its variance.
struct Residual {
  double sum = 0.0;
  double variance = 0.0;
  int64_t count = 0;
  void Add(bool outcome, double p) {
    sum += (outcome ? 1.0 : 0.0) - p;
    variance += p * (1.0 - p);
    ++count;
  }
  void ExpectCalibrated(const std::string& what) const {
    ASSERT_GT(count, 200) << what;
    EXPECT_LT(std::abs(sum), 4.0 * std::sqrt(variance)) << what << ", " << count << " draws";
  }
};

struct World {
  std::vector<Impression> impressions;
  std::vector<bool> converted;  // of clicked impressions; false elsewhere
  std::vector<double> delays_h;
  std::vector<int64_t> lengths;  // impressions per user
};

World MakeWorld(uint64_t seed) {
  const AdCatalogue catalogue(seed, 400.0, kDays);
  World world;
  std::vector<Impression> page;
  std::vector<Conversion> conversions;
  for (uint64_t user = 0; user < kUsers; ++user) {
    UserWalk walk(seed, user, 0.4, kDays, catalogue);
    int64_t length = 0;
    while (walk.NextPage(page, conversions)) {
      for (const Impression& impression : page) {
        world.impressions.push_back(impression);
        world.converted.push_back(std::any_of(
            conversions.begin(), conversions.end(),
            [&](const Conversion& c) { return c.impression_event_id == impression.event_id; }));
        ++length;
      }
      for (const Conversion& c : conversions) {
        world.delays_h.push_back(static_cast<double>(c.time_ms - c.click_time_ms) / kHourMs);
      }
    }
    world.lengths.push_back(length);
  }
  return world;
}

// Made once per seed; both tests read it.
const World& WorldOf(uint64_t seed) {
  static std::map<uint64_t, World> worlds;
  const auto [at, is_new] = worlds.try_emplace(seed);
  if (is_new) at->second = MakeWorld(seed);
  return at->second;
}

template <class T>
T Quantile(std::vector<T> values, double q) {
  const auto at = static_cast<int64_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

class SimulateCalibration : public testing::TestWithParam<uint64_t> {};

TEST_P(SimulateCalibration, ClicksAndConversionsFollowTheirProbabilities) {
  SCOPED_TRACE(absl::StrCat("seed ", GetParam()));
  const World& world = WorldOf(GetParam());
  std::vector<double> probabilities;
  for (const Impression& impression : world.impressions) {
    probabilities.push_back(impression.click_probability);
  }
  std::vector<double> edges;
  for (int i = 1; i < 10; ++i) edges.push_back(Quantile(probabilities, i / 10.0));

  Residual all, conversions;
  std::vector<Residual> by_decile(10), by_position(kPageAdsMax), by_day(14);
  for (size_t i = 0; i < world.impressions.size(); ++i) {
    const Impression& impression = world.impressions[i];
    const double p = impression.click_probability;
    const auto decile = std::lower_bound(edges.begin(), edges.end(), p) - edges.begin();
    const int64_t day = (impression.request_time_ms - kWorldStartMs) / kDayMs;
    for (Residual* residual : {&all, &by_decile[static_cast<size_t>(decile)],
                               &by_position[static_cast<size_t>(impression.position)],
                               &by_day[static_cast<size_t>(day)]}) {
      residual->Add(impression.clicked, p);
    }
    if (impression.clicked) conversions.Add(world.converted[i], impression.convert_probability);
  }
  all.ExpectCalibrated("all");
  conversions.ExpectCalibrated("conversions of clicks");
  for (size_t i = 0; i < 10; ++i) by_decile[i].ExpectCalibrated(absl::StrCat("decile ", i));
  for (size_t i = 0; i < kPageAdsMax; ++i)
    by_position[i].ExpectCalibrated(absl::StrCat("slot ", i));
  for (size_t i = 0; i < 14; ++i) by_day[i].ExpectCalibrated(absl::StrCat("day ", i));
}

// What the defaults promise (docs/simulator.md), with room for the seed: the click rate moves by
// under 0.01 between seeds, the median length by a few rows.
TEST_P(SimulateCalibration, TheDefaultWorldHasItsDocumentedShape) {
  SCOPED_TRACE(absl::StrCat("seed ", GetParam()));
  const World& world = WorldOf(GetParam());
  const auto clicks = std::count_if(world.impressions.begin(), world.impressions.end(),
                                    [](const Impression& i) { return i.clicked; });
  const double rate = static_cast<double>(clicks) / static_cast<double>(world.impressions.size());
  EXPECT_GT(rate, 0.13);
  EXPECT_LT(rate, 0.25);
  EXPECT_GE(Quantile(world.lengths, 0.5), 60);
  EXPECT_LE(Quantile(world.lengths, 0.5), 90);
  EXPECT_GE(Quantile(world.lengths, 0.95), 150);
  EXPECT_LT(Quantile(world.delays_h, 0.1), 0.25) << "some convert within minutes";
  EXPECT_GT(Quantile(world.delays_h, 0.95), 12.0) << "some after most of a day";
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulateCalibration, testing::Values(1, 2, 3));

}  // namespace
}  // namespace grab
