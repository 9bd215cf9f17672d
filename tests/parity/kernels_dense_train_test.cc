// The dense kernels of training against formulas written out in f64, forward and backward, on every
// SIMD target of this machine and over widths and rows around the vector widths (4, 8, 16) and the
// row block (256). Sums of n terms of order 1 in f32: 2e-6 sqrt(n) of the largest value is asked,
// in bf16 products (8 bits of mantissa) 2e-2 of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "base/rng.h"
#include "kernels/feed_forward.h"
#include "kernels/gate_mlp.h"
#include "kernels/layer_norm.h"
#include "kernels/norm_linear.h"
#include "kernels/target_mix.h"
#include "kernels/vector_ops.h"
#include "support/simd_targets.h"

namespace grab {
namespace {

using testing::OnEveryTarget;
using Matrix = std::vector<double>;  // row-major

std::vector<float> Normals(Rng& rng, int64_t n, double scale = 1.0) {
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>(scale * rng.Normal());
  return values;
}

Matrix Wide(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// c[m, n] = a[m, k] b[n, k]^T
Matrix TimesTransposed(const Matrix& a, const Matrix& b, int64_t m, int64_t n, int64_t k) {
  Matrix c(static_cast<size_t>(m * n), 0.0);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t l = 0; l < k; ++l) {
        c[size_t(i * n + j)] += a[size_t(i * k + l)] * b[size_t(j * k + l)];
      }
    }
  }
  return c;
}

Matrix Transposed(const Matrix& a, int64_t rows, int64_t columns) {
  Matrix t(a.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) t[size_t(j * rows + i)] = a[size_t(i * columns + j)];
  }
  return t;
}

// A linear layer and its gradients, in f64.
struct NaiveLinear {
  int64_t in, out;
  Matrix weight, bias;

  Matrix Forward(const Matrix& x) const {
    const auto rows = static_cast<int64_t>(x.size()) / in;
    Matrix y = TimesTransposed(x, weight, rows, out, in);
    for (size_t i = 0; i < y.size(); ++i) y[i] += bias[i % size_t(out)];
    return y;
  }
  // Adds to d_weight and d_bias; returns d_x.
  Matrix Backward(const Matrix& x, const Matrix& d_y, Matrix& d_weight, Matrix& d_bias) const {
    const auto rows = static_cast<int64_t>(x.size()) / in;
    d_weight = TimesTransposed(Transposed(d_y, rows, out), Transposed(x, rows, in), out, in, rows);
    d_bias.assign(size_t(out), 0.0);
    for (size_t i = 0; i < d_y.size(); ++i) d_bias[i % size_t(out)] += d_y[i];
    return TimesTransposed(d_y, Transposed(weight, out, in), rows, in, out);
  }
};

struct NaiveNorm {
  Matrix scale, shift;  // empty: no norm

  Matrix Forward(const Matrix& x) const {
    if (scale.empty()) return x;
    const size_t width = scale.size();
    Matrix y(x.size());
    for (size_t r = 0; r < x.size(); r += width) {
      const auto [mean, rstd] = Stats(x, r);
      for (size_t i = 0; i < width; ++i) y[r + i] = (x[r + i] - mean) * rstd * scale[i] + shift[i];
    }
    return y;
  }
  Matrix Backward(const Matrix& x, const Matrix& d_y, Matrix& d_scale, Matrix& d_shift) const {
    if (scale.empty()) return d_y;
    const size_t width = scale.size();
    d_scale.assign(width, 0.0);
    d_shift.assign(width, 0.0);
    Matrix d_x(x.size());
    for (size_t r = 0; r < x.size(); r += width) {
      const auto [mean, rstd] = Stats(x, r);
      double sum = 0, along = 0;
      for (size_t i = 0; i < width; ++i) {
        const double n = (x[r + i] - mean) * rstd;
        d_scale[i] += d_y[r + i] * n;
        d_shift[i] += d_y[r + i];
        sum += d_y[r + i] * scale[i] / double(width);
        along += d_y[r + i] * scale[i] * n / double(width);
      }
      for (size_t i = 0; i < width; ++i) {
        const double n = (x[r + i] - mean) * rstd;
        d_x[r + i] = rstd * (d_y[r + i] * scale[i] - sum - n * along);
      }
    }
    return d_x;
  }

