// Curves against values computed by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/time_range.h"
#include "eval/curves.h"

namespace grab {
namespace {

using testing::HasSubstr;

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kDayMs = 24 * kHourMs;

TEST(CalibrationCurve, MeansOfRunsByPrediction) {
  // By p: .1 (0), .2 (1), .2 (0), .4 (0), .9 (1); two runs of two and three rows.
  const std::vector<CalibrationPoint> points =
      CalibrationCurve({0.9, 0.2, 0.1, 0.2, 0.4}, {1, 1, 0, 0, 0}, 2);
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].rows, 2u);
  EXPECT_DOUBLE_EQ(points[0].p_mean, 0.15);
  EXPECT_DOUBLE_EQ(points[0].label_mean, 0.5);
  EXPECT_EQ(points[1].rows, 3u);
  EXPECT_DOUBLE_EQ(points[1].p_mean, 0.5);
  EXPECT_DOUBLE_EQ(points[1].label_mean, 1.0 / 3.0);
}

TEST(CalibrationCurve, HasNoEmptyBins) {
  EXPECT_TRUE(CalibrationCurve({}, {}, 20).empty());
  const std::vector<CalibrationPoint> points = CalibrationCurve({0.5, 0.25}, {1, 0}, 20);
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].p_mean, 0.25);
  EXPECT_EQ(points[1].label_mean, 1.0);
}

struct BinsCase {
  int64_t first_ms;
  int64_t last_ms;
  size_t count_max;
  TimeBins bins;
};

TEST(TimeBins, AreTheNarrowestRoundOnes) {
  const BinsCase cases[] = {
      {90'000, 90'000, 2, {60'000, 60'000, 1}},                       // one minute
      {0, kHourMs, 13, {0, 300'000, 13}},                             // 12 spans of 5 min and one
      {0, kHourMs, 12, {0, 900'000, 5}},                              // 13 would be too many
      {5 * kHourMs, 29 * kHourMs, 9, {3 * kHourMs, 3 * kHourMs, 9}},  // from 03:00
      {kHourMs, 10 * kDayMs, 6, {0, 2 * kDayMs, 6}},                  // days double
      {0, kTimeMaxMs, 60, {0, kDayMs << 16, 45}},
  };
  for (const BinsCase& expected : cases) {
    const auto bins = MakeTimeBins(expected.first_ms, expected.last_ms, expected.count_max);
    ASSERT_TRUE(bins.ok()) << bins.status();
    EXPECT_EQ(bins->begin_ms, expected.bins.begin_ms) << expected.last_ms;
    EXPECT_EQ(bins->width_ms, expected.bins.width_ms) << expected.last_ms;
    EXPECT_EQ(bins->count, expected.bins.count) << expected.last_ms;
    EXPECT_EQ(bins->Of(expected.first_ms), 0u);
    EXPECT_EQ(bins->Of(expected.last_ms), bins->count - 1);
  }
}

TEST(TimeBins, RefusesWhatIsNoTime) {
  for (const auto& [first_ms, last_ms] :
       {std::pair<int64_t, int64_t>{-1, 0}, {0, kTimeMaxMs + 1}}) {
    const auto bins = MakeTimeBins(first_ms, last_ms, 10);
    EXPECT_TRUE(absl::IsInvalidArgument(bins.status()));
    EXPECT_THAT(std::string(bins.status().message()), HasSubstr("got"));
  }
}

TEST(AucOverTime, OfEachBin) {
  const TimeBins bins = {0, 10, 3};
  // Bin 0: positives .3, .7 against negatives .5, .5: 2 of 4 pairs. Bin 1: one class. Bin 2: none.
  const std::vector<int64_t> time_ms = {0, 3, 9, 5, 10, 19};
  const std::vector<double> p = {0.3, 0.5, 0.7, 0.5, 0.1, 0.2};
  const std::vector<uint8_t> label = {1, 0, 1, 0, 1, 1};
  const auto points = AucOverTime(bins, time_ms, p, label, 2);
  ASSERT_TRUE(points.ok()) << points.status();
  ASSERT_EQ(points->size(), 3u);
  EXPECT_EQ((*points)[0].auc, 0.5);
  EXPECT_EQ((*points)[0].rows, 4u);
  EXPECT_EQ((*points)[0].positives, 2u);
  EXPECT_EQ((*points)[1].auc, std::nullopt);
  EXPECT_EQ((*points)[1].rows, 2u);
  EXPECT_EQ((*points)[2].rows, 0u);
  // Three rows of each class are asked for.
  EXPECT_EQ(AucOverTime(bins, time_ms, p, label, 3)->at(0).auc, std::nullopt);
}

}  // namespace
}  // namespace grab
