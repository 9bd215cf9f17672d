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

}  // namespace
}  // namespace grab
