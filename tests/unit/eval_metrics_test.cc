// Metrics against values computed by hand, and what they do where they are undefined or the input
// is wrong. Tolerance 1e-12: every value is a handful of double operations.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "eval/metrics.h"

namespace grab {
namespace {

constexpr double kTolerance = 1e-12;

TEST(Metrics, MatchHandComputedValues) {
  const std::vector<double> p = {0.1, 0.4, 0.35, 0.8};
  const std::vector<uint8_t> label = {0, 0, 1, 1};
  const auto metrics = ComputeMetrics(p, label);
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  EXPECT_EQ(metrics->rows, 4u);
  EXPECT_EQ(metrics->positives, 2u);
  EXPECT_EQ(metrics->clipped, 0u);
  // Of the pairs (.35, .1) (.35, .4) (.8, .1) (.8, .4) the second is wrong.
  EXPECT_NEAR(metrics->auc.value(), 0.75, kTolerance);
  const double logloss = -(std::log(0.9) + std::log(0.6) + std::log(0.35) + std::log(0.8)) / 4;
  EXPECT_NEAR(metrics->logloss.value(), logloss, kTolerance);
  EXPECT_NEAR(metrics->logloss.value(), 0.4722879, 1e-7);
  // Half of the labels are 1: the entropy is ln 2.
  EXPECT_NEAR(metrics->ne.value(), logloss / std::log(2.0), kTolerance);
  EXPECT_NEAR(metrics->pcoc.value(), (1.65 / 4) / 0.5, kTolerance);
}

TEST(Metrics, UnevenBaseRate) {
  const auto metrics = ComputeMetrics(std::vector<double>{0.2, 0.2, 0.2, 0.2, 0.2},
                                      std::vector<uint8_t>{0, 0, 1, 0, 0});
  ASSERT_TRUE(metrics.ok());
  // Predicting the base rate everywhere: NE and PCOC are 1, AUC is chance.
  EXPECT_NEAR(metrics->ne.value(), 1.0, kTolerance);
  EXPECT_NEAR(metrics->pcoc.value(), 1.0, kTolerance);
  EXPECT_EQ(metrics->auc.value(), 0.5);
}

TEST(Metrics, TiesCountHalf) {
  const auto metrics =
      ComputeMetrics(std::vector<double>{0.5, 0.5, 0.5, 0.2}, std::vector<uint8_t>{1, 0, 1, 0});
  ASSERT_TRUE(metrics.ok());
  // Each positive ties with one negative and beats the other: (2 * 0.5 + 2) / 4.
  EXPECT_NEAR(metrics->auc.value(), 0.75, kTolerance);
}

TEST(Metrics, UndefinedIsNoNumber) {
  const auto empty = ComputeMetrics({}, {});
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ(empty->rows, 0u);
  EXPECT_FALSE(empty->auc || empty->logloss || empty->ne || empty->pcoc);

  const auto negatives = ComputeMetrics(std::vector<double>{0.5, 0.25}, std::vector<uint8_t>{0, 0});
  ASSERT_TRUE(negatives.ok());
  EXPECT_FALSE(negatives->auc || negatives->ne || negatives->pcoc);
  EXPECT_NEAR(negatives->logloss.value(), -(std::log(0.5) + std::log(0.75)) / 2, kTolerance);

  const auto positives = ComputeMetrics(std::vector<double>{0.5, 0.25}, std::vector<uint8_t>{1, 1});
  ASSERT_TRUE(positives.ok());
  EXPECT_FALSE(positives->auc || positives->ne);
  EXPECT_NEAR(positives->pcoc.value(), 0.375, kTolerance);
}

TEST(Metrics, CertainAndWrongIsClippedAndCounted) {
  const std::vector<double> p = {0.0, 1.0, 0.0, 1.0, 1e-300};
  const auto metrics = ComputeMetrics(p, std::vector<uint8_t>{1, 0, 0, 1, 1});
  ASSERT_TRUE(metrics.ok());
  // The certain and right rows lose exactly nothing; the other three lose -ln(floor) each.
  EXPECT_EQ(metrics->clipped, 3u);
  EXPECT_NEAR(metrics->logloss.value(), -3 * std::log(1e-12) / 5, kTolerance * 100);
  // Positives {0, 1, 1e-300} against negatives {1, 0}: 0.5, 1.5 and 1 of 2 each.
  EXPECT_NEAR(metrics->auc.value(), 3.0 / 6, kTolerance);
}

TEST(Metrics, TinyProbabilityKeepsItsPrecision) {
  // 1 - 1e-11 has lost digits already; log1p must not lose more than those of p itself.
  const auto metrics = ComputeMetrics(std::vector<double>{1e-11}, std::vector<uint8_t>{0});
  ASSERT_TRUE(metrics.ok());
  EXPECT_EQ(metrics->clipped, 0u);
  EXPECT_NEAR(metrics->logloss.value() / 1e-11, 1.0, 1e-10);
}

TEST(Metrics, WrongInputIsAnErrorNamingTheRow) {
  const std::vector<uint8_t> label = {0, 1};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double wrong : {-1e-9, 1.0 + 1e-9, nan, infinity, -infinity}) {
    SCOPED_TRACE(wrong);
    const std::vector<double> p = {0.5, wrong};
    const std::vector<uint64_t> group = {0, 0};
    for (const auto& status :
         {ComputeMetrics(p, label).status(), ComputeGauc(p, label, group).status()}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_NE(status.ToString().find("row 1"), std::string::npos) << status;
    }
  }
  EXPECT_EQ(ComputeMetrics(std::vector<double>{0.5}, std::vector<uint8_t>{2}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Gauc, MatchesHandComputedValue) {
  // Group 7: AUC 1 over 2 rows. Group 9: one of two pairs right, 3 rows. Group 4: one class. One
  // row in no group.
  const std::vector<double> p = {0.1, 0.6, 0.9, 0.5, 0.7, 0.3, 0.2, 0.99};
  const std::vector<uint8_t> label = {0, 0, 1, 1, 1, 0, 0, 0};
  const std::vector<uint64_t> group = {7, 9, 7, 9, 9, 4, 4, 0};
  const auto result = ComputeGauc(p, label, group);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(result->gauc.value(), (2 * 1.0 + 3 * 0.5) / 5, kTolerance);
  EXPECT_EQ(result->rows, 8u);
  EXPECT_EQ(result->rows_ungrouped, 1u);
  EXPECT_EQ(result->rows_used, 5u);
  EXPECT_EQ(result->groups, 3u);
  EXPECT_EQ(result->groups_used, 2u);
}

TEST(Gauc, UndefinedWithoutAGroupOfBothClasses) {
  const auto result = ComputeGauc(std::vector<double>{0.1, 0.9}, std::vector<uint8_t>{0, 1},
                                  std::vector<uint64_t>{1, 2});
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->gauc.has_value());
  EXPECT_EQ(result->groups, 2u);
  EXPECT_EQ(result->groups_used, 0u);
}

}  // namespace
}  // namespace grab