 private:
  std::pair<double, double> Stats(const Matrix& x, size_t r) const {
    const size_t width = scale.size();
    double mean = 0, variance = 0;
    for (size_t i = 0; i < width; ++i) mean += x[r + i] / double(width);
    for (size_t i = 0; i < width; ++i) {
      variance += (x[r + i] - mean) * (x[r + i] - mean) / double(width);
    }
    return {mean, 1.0 / std::sqrt(variance + 1e-5)};
  }
};

double NaiveGelu(double x) { return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0))); }
double NaiveGeluSlope(double x) {
  return 0.5 * (1.0 + std::erf(x / std::sqrt(2.0))) +
         x * std::exp(-0.5 * x * x) / std::sqrt(2.0 * 3.14159265358979323846);
}
double NaiveSigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

Matrix Map(const Matrix& x, double (*f)(double)) {
  Matrix y;
  for (const double v : x) y.push_back(f(v));
  return y;
}
Matrix Times(Matrix x, const Matrix& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] *= y[i];
  return x;
}
Matrix Plus(Matrix x, const Matrix& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  return x;
}

void ExpectNear(const char* what, const std::vector<float>& actual, const Matrix& expected,
                double tolerance) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 1.0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], tolerance * largest) << what << " element " << i;
  }
}

double Tolerance(Precision precision, int64_t terms) {
  return precision == Precision::kBf16 ? 2e-2 : 2e-6 * std::sqrt(static_cast<double>(terms) + 16.0);
}

TEST(VectorOps, GeluIsWithinAMillionthOfTheExactOne) {
  OnEveryTarget([] {
    // From where GELU is 0 to where it is x, in steps that are no power of two; 6 of them are more
    // than any tail of a vector.
    std::vector<float> x;
    for (double v = -12.0; v <= 12.0; v += 0.00037) x.push_back(static_cast<float>(v));
    for (const float v : {0.0f, -0.0f, 100.0f, -100.0f, 1e30f, -1e30f}) x.push_back(v);
    const std::vector<float> ones(x.size(), 1.0f);
    std::vector<float> y(x.size()), again(x.size()), slope(x.size());
    GeluForward(static_cast<int64_t>(x.size()), x.data(), y.data());
    GeluBackward(static_cast<int64_t>(x.size()), x.data(), ones.data(), again.data(), slope.data());
    for (size_t i = 0; i < x.size(); ++i) {
      // 2e-7 of the value is f32's own rounding.
      const double exact = NaiveGelu(x[i]);
      ASSERT_NEAR(y[i], exact, 1e-6 + 2e-7 * std::abs(exact)) << x[i];
      ASSERT_EQ(y[i], again[i]) << x[i];
      ASSERT_NEAR(slope[i], NaiveGeluSlope(x[i]), 2e-6) << x[i];
    }
  });
}

