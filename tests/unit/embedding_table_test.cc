// Rows, keys and optimiser steps of a table in every precision; steps against the formulas in f64.
// Rows of 16 bits: that random rounding costs next to nothing.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/rng.h"
#include "embedding/table.h"
#include "support/table_ops.h"

namespace grab {
namespace {

using testing::Values;

TableOptions Options(uint32_t dim, SparseOptimiser optimiser, double init_std, uint64_t seed,
                     RowPrecision precision = RowPrecision::kF32) {
  TableOptions options{dim, optimiser, init_std, seed};
  options.precision = precision;
  return options;
}

TEST(EmbeddingTable, EveryKeyHasItsOwnRowAndTheUnknownRowIsThere) {
  EmbeddingTable table(Options(4, SparseOptimiser::kNone, 0.1, 7));
  EXPECT_EQ(table.rows(), 1u);
  EXPECT_EQ(table.key(EmbeddingTable::kUnknownRow), 0u);
  EXPECT_EQ(table.Find(42), EmbeddingTable::kUnknownRow);
  EXPECT_EQ(table.Find(0), EmbeddingTable::kUnknownRow);
  const uint32_t row = table.FindOrInsert(42), other = table.FindOrInsert(43);
  EXPECT_NE(row, other);
  EXPECT_NE(row, EmbeddingTable::kUnknownRow);
  EXPECT_EQ(table.FindOrInsert(42), row);
  EXPECT_EQ(table.Find(43), other);
  EXPECT_EQ(table.key(other), 43u);
  EXPECT_EQ(table.rows(), 3u);
}

// 100,000 keys: indices double a dozen times and rows move into mapped memory. One by one and many
// at a time, present and absent mixed, over list lengths around the look-ahead.
TEST(EmbeddingTable, ManyKeysAreFoundHoweverTheyAreAsked) {
  EmbeddingTable table(Options(8, SparseOptimiser::kAdagrad, 0.0, 7));
  std::vector<uint64_t> keys;
  Rng rng(5);
  for (int i = 0; i < 100000; ++i) keys.push_back(rng.Next() | 1);
  for (const uint64_t key : keys) table.FindOrInsert(key);
  EXPECT_EQ(table.rows(), keys.size() + 1);
  std::set<uint32_t> rows;
  table.ForEachRow([&](uint32_t row) { rows.insert(row); });
  EXPECT_EQ(rows.size(), keys.size() + 1);
  for (const size_t n : {size_t{0}, size_t{1}, size_t{15}, size_t{16}, size_t{31}, size_t{32},
                         size_t{33}, size_t{1000}, keys.size()}) {
    std::vector<uint64_t> asked(keys.begin(), keys.begin() + static_cast<ptrdiff_t>(n));
    for (size_t i = 0; i < n; i += 3) asked[i] &= ~uint64_t{1};  // even: has no row
    std::vector<uint32_t> found(n, 77);
    table.FindRows(asked, found.data());
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(found[i], table.Find(asked[i])) << n;
      ASSERT_EQ(table.key(found[i]), i % 3 == 0 ? 0u : asked[i]) << n;
    }
  }
}

TEST(EmbeddingTable, FirstValuesDependOnSeedAndKeyOnly) {
  EmbeddingTable a(Options(3, SparseOptimiser::kAdagrad, 1.0, 7)),
      b(Options(3, SparseOptimiser::kNone, 1.0, 7));
  EmbeddingTable other(Options(3, SparseOptimiser::kNone, 1.0, 8));
  for (uint64_t key = 1; key <= 10000; ++key) {
    a.FindOrInsert(key);
    b.FindOrInsert(10001 - key);
  }
  other.FindOrInsert(5);
  for (uint64_t key : {1, 5, 4096, 9999}) {
    EXPECT_EQ(Values(a, a.Find(key)), Values(b, b.Find(key))) << key;
  }
  EXPECT_NE(Values(a, a.Find(5)), Values(other, other.Find(5)));
  double sum = 0, squares = 0;
  a.ForEachRow([&](uint32_t row) {
    if (row == EmbeddingTable::kUnknownRow) return;
    sum += Values(a, row)[0];
    squares += Values(a, row)[0] * Values(a, row)[0];
  });
  EXPECT_NEAR(sum / 10000, 0.0, 0.05);      // 5 standard errors
  EXPECT_NEAR(squares / 10000, 1.0, 0.08);  // likewise
}

// Widths around the vector widths; five steps, each within f32 rounding of the formula.
TEST(EmbeddingTable, RowwiseAdagrad) {
  for (uint32_t dim : {1u, 2u, 7u, 8u, 15u, 16u, 17u, 32u, 33u, 100u}) {
    EmbeddingTable table(Options(dim, SparseOptimiser::kAdagrad, 0.0, 1));
    const uint32_t row = table.FindOrInsert(9);
    std::vector<double> value(dim, 0.0);
    double accumulated = 0;
    Rng rng(dim);
    for (int step = 1; step <= 5; ++step) {
      std::vector<float> gradient(dim);
      double squares = 0;
      for (float& g : gradient) g = static_cast<float>(rng.Normal());
      for (const float g : gradient) squares += static_cast<double>(g) * g;
      table.Update(row, gradient.data(), 0.1f);
      accumulated += squares / dim;
      for (uint32_t d = 0; d < dim; ++d) {
        value[d] -= 0.1 * gradient[d] / std::sqrt(accumulated);
        EXPECT_NEAR(Values(table, row)[d], value[d], 2e-6) << "dim " << dim << " step " << step;
      }
    }
    EXPECT_EQ(Values(table, 0), std::vector<float>(dim));  // nobody else moved
    EXPECT_EQ(table.life(row).updates, 5u);
  }
}

TEST(EmbeddingTable, AdamFollowsItsFormulaAndCountsARowsOwnSteps) {
  for (uint32_t dim : {1u, 2u, 15u, 16u, 17u, 33u}) {
    EmbeddingTable table(Options(dim, SparseOptimiser::kAdam, 0.0, 1));
    const uint32_t often = table.FindOrInsert(1), rare = table.FindOrInsert(2);
    std::vector<double> value(dim, 0.0), m(dim, 0.0), v(dim, 0.0);
    std::vector<float> gradient(dim);
    Rng rng(dim);
    for (int step = 1; step <= 20; ++step) {
      for (float& g : gradient) g = static_cast<float>(rng.Normal());
      table.Update(often, gradient.data(), 0.01f);
      for (uint32_t d = 0; d < dim; ++d) {
        m[d] = 0.9 * m[d] + 0.1 * gradient[d];
        v[d] = 0.999 * v[d] + 0.001 * gradient[d] * gradient[d];
        value[d] -= 0.01 * (m[d] / (1 - std::pow(0.9, step))) /
                    (std::sqrt(v[d] / (1 - std::pow(0.999, step))) + 1e-8);
        // 1 - .999^n loses three digits in f32: steps of .01 to 1e-4 of themselves
        EXPECT_NEAR(Values(table, often)[d], value[d], 1e-6 * step) << dim << " step " << step;
      }
    }
    // The first corrected step of Adam is lr * sign(gradient).
    table.Update(rare, gradient.data(), 0.01f);
    for (uint32_t d = 0; d < dim; ++d) {
      EXPECT_NEAR(Values(table, rare)[d], gradient[d] > 0 ? -0.01 : 0.01, 1e-6);
    }
  }
}

TEST(EmbeddingTable, ZeroGradientsKeepAdagradFinite) {
  EmbeddingTable table(Options(2, SparseOptimiser::kAdagrad, 0.5, 1));
  const std::vector<float> before = Values(table, 0);
  const float gradient[2] = {0, 0};
  table.Update(0, gradient, 0.1f);
  EXPECT_EQ(Values(table, 0), before);
}

TEST(EmbeddingTable, ManyRowsAtATimeAreTheSameBits) {
  for (const RowPrecision precision :
       {RowPrecision::kF32, RowPrecision::kBf16, RowPrecision::kF16}) {
    const TableOptions options = Options(19, SparseOptimiser::kAdagrad, 1.0, 3, precision);
    EmbeddingTable one(options), many(options);
    std::vector<uint32_t> rows;
    std::vector<float> gradients;
    Rng rng(11);
    for (uint64_t key = 1; key <= 300; ++key) {
      one.FindOrInsert(key);
      rows.push_back(many.FindOrInsert(key));
      for (int d = 0; d < 19; ++d) gradients.push_back(static_cast<float>(rng.Normal()));
    }
    for (size_t i = 0; i < rows.size(); ++i) one.Update(rows[i], gradients.data() + 19 * i, 0.1f);
    many.UpdateRows(rows, gradients.data(), 0.1f);
    EXPECT_EQ(testing::RowsByKey(one), testing::RowsByKey(many));
    std::vector<float> read(rows.size() * 19);
    many.ReadRows(rows, read.data());
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto from = read.begin() + static_cast<ptrdiff_t>(19 * i);
      EXPECT_EQ(std::vector<float>(from, from + 19), Values(one, rows[i]));
      std::vector<float> sum(19, 1.0f);
      many.AddTo(rows[i], 0.5f, sum.data());
      for (size_t d = 0; d < 19; ++d) EXPECT_EQ(sum[d], 1.0f + 0.5f * from[static_cast<long>(d)]);
    }
  }
}

