// Packed linear layers against a triple loop in f64, on every SIMD target, with and without
// dot-product instructions. Sizes lie around the vector widths (4, 8, 16), the rows of a register
// tile (4, 6), the words of a row (1, 2, 4 elements) and the 64 columns of a panel.
//
// Tolerances, with S = sum of |row . weight| of an output:
//   f32, bf16  1e-6 S: at most 200 additions in f32, each within 6e-8; bf16's operands are rounded
//              in the reference too, by other means
//   int8       what half a step of either operand can make of the product, plus 2e-6 S
// An epilogue adds 2e-6 of the values it combines.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "base/rng.h"
#include "hwy/aligned_allocator.h"
#include "kernels/packed_linear.h"
#include "kernels/simd_target.h"

namespace grab {
namespace {

using Matrix = std::vector<float>;

constexpr Precision kFormats[] = {Precision::kF32, Precision::kBf16, Precision::kInt8};

hwy::AlignedFreeUniquePtr<uint8_t[]> Memory(size_t bytes) {
  auto memory = hwy::AllocateAligned<uint8_t>(bytes);
  std::memset(memory.get(), 0xFF, bytes);  // NaN in f32 and bf16: what was there must not matter
  return memory;
}

Matrix Normals(uint64_t seed, int64_t n) {
  Rng rng(seed);
  Matrix values;
  for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<float>(rng.Normal()));
  return values;
}

// `x` with 8 bits of mantissa, ties to even.
double Bf16(double x) {
  int exponent = 0;
  const double mantissa = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(mantissa, 8)), exponent - 8);
}

void OnEveryTarget(const std::function<void()>& test) {
  for (const std::string& target : SimdTargets()) {
    for (const bool dot_instructions : {true, false}) {
      ASSERT_TRUE(ForceSimdTarget(target, dot_instructions).ok());
      SCOPED_TRACE(testing::Message() << target << " dot instructions " << dot_instructions);
      test();
    }
  }
  ASSERT_TRUE(ForceSimdTarget("").ok());
}

struct Layer {
  int64_t n, k;
  Matrix weight, bias;
  hwy::AlignedFreeUniquePtr<uint8_t[]> memory;
  PackedLinear packed;

  Layer(Precision format, int64_t of_n, int64_t of_k, bool with_bias = true)
      : n(of_n),
        k(of_k),
        weight(Normals(1, n * k)),
        bias(with_bias ? Normals(2, n) : Matrix()),
        memory(Memory(PackedLinearBytes(format, n, k))),
        packed(PackLinear(format, n, k, weight.data(), with_bias ? bias.data() : nullptr,
                          memory.get())) {}

  Matrix Run(int64_t m, const float* in, Epilogue epilogue, const Matrix& before) const {
    const auto scratch = Memory(LinearRowsBytes(packed.format, m, k));
    const LinearRows rows = ConvertRows(packed.format, m, k, in, k, scratch.get());
    Matrix out = before;
    PackedLinearForward(packed, rows, m, epilogue, out.data(), n + 3);
    return out;
  }
};

struct Expected {
  double y = 0.0;
  double tolerance = 0.0;
};

Expected Reference(const Layer& layer, const float* row, int64_t column) {
  const Precision format = layer.packed.format;
  const float* weight = layer.weight.data() + column * layer.k;
  double largest_weight = 0, low = 0, high = 0;
  for (int64_t i = 0; i < layer.k; ++i) {
    largest_weight = std::max(largest_weight, std::fabs(double{weight[i]}));
    low = std::min(low, double{row[i]});
    high = std::max(high, double{row[i]});
  }
  const double weight_step = largest_weight / 127 / 2, row_step = (high - low) / 255 / 2;
  Expected expected;
  double magnitude = 0, steps = 0;
  for (int64_t i = 0; i < layer.k; ++i) {
    const bool bf16 = format == Precision::kBf16;
    const double a = bf16 ? Bf16(row[i]) : row[i];
    const double b = bf16 ? Bf16(weight[i]) : weight[i];
    expected.y += a * b;
    magnitude += std::fabs(a * b);
    steps += std::fabs(a) * weight_step + std::fabs(b) * row_step + weight_step * row_step;
  }
  if (!layer.bias.empty()) {
    expected.y += layer.bias[static_cast<size_t>(column)];
    magnitude += std::fabs(layer.bias[static_cast<size_t>(column)]);
  }
  expected.tolerance = 1e-6 * magnitude + 1e-7;
  if (format == Precision::kInt8) expected.tolerance += steps + 1e-6 * magnitude;
  return expected;
}

