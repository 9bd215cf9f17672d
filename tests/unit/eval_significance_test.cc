// Student's t against values of tables, and the paired test by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "eval/significance.h"

namespace grab {
namespace {

// Two-sided critical values of t tables, given to three decimals: at them p may be off by the
// density times .0005, below .0002.
TEST(StudentTwoSided, CriticalValuesOfTables) {
  struct Row {
    int degrees;
    double t, p;
  };
  for (const Row& row :
       {Row{1, 12.706, 0.05}, Row{2, 4.303, 0.05}, Row{3, 3.182, 0.05}, Row{4, 2.776, 0.05},
        Row{5, 4.032, 0.01}, Row{9, 2.262, 0.05}, Row{10, 3.169, 0.01}, Row{29, 2.045, 0.05}}) {
    EXPECT_NEAR(StudentTwoSided(row.t, row.degrees), row.p, 2e-4) << row.degrees;
    EXPECT_EQ(StudentTwoSided(-row.t, row.degrees), StudentTwoSided(row.t, row.degrees));
  }
}

TEST(StudentTwoSided, EndsOfItsRange) {
  for (int degrees = 1; degrees <= 12; ++degrees) {
    EXPECT_NEAR(StudentTwoSided(0.0, degrees), 1.0, 1e-15);
    EXPECT_LT(StudentTwoSided(1e9, degrees), 1e-8);
    EXPECT_GE(StudentTwoSided(1e9, degrees), 0.0);
  }
  // One degree is Cauchy's.
  EXPECT_NEAR(StudentTwoSided(1.0, 1), 0.5, 1e-15);
}

// Mean .002, deviations -.001, 0, .001: sd .001, t = .002 / (.001 / sqrt 3) = 3.464 with two
// degrees; p = 1 - t / sqrt(2 + t^2).
TEST(PairedTTest, ByHand) {
  const PairedDifference result = PairedTTest({0.001, 0.002, 0.003});
  EXPECT_NEAR(result.mean, 0.002, 1e-15);
  EXPECT_NEAR(*result.sd, 0.001, 1e-15);
  const double t = std::sqrt(12.0);
  EXPECT_NEAR(*result.p, 1.0 - t / std::sqrt(2.0 + t * t), 1e-12);
}

TEST(PairedTTest, OneDifferenceOrEqualOnesHaveNoP) {
  EXPECT_EQ(PairedTTest({0.5}).sd, std::nullopt);
  EXPECT_EQ(PairedTTest({0.5}).p, std::nullopt);
  EXPECT_EQ(*PairedTTest({0.25, 0.25}).sd, 0.0);
  EXPECT_EQ(PairedTTest({0.25, 0.25}).p, std::nullopt);
}

}  // namespace
}  // namespace grab