// Matrix factorisation of a random rank-one target by 30 x 30 rows, f32 against 16 bits: the
// final mean squared error of f32 is near 0; rows of 16 bits jitter by their spacing, values of
// order 1 in bf16 by 2^-8, a product of 8 such pairs by 8 * 2 * 2^-16 = 2.4e-4 in square.
TEST(EmbeddingTable, SixteenBitsTrainAsFullPrecisionDoes) {
  constexpr uint32_t kDim = 8;
  constexpr uint64_t kKeys = 30;
  const auto train = [&](RowPrecision precision) {
    EmbeddingTable users(Options(kDim, SparseOptimiser::kAdagrad, 0.3, 1, precision));
    EmbeddingTable ads(Options(kDim, SparseOptimiser::kAdagrad, 0.3, 2, precision));
    double error = 0.0;
    for (int epoch = 0; epoch < 300; ++epoch) {
      error = 0.0;
      for (uint64_t u = 1; u <= kKeys; ++u) {
        for (uint64_t a = 1; a <= kKeys; ++a) {
          const double target = Rng(3, u).Normal() * Rng(4, a).Normal();
          const uint32_t user = users.FindOrInsert(u), ad = ads.FindOrInsert(a);
          std::vector<float> x = Values(users, user), y = Values(ads, ad);
          float off = static_cast<float>(-target);
          for (uint32_t d = 0; d < kDim; ++d) off += x[d] * y[d];
          error += off * off / (kKeys * kKeys);
          for (float& v : x) v *= off;
          for (float& v : y) v *= off;
          users.Update(user, y.data(), 0.1f);
          ads.Update(ad, x.data(), 0.1f);
        }
      }
    }
    return error;
  };
  const double full = train(RowPrecision::kF32);
  EXPECT_LT(full, 1e-4);
  EXPECT_NEAR(train(RowPrecision::kBf16), full, 1e-3);
  EXPECT_NEAR(train(RowPrecision::kF16), full, 1e-4);
}

// Rows are charged at least with what they take.
TEST(EmbeddingTable, RowsTakeNoMoreThanTheyAreChargedWith) {
  const RowLayout layout = EmbeddingTable(Options(32, SparseOptimiser::kAdagrad, 0, 1)).layout();
  EXPECT_EQ(layout.stride, 160u);
  for (const RowPrecision precision : {RowPrecision::kF32, RowPrecision::kBf16}) {
    const EmbeddingTable table(Options(5, SparseOptimiser::kAdam, 0, 1, precision));
    EXPECT_GE(table.row_bytes(), 24 + 5 * BytesOf(precision) + 4 * 11 + 10);
    EXPECT_EQ(table.bytes(), table.fixed_bytes() + table.row_bytes());
  }
}

}  // namespace
}  // namespace grab
