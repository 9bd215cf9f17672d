// 16-bit floats: every bit pattern of both formats through f32 and back; rounding at random against
// the two neighbours and the mean.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "kernels/half_rows.h"

namespace grab {
namespace {

// By the definition: sign, exponent of 5 bits, fraction of 10.
double F16Value(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) return fraction == 0 ? sign * HUGE_VAL : std::nan("");
  return sign *
         (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

TEST(HalfRows, EveryF16IsExactAndComesBack) {
  for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    float value = 0;
    F16RowToF32(1, &half, &value);
    const double expected = F16Value(half);
    uint16_t back = 0;
    F32RowToF16(1, &value, bits, &back);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value)) << bits;
      EXPECT_TRUE(std::isnan(F16Value(back))) << bits;
    } else {
      ASSERT_EQ(value, expected) << bits;
      ASSERT_EQ(std::signbit(value), std::signbit(expected)) << bits;
      ASSERT_EQ(back, half);
    }
  }
}

TEST(HalfRows, EveryBf16IsExactAndComesBack) {
  for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    float value = 0;
    Bf16RowToF32(1, &half, &value);
    uint16_t back = 0;
    F32RowToBf16(1, &value, bits, &back);
    if (std::isnan(value)) {
      EXPECT_TRUE((back & 0x7f80) == 0x7f80 && (back & 0x7f) != 0) << bits;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(value), bits << 16);
      ASSERT_EQ(back, half);
    }
  }
}

// The mean of n draws of a Bernoulli variable between neighbours `spacing` apart is off by at most
// 5 standard errors, 5 * spacing / 2 / sqrt(n), plus the resolution of the probability.
template <class Narrow, class Widen>
void ExpectUnbiased(const Narrow& narrow, const Widen& widen, double fraction_bits,
                    double smallest) {
  constexpr int64_t kDraws = 20000;
  Rng rng(7);
  for (int trial = 0; trial < 40; ++trial) {
    const auto value =
        static_cast<float>(rng.Normal() * std::exp2(-20.0 + static_cast<double>(rng.Below(25))));
    const double spacing =
        std::max(smallest, std::exp2(std::floor(std::log2(std::abs(value))) - fraction_bits));
    const std::vector<float> row(kDraws, value);
    std::vector<uint16_t> halves(kDraws);
    std::vector<float> back(kDraws);
    narrow(kDraws, row.data(), static_cast<uint64_t>(trial), halves.data());
    widen(kDraws, halves.data(), back.data());
    double mean = 0.0;
    for (const float b : back) {
      ASSERT_LT(std::abs(b - value), spacing) << value;
      mean += static_cast<double>(b) / kDraws;
    }
    EXPECT_NEAR(mean, value, spacing * (2.5 / std::sqrt(kDraws) + 1.0 / 8192)) << value;
  }
}

TEST(HalfRows, RoundingIsUnbiased) {
  ExpectUnbiased(F32RowToBf16, Bf16RowToF32, 7, 0.0);
  ExpectUnbiased(F32RowToF16, F16RowToF32, 10, 0x1p-24);
}

TEST(HalfRows, DrawsDependOnSeedAndElement) {
  const std::vector<float> row(37, 1.0f / 3);
  std::vector<uint16_t> a(37), b(37), c(37);
  F32RowToBf16(37, row.data(), 1, a.data());
  F32RowToBf16(37, row.data(), 1, b.data());
  F32RowToBf16(37, row.data(), 2, c.data());
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
  F32RowToBf16(11, row.data(), 1, c.data());  // a prefix is a prefix
  EXPECT_TRUE(std::equal(c.begin(), c.begin() + 11, a.begin()));
}

TEST(HalfRows, F16OverflowsToInfinity) {
  const float big[] = {65504.0f, 65536.0f, -1e30f, std::numeric_limits<float>::infinity()};
  uint16_t halves[4];
  F32RowToF16(4, big, 1, halves);
  EXPECT_EQ(halves[0], 0x7bff);
  EXPECT_EQ(halves[1], 0x7c00);
  EXPECT_EQ(halves[2], 0xfc00);
  EXPECT_EQ(halves[3], 0x7c00);
}

}  // namespace
}  // namespace grab
