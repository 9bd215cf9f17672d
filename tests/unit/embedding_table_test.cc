// Rows, keys and optimiser steps of a table; steps against the formulas in f64 to f32 rounding over
// a few steps.
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "embedding/table.h"

namespace grab {
namespace {

std::vector<float> Values(const EmbeddingTable& table, uint32_t row) {
  std::vector<float> values(table.dim());
  table.Read(row, values.data());
  return values;
}

TEST(EmbeddingTable, AKeyKeepsItsRowAndTheUnknownRowIsNobodys) {
  EmbeddingTable table({4, SparseOptimiser::kNone, 0.1, 7});
  EXPECT_EQ(table.rows(), 1u);
  EXPECT_EQ(table.key(0), 0u);
  EXPECT_EQ(table.Find(42), EmbeddingTable::kUnknownRow);
  const uint32_t first = table.FindOrInsert(42), second = table.FindOrInsert(43);
  EXPECT_NE(first, EmbeddingTable::kUnknownRow);
  EXPECT_NE(first, second);
  EXPECT_EQ(table.FindOrInsert(42), first);
  EXPECT_EQ(table.Find(43), second);
  EXPECT_EQ(table.key(second), 43u);
  EXPECT_EQ(table.rows(), 3u);
}

TEST(EmbeddingTable, FirstValuesDependOnSeedAndKeyOnly) {
  EmbeddingTable a({3, SparseOptimiser::kAdagrad, 1.0, 7}), b({3, SparseOptimiser::kNone, 1.0, 7});
  EmbeddingTable other({3, SparseOptimiser::kNone, 1.0, 8});
  // Enough rows for several chunks, in opposite orders.
  for (uint64_t key = 1; key <= 10000; ++key) {
    a.FindOrInsert(key);
    b.FindOrInsert(10001 - key);
  }
  other.FindOrInsert(5);
  for (uint64_t key : {1, 5, 4096, 9999}) {
    for (int d = 0; d < 3; ++d)
      EXPECT_EQ(Values(a, a.Find(key))[d], Values(b, b.Find(key))[d]) << key;
  }
  EXPECT_NE(Values(a, a.Find(5))[0], Values(other, other.Find(5))[0]);
  double sum = 0, squares = 0;
  a.ForEachRow([&](uint32_t row) {
    if (row == EmbeddingTable::kUnknownRow) return;
    sum += Values(a, row)[0];
    squares += Values(a, row)[0] * Values(a, row)[0];
  });
  EXPECT_NEAR(sum / 10000, 0.0, 0.05);      // 5 standard errors
  EXPECT_NEAR(squares / 10000, 1.0, 0.08);  // likewise
}

TEST(EmbeddingTable, RowwiseAdagrad) {
  EmbeddingTable table({2, SparseOptimiser::kAdagrad, 0.0, 1});
  const uint32_t row = table.FindOrInsert(9);
  double value[2] = {0, 0}, accumulated = 0;
  for (int step = 1; step <= 5; ++step) {
    const float gradient[2] = {0.5f * step, -0.25f};
    table.Update(row, gradient, 0.1f);
    accumulated += (gradient[0] * gradient[0] + gradient[1] * gradient[1]) / 2;
    for (int d = 0; d < 2; ++d) {
      value[d] -= 0.1 * gradient[d] / std::sqrt(accumulated);
      EXPECT_NEAR(Values(table, row)[d], value[d], 1e-6) << "step " << step;
    }
  }
  EXPECT_EQ(Values(table, 0)[0], 0.0f);  // nobody else moved
}

TEST(EmbeddingTable, AdamCountsARowsOwnSteps) {
  EmbeddingTable table({2, SparseOptimiser::kAdam, 0.0, 1});
  const uint32_t often = table.FindOrInsert(1), rare = table.FindOrInsert(2);
  const float gradient[2] = {0.3f, -0.7f};
  for (int step = 0; step < 100; ++step) table.Update(often, gradient, 0.01f);
  table.Update(rare, gradient, 0.01f);
  // The first corrected step of Adam is lr * sign(gradient).
  EXPECT_NEAR(Values(table, rare)[0], -0.01, 1e-6);
  EXPECT_NEAR(Values(table, rare)[1], 0.01, 1e-6);
  EXPECT_NEAR(Values(table, often)[0], -1.0, 1e-3);  // a constant gradient keeps that step
}

TEST(EmbeddingTable, ZeroGradientsKeepAdagradFinite) {
  EmbeddingTable table({2, SparseOptimiser::kAdagrad, 0.5, 1});
  const float before = Values(table, 0)[0];
  const float gradient[2] = {0, 0};
  table.Update(0, gradient, 0.1f);
  EXPECT_EQ(Values(table, 0)[0], before);
}

}  // namespace
}  // namespace grab