TEST(VectorOps, GateAndSumsEqualTheirFormulas) {
  OnEveryTarget([] {
    Rng rng(3);
    for (const int64_t n : {1, 3, 4, 5, 8, 15, 16, 17, 31, 33, 100, 1030}) {
      const std::vector<float> gate = Normals(rng, n, 4.0), x = Normals(rng, n),
                               d = Normals(rng, n);
      std::vector<float> out(gate.size()), d_gate(gate.size()), d_x(gate.size()), added = d;
      GateForward(n, gate.data(), x.data(), out.data());
      AddGated(n, gate.data(), x.data(), added.data());
      GateBackward(n, gate.data(), x.data(), d.data(), d_gate.data(), d_x.data());
      const Matrix open = Map(Wide(gate), NaiveSigmoid);
      Matrix slope = open;
      for (double& s : slope) s *= 1.0 - s;
      ExpectNear("out", out, Times(Wide(x), open), 1e-6);
      ExpectNear("added", added, Plus(Wide(d), Times(Wide(x), open)), 1e-6);
      ExpectNear("d_x", d_x, Times(Wide(d), open), 1e-6);
      ExpectNear("d_gate", d_gate, Times(Times(Wide(d), Wide(x)), slope), 1e-6);
      double squares = 0;
      for (const float v : x) squares += double(v) * double(v);
      EXPECT_NEAR(SumOfSquares(n, x.data()), squares, 1e-6 * (1.0 + squares));
      for (const int64_t rows : {1, 3, 4, 5, 9}) {
        const int64_t stride = n + 2;
        const std::vector<float> m = Normals(rng, rows * stride);
        std::vector<float> sums = x, biased(size_t(rows * n));
        Matrix expected = Wide(x), expected_biased(size_t(rows * n));
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t i = 0; i < n; ++i) {
            expected[size_t(i)] += m[size_t(r * stride + i)];
            expected_biased[size_t(r * n + i)] = double(x[size_t(i)]) + m[size_t(r * stride + i)];
          }
        }
        AddColumnSums(rows, n, m.data(), stride, sums.data());
        ExpectNear("sums", sums, expected, 1e-6);
        AddBias(rows, n, x.data(), m.data(), stride, biased.data(), n);
        ExpectNear("biased", biased, expected_biased, 1e-6);
      }
    }
  });
}

TEST(VectorOps, Bf16RoundsToNearestEvenAndKeepsNan) {
  OnEveryTarget([] {
    // 1 + 2^-8 is halfway between two bf16 values and goes to the even one, 1; 1 + 3 * 2^-8 goes
    // up.
    const std::vector<float> x = {1.0f,   1.00390625f, 1.01171875f, 1.00390637f, -2.5f,
                                  1e-40f, 3.4e38f,     INFINITY,    NAN,         -0.0f};
    const std::vector<uint16_t> expected = {0x3F80, 0x3F80, 0x3F82, 0x3F81, 0xC020,
                                            0x0001, 0x7F80, 0x7F80, 0x7FC0, 0x8000};
    for (size_t n = 1; n <= x.size(); ++n) {
      std::vector<uint16_t> y(n);
      ToBf16(static_cast<int64_t>(n), x.data(), y.data());
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(y[i], expected[i]) << x[i];
    }
  });
}

TEST(VectorOps, AdamWFollowsAlgorithmTwo) {
  OnEveryTarget([] {
    Rng rng(4);
    for (const int64_t n : {1, 7, 16, 37}) {
      const std::vector<float> g = Normals(rng, n);
      std::vector<float> m = Normals(rng, n), v = Normals(rng, n), w = Normals(rng, n);
      for (float& value : v) value = std::abs(value);
      Matrix em, ev, ew;
      for (size_t i = 0; i < g.size(); ++i) {
        const double scaled = 0.5 * g[i];
        em.push_back(0.9 * m[i] + 0.1 * scaled);
        ev.push_back(0.999 * v[i] + 0.001 * scaled * scaled);
        ew.push_back(0.99 * w[i] - 0.02 * em[i] / (std::sqrt(1.5 * ev[i]) + 1e-8));
      }
      AdamWUpdate(n, {0.9f, 0.999f, 1e-8f, 0.5f, 0.99f, 0.02f, 1.5f}, g.data(), m.data(), v.data(),
                  w.data());
      ExpectNear("first", m, em, 1e-6);
      ExpectNear("second", v, ev, 1e-6);
      ExpectNear("weight", w, ew, 1e-6);
    }
  });
}

