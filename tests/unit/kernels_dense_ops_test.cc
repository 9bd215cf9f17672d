// Dense operators against their formulas in f64, for sizes around vector widths.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "kernels/dense_ops.h"

namespace grab {
namespace {

std::vector<float> Normals(Rng& rng, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(rng.Normal());
  return values;
}

TEST(DenseOps, LinearEqualsTheProduct) {
  Rng rng(5);
  for (const int64_t m : {0, 1, 7, 33}) {
    for (const int64_t n : {1, 16, 17}) {
      for (const int64_t k : {1, 15, 64}) {
        const std::vector<float> x = Normals(rng, m * (k + 3)), w = Normals(rng, n * k),
                                 b = Normals(rng, n);
        std::vector<float> y(static_cast<size_t>(m * (n + 2)), 9.0f);
        ASSERT_TRUE(Linear(m, n, k, x.data(), k + 3, w.data(), b.data(), y.data(), n + 2).ok());
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < n; ++j) {
            double sum = b[static_cast<size_t>(j)];
            for (int64_t l = 0; l < k; ++l) {
              sum += double(x[static_cast<size_t>(i * (k + 3) + l)]) *
                     w[static_cast<size_t>(j * k + l)];
            }
            // f32 sums of k terms of order 1
            EXPECT_NEAR(y[static_cast<size_t>(i * (n + 2) + j)], sum,
                        2e-6 * std::sqrt(double(k)) * 4);
          }
        }
      }
    }
  }
}

TEST(DenseOps, ElementwiseFormulas) {
  Rng rng(6);
  for (const int64_t n : {1, 7, 8, 9, 31, 64}) {
    const std::vector<float> x = Normals(rng, n), g = Normals(rng, n);
    std::vector<float> gelu = x, gated = x, sum = x;
    Gelu(n, gelu.data());
    SigmoidGate(n, g.data(), gated.data());
    Add(n, g.data(), sum.data());
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(gelu[i], 0.5 * x[i] * (1 + std::erf(x[i] / std::sqrt(2.0))), 1e-6);
      EXPECT_NEAR(gated[i], x[i] / (1 + std::exp(-double(g[i]))), 1e-6);
      EXPECT_EQ(sum[i], x[i] + g[i]);
    }
  }
}

TEST(DenseOps, LayerNormHasMeanZeroAndVarianceOneBeforeScaling) {
  Rng rng(7);
  for (const int64_t width : {2, 5, 16, 33}) {
    std::vector<float> x = Normals(rng, 3 * width);
    for (float& value : x) value = value * 3 + 100;  // a large mean must not cost precision
    const std::vector<float> scale(static_cast<size_t>(width), 2.0f),
        shift(static_cast<size_t>(width), 0.5f);
    LayerNorm(3, width, x.data(), scale.data(), shift.data(), x.data());
    for (int64_t r = 0; r < 3; ++r) {
      double mean = 0, square = 0;
      for (int64_t d = 0; d < width; ++d) {
        const double value = (x[static_cast<size_t>(r * width + d)] - 0.5) / 2;
        mean += value / double(width);
        square += value * value / double(width);
      }
      EXPECT_NEAR(mean, 0.0, 1e-5);
      EXPECT_NEAR(square, 1.0, 1e-3);  // the epsilon in the denominator takes up to 1e-5 / variance
    }
  }
}

}  // namespace
}  // namespace grab