void CheckProduct(Precision format, int64_t m, int64_t n, int64_t k, bool with_bias) {
  SCOPED_TRACE(testing::Message() << "format " << int(format) << " m " << m << " n " << n << " k "
                                  << k);
  const Layer layer(format, n, k, with_bias);
  const Matrix in = Normals(3, m * k);
  const Matrix before(static_cast<size_t>(m * (n + 3)), 7.5f);
  const Matrix out = layer.Run(m, in.data(), Epilogue::kStore, before);
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const Expected expected = Reference(layer, in.data() + r * k, c);
      ASSERT_NEAR(out[static_cast<size_t>(r * (n + 3) + c)], expected.y, expected.tolerance)
          << "row " << r << " column " << c;
    }
    for (int64_t c = n; c < n + 3; ++c) {
      ASSERT_EQ(out[static_cast<size_t>(r * (n + 3) + c)], 7.5f) << "written beyond the output";
    }
  }
}

TEST(PackedLinear, EqualsTheTripleLoop) {
  OnEveryTarget([] {
    for (const Precision format : kFormats) {
      for (const int64_t k : {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 130, 200}) {
        CheckProduct(format, 5, 67, k, k % 2 == 0);
      }
      for (const int64_t n :
           {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 200}) {
        CheckProduct(format, 3, n, 37, true);
      }
      for (int64_t m = 1; m <= 20; ++m) CheckProduct(format, m, 65, 19, true);
      CheckProduct(format, 128, 65, 33, true);
    }
  });
}

// The bound on int8's error above is the worst case; on the average it must be far below.
TEST(PackedLinear, Int8ErrorIsThatOfRounding) {
  const Layer layer(Precision::kInt8, 64, 200);
  const Matrix in = Normals(3, 32 * 200);
  const Matrix out = layer.Run(32, in.data(), Epilogue::kStore, Matrix(32 * 67));
  double squares = 0, reference_squares = 0;
  for (int64_t r = 0; r < 32; ++r) {
    for (int64_t c = 0; c < 64; ++c) {
      const double y = Reference(layer, in.data() + r * 200, c).y;
      squares += std::pow(out[static_cast<size_t>(r * 67 + c)] - y, 2);
      reference_squares += y * y;
    }
  }
  // Steps of 2.8 sigma / 127 and 5.6 sigma / 255 make 0.6 % each, over independent elements.
  EXPECT_LT(std::sqrt(squares / reference_squares), 0.012);
}

TEST(PackedLinear, Epilogues) {
  OnEveryTarget([] {
    for (const int64_t n : {5, 64, 80}) {
      const int64_t m = 7, k = 33;
      const Layer layer(Precision::kF32, n, k);
      const Matrix in = Normals(3, m * k);
      const Matrix before = Normals(4, m * (n + 3));
      const auto check = [&](Epilogue epilogue, const std::function<double(double, double)>& f) {
        const Matrix out = layer.Run(m, in.data(), epilogue, before);
        for (int64_t r = 0; r < m; ++r) {
          for (int64_t c = 0; c < n + 3; ++c) {
            const auto at = static_cast<size_t>(r * (n + 3) + c);
            if (c >= n) {
              ASSERT_EQ(out[at], before[at]);
              continue;
            }
            const Expected y = Reference(layer, in.data() + r * k, c);
            ASSERT_NEAR(out[at], f(before[at], y.y),
                        (y.tolerance + 2e-6) * (1 + std::fabs(before[at])))
                << "epilogue " << int(epilogue) << " n " << n << " row " << r << " column " << c;
          }
        }
      };
      check(Epilogue::kGelu,
            [](double, double y) { return 0.5 * y * (1 + std::erf(y / std::sqrt(2.0))); });
      check(Epilogue::kAdd, [](double x, double y) { return x + y; });
      check(Epilogue::kSigmoidGate, [](double x, double y) { return x / (1 + std::exp(-y)); });
    }
  });
}