TEST(LayerNorm, EqualsTheFormula) {
  OnEveryTarget([] {
    Rng rng(5);
    for (const int64_t width : {1, 3, 4, 15, 16, 17, 33, 64, 250}) {
      for (const int64_t rows : {1, 5}) {
        SCOPED_TRACE(::testing::Message() << rows << " x " << width);
        const std::vector<float> x = Normals(rng, rows * width, 3.0), scale = Normals(rng, width),
                                 shift = Normals(rng, width), d_y = Normals(rng, rows * width),
                                 add = Normals(rng, rows * width);
        std::vector<float> y(x.size()), stats(size_t(2 * rows)), d_x(x.size());
        std::vector<float> d_scale(size_t(width), 0.0f), d_shift(size_t(width), 0.0f);
        LayerNormForward(rows, width, x.data(), scale.data(), shift.data(), y.data(), stats.data());
        LayerNormBackward(rows, width, x.data(), scale.data(), stats.data(), d_y.data(), add.data(),
                          d_x.data(), d_scale.data(), d_shift.data());
        const NaiveNorm naive{Wide(scale), Wide(shift)};
        Matrix e_scale, e_shift;
        const Matrix e_x = naive.Backward(Wide(x), Wide(d_y), e_scale, e_shift);
        ExpectNear("y", y, naive.Forward(Wide(x)), 3e-6);
        // A row of one element has variance 0, and rstd 316 multiplies the rounding.
        ExpectNear("d_x", d_x, Plus(Wide(add), e_x), width == 1 ? 1e-3 : 1e-5);
        ExpectNear("d_scale", d_scale, e_scale, 1e-5);
        ExpectNear("d_shift", d_shift, e_shift, 1e-5);
      }
    }
  });
}

// Rows and widths around the block and the vectors; few large ones, the naive products are slow.
struct Sizes {
  int64_t rows, in, out;
};
const std::vector<Sizes> kSizes = {{1, 1, 1},    {2, 7, 5},    {15, 16, 17}, {33, 20, 9},
                                   {255, 6, 10}, {256, 16, 8}, {257, 12, 7}, {530, 8, 24}};

// f32 on every target; bf16, whose products make a primitive per size, on the best one for a few.
void ForEachCase(const std::function<void(const Sizes&, bool, Precision)>& check) {
  const auto run = [&](const Sizes& sizes, Precision precision) {
    for (const bool normed : {false, true}) {
      SCOPED_TRACE(::testing::Message()
                   << sizes.rows << " x " << sizes.in << " -> " << sizes.out
                   << (normed ? " normed" : "") << " precision " << int(precision));
      check(sizes, normed, precision);
    }
  };
  OnEveryTarget([&] {
    for (const Sizes& sizes : kSizes) run(sizes, Precision::kF32);
  });
  if (!Supported(Precision::kBf16)) return;
  for (const Sizes& sizes : {kSizes[1], kSizes[2], kSizes[6]}) run(sizes, Precision::kBf16);
}

std::vector<float> MaybeEmpty(bool present, std::vector<float> values) {
  return present ? values : std::vector<float>();
}
const float* OrNull(const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); }
float* OrNull(std::vector<float>& v) { return v.empty() ? nullptr : v.data(); }
std::vector<float> Zeros(const std::vector<float>& like) {
  return std::vector<float>(like.size(), 0.0f);
}

