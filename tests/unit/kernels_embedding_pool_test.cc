// Pooling and its gradient on hand-computed numbers (exact in f32) and as each other's transpose on
// random ones; f32 against f64 over widths around the vector widths, on every SIMD target.
#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"
#include "kernels/embedding_pool.h"
#include "support/simd_targets.h"

namespace grab {
namespace {

TEST(EmbeddingPool, SumsWeightedRowsAndAddsDuplicateGradients) {
  const std::vector<float> table = {1, 2, 10, 20, 100, 200};
  const std::vector<uint32_t> offsets = {0, 2, 2, 5};
  const std::vector<uint32_t> index = {0, 2, 1, 1, 0};
  const std::vector<float> weight = {1, 0.5f, 2, 1, -1};
  const PoolPairs pairs = {3, offsets.data(), index.data(), weight.data()};
  std::vector<float> out(3 * 4, -7.0f);  // stride 4: the last two columns are somebody else's
  EmbeddingPoolForward<float>(pairs, table.data(), 2, out.data(), 4);
  EXPECT_EQ(out, (std::vector<float>{51, 102, -7, -7, 0, 0, -7, -7, 29, 58, -7, -7}));

  const std::vector<float> d_out = {1, 2, 0, 0, 5, 5, 0, 0, 3, 4, 0, 0};
  std::vector<float> d_table = {1000, 0, 0, 0, 0, 0};
  EmbeddingPoolBackward<float>(pairs, d_out.data(), 4, 2, d_table.data());
  EXPECT_EQ(d_table, (std::vector<float>{1000 + 1 - 3, 2 - 4, 9, 12, 0.5f, 1}));
}

TEST(EmbeddingPool, GradientIsTheTransposeOfTheForward) {
  // <d, P t> == <P^T d, t> for a linear map: for every width around a vector's.
  for (int64_t width = 1; width <= 33; ++width) {
    Rng rng(static_cast<uint64_t>(width));
    std::vector<uint32_t> offsets = {0}, index;
    std::vector<float> weight;
    for (int r = 0; r < 9; ++r) {
      for (uint64_t i = 0, n = rng.Below(4); i < n; ++i) {
        index.push_back(static_cast<uint32_t>(rng.Below(5)));
        weight.push_back(static_cast<float>(rng.Normal()));
      }
      offsets.push_back(static_cast<uint32_t>(index.size()));
    }
    std::vector<double> table(static_cast<size_t>(5 * width)),
        d_out(static_cast<size_t>(9 * width));
    for (double& x : table) x = rng.Normal();
    for (double& x : d_out) x = rng.Normal();
    std::vector<double> out(d_out.size()), d_table(table.size(), 0.0);
    const PoolPairs pairs = {9, offsets.data(), index.data(), weight.data()};
    EmbeddingPoolForward<double>(pairs, table.data(), width, out.data(), width);
    EmbeddingPoolBackward<double>(pairs, d_out.data(), width, width, d_table.data());
    double left = 0.0, right = 0.0;
    for (size_t i = 0; i < out.size(); ++i) left += out[i] * d_out[i];
    for (size_t i = 0; i < table.size(); ++i) right += table[i] * d_table[i];
    EXPECT_NEAR(left, right, 1e-10)
        << "width " << width;  // sums of at most 9*3*33 terms of order 1
  }
}

TEST(EmbeddingPool, EveryTargetEqualsTheReference) {
  testing::OnEveryTarget([] {
    for (int64_t width = 1; width <= 35; ++width) {
      Rng rng(static_cast<uint64_t>(width));
      const std::vector<uint32_t> offsets = {0, 1, 1, 4, 6};
      const std::vector<uint32_t> index = {2, 0, 1, 1, 2, 0};
      const std::vector<float> weight = {1.0f, 0.5f, -2.0f, 1.0f, 0.25f, 3.0f};
      const PoolPairs pairs = {4, offsets.data(), index.data(), weight.data()};
      std::vector<double> table(static_cast<size_t>(3 * width)), d_out(size_t(4 * width));
      for (double& x : table) x = static_cast<float>(rng.Normal());
      for (double& x : d_out) x = static_cast<float>(rng.Normal());
      const std::vector<float> table_f(table.begin(), table.end());
      const std::vector<float> d_out_f(d_out.begin(), d_out.end());
      std::vector<double> out(d_out.size()), d_table(table.size(), 1.0);
      std::vector<float> out_f(d_out.size()), d_table_f(table.size(), 1.0f);
      EmbeddingPoolForward<double>(pairs, table.data(), width, out.data(), width);
      EmbeddingPoolForward<float>(pairs, table_f.data(), width, out_f.data(), width);
      EmbeddingPoolBackward<double>(pairs, d_out.data(), width, width, d_table.data());
      EmbeddingPoolBackward<float>(pairs, d_out_f.data(), width, width, d_table_f.data());
      // Sums of at most four terms of order 1 to 10.
      for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out_f[i], out[i], 1e-5);
      for (size_t i = 0; i < table.size(); ++i) ASSERT_NEAR(d_table_f[i], d_table[i], 1e-5);
    }
  });
}

}  // namespace
}  // namespace grab