// Within 1e-6 of the erf form, relative above 1; the sigmoid saturates without overflow.
TEST(PackedLinear, ActivationsAreAccurateEverywhere) {
  OnEveryTarget([] {
    Matrix one = {1.0f};
    const auto memory = Memory(PackedLinearBytes(Precision::kF32, 1, 1));
    const PackedLinear identity =
        PackLinear(Precision::kF32, 1, 1, one.data(), nullptr, memory.get());
    Matrix x;
    for (int i = -24000; i <= 24000; ++i) x.push_back(static_cast<float>(i) / 2000.0f);
    for (const float far : {1e-6f, 50.0f, 90.0f, 200.0f, 1e30f}) {
      x.push_back(far);
      x.push_back(-far);
    }
    const auto rows = static_cast<int64_t>(x.size());
    Matrix gelu(x.size());
    PackedLinearForward(identity, {x.data(), 1}, rows, Epilogue::kGelu, gelu.data(), 1);
    Matrix gate(x.size(), 1.0f);
    PackedLinearForward(identity, {x.data(), 1}, rows, Epilogue::kSigmoidGate, gate.data(), 1);
    for (size_t i = 0; i < x.size(); ++i) {
      const double value = x[i];
      ASSERT_NEAR(gelu[i], 0.5 * value * (1 + std::erf(value / std::sqrt(2.0))),
                  1e-6 * std::max(1.0, std::fabs(value)))
          << value;
      ASSERT_NEAR(gate[i], 1 / (1 + std::exp(-value)), 2e-7) << value;
    }
  });
}

// Bitwise: alone, and at any place among others.
TEST(PackedLinear, ARowDoesNotDependOnTheOthers) {
  OnEveryTarget([] {
    for (const Precision format : kFormats) {
      for (const int64_t n : {1, 70}) {
        const int64_t k = 75, m = 23;
        const Layer layer(format, n, k);
        const Matrix in = Normals(5, m * k);
        const Matrix zeros(static_cast<size_t>(m * (n + 3)));
        const Matrix all = layer.Run(m, in.data(), Epilogue::kGelu, zeros);
        for (int64_t first = 0; first < m; ++first) {
          const int64_t count = 1 + first % 3;
          if (first + count > m) break;
          const Matrix some = layer.Run(count, in.data() + first * k, Epilogue::kGelu, zeros);
          for (int64_t i = 0; i < count * (n + 3); ++i) {
            ASSERT_EQ(some[static_cast<size_t>(i)], all[static_cast<size_t>(first * (n + 3) + i)])
                << "format " << int(format) << " row " << first;
          }
        }
      }
    }
  });
}

// The norm of a row, as a product's left side and in place: f32 within 1e-5 of f64 for values of
// order 1 (200 additions, then a division by the deviation); other formats equal conversion of it.
TEST(LinearRows, NormEqualsItsFormula) {
  OnEveryTarget([] {
    for (const int64_t k : {1, 2, 3, 4, 5, 8, 15, 16, 17, 33, 64, 100, 200}) {
      const int64_t m = 5;
      const Matrix in = Normals(6, m * (k + 2)), scale = Normals(7, k), shift = Normals(8, k);
      Matrix norm = in;
      NormInPlace(m, k, scale.data(), shift.data(), norm.data(), k + 2);
      for (int64_t r = 0; r < m; ++r) {
        const float* x = in.data() + r * (k + 2);
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < k; ++i) mean += x[i] / double(k);
        for (int64_t i = 0; i < k; ++i) variance += (x[i] - mean) * (x[i] - mean) / double(k);
        for (int64_t i = 0; i < k; ++i) {
          const auto at = static_cast<size_t>(i);
          ASSERT_NEAR(norm[static_cast<size_t>(r * (k + 2) + i)],
                      (x[i] - mean) / std::sqrt(variance + 1e-5) * scale[at] + shift[at], 1e-5)
              << "k " << k << " row " << r << " element " << i;
        }
        for (int64_t i = k; i < k + 2; ++i) {
          ASSERT_EQ(norm[static_cast<size_t>(r * (k + 2) + i)], x[i]) << "written beyond the row";
        }
      }
      for (const Precision format : kFormats) {
        const Layer layer(format, 9, k);
        const auto scratch = Memory(LinearRowsBytes(format, m, k));
        const LinearRows rows =
            NormRows(format, m, k, in.data(), k + 2, scale.data(), shift.data(), scratch.get());
        Matrix out(static_cast<size_t>(m * 9)), same(out.size());
        PackedLinearForward(layer.packed, rows, m, Epilogue::kStore, out.data(), 9);
        const auto other = Memory(LinearRowsBytes(format, m, k));
        PackedLinearForward(layer.packed,
                            ConvertRows(format, m, k, norm.data(), k + 2, other.get()), m,
                            Epilogue::kStore, same.data(), 9);
        ASSERT_EQ(out, same) << "format " << int(format) << " k " << k;
      }
    }
  });
}

}  // namespace
}  // namespace grab