void CheckNormLinear(const Sizes& s, bool normed, Precision precision) {
  Rng rng(static_cast<uint64_t>(s.rows * 100 + s.in));
  const int64_t first = s.rows / 3;  // the second projection reads only the rows from here on
  const std::vector<float> x = Normals(rng, s.rows * s.in);
  const std::vector<float> scale = MaybeEmpty(normed, Normals(rng, s.in));
  const std::vector<float> shift = MaybeEmpty(normed, Normals(rng, s.in));
  const double spread = 1.0 / std::sqrt(double(s.in));
  const std::vector<float> w0 = Normals(rng, s.out * s.in, spread), b0 = Normals(rng, s.out);
  const std::vector<float> w1 = Normals(rng, 3 * s.in, spread), b1 = Normals(rng, 3);
  const std::vector<float> residual = Normals(rng, s.rows * s.out);
  const std::vector<float> d0 = Normals(rng, s.rows * s.out),
                           d1 = Normals(rng, (s.rows - first) * 3);
  const std::vector<Projection> projections = {{0, s.out, w0.data(), b0.data(), residual.data()},
                                               {first, 3, w1.data(), b1.data(), nullptr}};
  const NormLinearShape shape = {s.rows, s.in, precision};
  std::vector<float> scratch(size_t(NormLinearScratch(shape, projections)));
  std::vector<float> y0(d0.size(), NAN), y1(d1.size(), NAN), d_x(x.size(), NAN);
  NormLinearForward(shape, x.data(), {OrNull(scale), OrNull(shift)}, projections,
                    {y0.data(), y1.data()}, scratch.data());
  std::vector<float> d_scale = Zeros(scale), d_shift = Zeros(shift), dw0 = Zeros(w0),
                     db0 = Zeros(b0), dw1 = Zeros(w1), db1 = Zeros(b1);
  NormLinearBackward(shape, x.data(), {OrNull(scale), OrNull(shift)}, projections,
                     {{d0.data(), dw0.data(), db0.data()}, {d1.data(), dw1.data(), db1.data()}},
                     d_x.data(), OrNull(d_scale), OrNull(d_shift), scratch.data());

  const NaiveNorm norm{Wide(scale), Wide(shift)};
  const NaiveLinear l0{s.in, s.out, Wide(w0), Wide(b0)}, l1{s.in, 3, Wide(w1), Wide(b1)};
  const Matrix in = norm.Forward(Wide(x));
  const Matrix tail(in.begin() + ptrdiff_t(first * s.in), in.end());
  const double tolerance = Tolerance(precision, s.rows + s.in);
  ExpectNear("y0", y0, Plus(l0.Forward(in), Wide(residual)), tolerance);
  ExpectNear("y1", y1, l1.Forward(tail), tolerance);
  Matrix ew0, eb0, ew1, eb1, e_scale, e_shift;
  Matrix d_in = l0.Backward(in, Wide(d0), ew0, eb0);
  const Matrix d_tail = l1.Backward(tail, Wide(d1), ew1, eb1);
  for (size_t i = 0; i < d_tail.size(); ++i) d_in[size_t(first * s.in) + i] += d_tail[i];
  const bool flat = normed && s.in == 1;  // variance 0: rstd 316
  ExpectNear("d_x", d_x, norm.Backward(Wide(x), d_in, e_scale, e_shift), flat ? 1 : tolerance);
  ExpectNear("d_scale", d_scale, e_scale, tolerance);
  ExpectNear("d_shift", d_shift, e_shift, tolerance);
  ExpectNear("dw0", dw0, ew0, tolerance);
  ExpectNear("db0", db0, eb0, tolerance);
  ExpectNear("dw1", dw1, ew1, tolerance);
  ExpectNear("db1", db1, eb1, tolerance);
}

TEST(NormLinear, EqualsTheFormula) { ForEachCase(CheckNormLinear); }

void CheckFeedForward(const Sizes& s, bool normed, Precision precision) {
  Rng rng(static_cast<uint64_t>(s.rows * 100 + s.in + 1));
  const int64_t d = s.in, hidden = s.out;
  const std::vector<float> x = Normals(rng, s.rows * d), d_out = Normals(rng, s.rows * d);
  const std::vector<float> scale = MaybeEmpty(normed, Normals(rng, d));
  const std::vector<float> shift = MaybeEmpty(normed, Normals(rng, d));
  const std::vector<float> w1 = Normals(rng, hidden * d, 1.0 / std::sqrt(double(d))),
                           b1 = Normals(rng, hidden);
  const std::vector<float> w2 = Normals(rng, hidden * d, 1.0 / std::sqrt(double(hidden))),
                           b2 = Normals(rng, d);
  const FeedForwardShape shape = {s.rows, d, hidden, precision};
  const FeedForwardWeights weights = {
      {OrNull(scale), OrNull(shift)}, w1.data(), b1.data(), w2.data(), b2.data()};
  std::vector<float> scratch(size_t(FeedForwardScratch(shape)));
  std::vector<float> pre(size_t(s.rows * hidden), NAN), out(x.size(), NAN), d_x(x.size(), NAN);
  FeedForwardForward(shape, weights, x.data(), pre.data(), out.data(), scratch.data());
  std::vector<float> d_scale = Zeros(scale), d_shift = Zeros(shift), dw1 = Zeros(w1),
                     db1 = Zeros(b1), dw2 = Zeros(w2), db2 = Zeros(b2);
  FeedForwardBackward(
      shape, weights, x.data(), pre.data(), d_out.data(), d_x.data(),
      {OrNull(d_scale), OrNull(d_shift), dw1.data(), db1.data(), dw2.data(), db2.data()},
      scratch.data());

  const NaiveNorm norm{Wide(scale), Wide(shift)};
  const NaiveLinear l1{d, hidden, Wide(w1), Wide(b1)}, l2{hidden, d, Wide(w2), Wide(b2)};
  const Matrix in = norm.Forward(Wide(x));
  const Matrix naive_pre = l1.Forward(in);
  const Matrix active = Map(naive_pre, NaiveGelu);
  const double tolerance = Tolerance(precision, s.rows + d + hidden);
  ExpectNear("out", out, Plus(l2.Forward(active), Wide(x)), tolerance);
  Matrix ew1, eb1, ew2, eb2, e_scale, e_shift;
  const Matrix d_pre =
      Times(l2.Backward(active, Wide(d_out), ew2, eb2), Map(naive_pre, NaiveGeluSlope));
  const Matrix d_in = l1.Backward(in, d_pre, ew1, eb1);
  const bool flat = normed && d == 1;  // variance 0: rstd 316
  ExpectNear("d_x", d_x, Plus(norm.Backward(Wide(x), d_in, e_scale, e_shift), Wide(d_out)),
             flat ? 1 : tolerance);
  ExpectNear("d_scale", d_scale, e_scale, tolerance);
  ExpectNear("d_shift", d_shift, e_shift, tolerance);
  ExpectNear("dw1", dw1, ew1, tolerance);
  ExpectNear("db1", db1, eb1, tolerance);
  ExpectNear("dw2", dw2, ew2, tolerance);
  ExpectNear("db2", db2, eb2, tolerance);
}

TEST(FeedForward, EqualsTheFormula) { ForEachCase(CheckFeedForward); }

void CheckGateMlp(const Sizes& s, Precision precision) {
  Rng rng(static_cast<uint64_t>(s.rows * 100 + s.in + 2));
  const int64_t hidden = s.out, d = 6;
  const std::vector<float> v = Normals(rng, s.rows * s.in), d_out = Normals(rng, s.rows * d);
  const std::vector<float> scale = Normals(rng, s.in), shift = Normals(rng, s.in);
  const double spread = 1.0 / std::sqrt(double(s.in));
  const std::vector<float> w1 = Normals(rng, hidden * s.in, spread), b1 = Normals(rng, hidden);
  const std::vector<float> w2 = Normals(rng, hidden * d, 1.0 / std::sqrt(double(hidden))),
                           b2 = Normals(rng, d);
  const std::vector<float> w3 = Normals(rng, d * s.in, spread), b3 = Normals(rng, d);
  const GateMlpShape shape = {s.rows, s.in, hidden, d, precision};
  const GateMlpWeights weights = {{scale.data(), shift.data()},
                                  w1.data(),
                                  b1.data(),
                                  w2.data(),
                                  b2.data(),
                                  w3.data(),
                                  b3.data()};
  std::vector<float> scratch(size_t(GateMlpScratch(shape)));
  std::vector<float> pre(size_t(s.rows * hidden)), gate(d_out.size()), value(d_out.size());
  std::vector<float> out(d_out.size(), NAN), d_v(v.size(), NAN);
  const GateMlpActivations kept = {pre.data(), gate.data(), value.data()};
  GateMlpForward(shape, weights, v.data(), kept, out.data(), scratch.data());
  std::vector<float> d_scale = Zeros(scale), d_shift = Zeros(shift), dw1 = Zeros(w1),
                     db1 = Zeros(b1), dw2 = Zeros(w2), db2 = Zeros(b2), dw3 = Zeros(w3),
                     db3 = Zeros(b3);
  GateMlpBackward(shape, weights, v.data(), kept, d_out.data(), d_v.data(),
                  {d_scale.data(), d_shift.data(), dw1.data(), db1.data(), dw2.data(), db2.data(),
                   dw3.data(), db3.data()},
                  scratch.data());

  const NaiveNorm norm{Wide(scale), Wide(shift)};
  const NaiveLinear l1{s.in, hidden, Wide(w1), Wide(b1)}, l2{hidden, d, Wide(w2), Wide(b2)},
      l3{s.in, d, Wide(w3), Wide(b3)};
  const Matrix in = norm.Forward(Wide(v));
  const Matrix naive_pre = l1.Forward(in), active = Map(naive_pre, NaiveGelu);
  const Matrix naive_value = l2.Forward(active), open = Map(l3.Forward(in), NaiveSigmoid);
  const double tolerance = Tolerance(precision, s.rows + s.in + hidden);
  ExpectNear("out", out, Times(naive_value, open), tolerance);
  Matrix shut = open;
  for (double& o : shut) o *= 1.0 - o;
  Matrix ew1, eb1, ew2, eb2, ew3, eb3, e_scale, e_shift;
  const Matrix d_active = l2.Backward(active, Times(Wide(d_out), open), ew2, eb2);
  const Matrix d_gate = Times(Times(Wide(d_out), naive_value), shut);
  const Matrix d_in =
      Plus(l1.Backward(in, Times(d_active, Map(naive_pre, NaiveGeluSlope)), ew1, eb1),
           l3.Backward(in, d_gate, ew3, eb3));
  ExpectNear("d_v", d_v, norm.Backward(Wide(v), d_in, e_scale, e_shift), s.in == 1 ? 1 : tolerance);
  ExpectNear("d_scale", d_scale, e_scale, tolerance);
  ExpectNear("d_shift", d_shift, e_shift, tolerance);
  ExpectNear("dw1", dw1, ew1, tolerance);
  ExpectNear("db1", db1, eb1, tolerance);
  ExpectNear("dw2", dw2, ew2, tolerance);
  ExpectNear("db2", db2, eb2, tolerance);
  ExpectNear("dw3", dw3, ew3, tolerance);
  ExpectNear("db3", db3, eb3, tolerance);
}

TEST(GateMlp, EqualsTheFormula) {
  ForEachCase([](const Sizes& sizes, bool normed, Precision precision) {
    if (normed) CheckGateMlp(sizes, precision);  // it always is
  });
}

TEST(TargetMix, EqualsTheFormula) {
  OnEveryTarget([] {
    Rng rng(6);
    for (const int64_t channels : {1, 2, 3}) {
      for (const int64_t width : {1, 5, 16, 19}) {
        const int64_t rows = 3, all = channels * width;
        const std::vector<float> gate = Normals(rng, rows * all), x = Normals(rng, rows * all),
                                 d_out = Normals(rng, rows * all);
        std::vector<float> out(x.size()), d_gate(x.size()), d_x(x.size());
        TargetMixForward({rows, channels, width}, gate.data(), x.data(), out.data());
        TargetMixBackward({rows, channels, width}, gate.data(), x.data(), d_out.data(),
                          d_gate.data(), d_x.data());
        Matrix e_out = Wide(x), e_gate(x.size()), e_x = Wide(d_out);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t i = 0; i < channels; ++i) {
            for (int64_t c = 0; c < channels; ++c) {
              for (int64_t j = 0; i != c && j < width; ++j) {
                const auto from = size_t(r * all + i * width + j);
                const auto to = size_t(r * all + c * width + j);
                const double open = NaiveSigmoid(gate[from]);
                e_out[to] += open * x[from];
                e_x[from] += open * d_out[to];
                e_gate[from] += open * (1 - open) * x[from] * d_out[to];
              }
            }
          }
        }
        ExpectNear("out", out, e_out, 1e-6);
        ExpectNear("d_x", d_x, e_x, 1e-6);
        ExpectNear("d_gate", d_gate, e_gate, 1e-6);
      }
    }
  });
}

}  // namespace
}  // namespace grab
