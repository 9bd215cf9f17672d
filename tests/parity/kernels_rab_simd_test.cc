// The SIMD RAB attention against the slow reference of kernels/rab_attention.h in f64, which shares
// no code with it (and is itself checked against the naive form of GRAB Eq. 3): outputs and all six
// gradients, on every SIMD target of this machine.
//
// Sizes: head widths around the vector widths 4, 8 and 16; segments around the tile of 64 keys and
// the blocks of 24 and 48 queries; bucket counts from the smallest to more than one panel of
// columns; windows by length and time. Scratch and outputs start as NaN.
//
// Tolerance: sums of n terms of order 1 in f32 err by about sqrt(n) 6e-8 of their size, exponents
// by their argument times 6e-8 and the polynomial by 2e-7: 1e-5 relative to 1 + |value| holds a
// margin of ten for outputs. Gradients of keys and codebooks add up to 600 rows: their errors are
// measured against the largest gradient of the same tensor, 2e-5.
#include <gtest/gtest.h>

#include <functional>

#include "kernels/simd_target.h"
#include "support/rab_problem.h"

namespace grab {
namespace {

using testing::MakeRab;
using testing::PoisonedScratch;
using testing::RabProblemOptions;
using testing::RandomRab;

std::vector<double> Widen(const std::vector<float>& values) {
  return std::vector<double>(values.begin(), values.end());
}

// The same problem in f64 for the reference.
struct Wide {
  explicit Wide(const RandomRab& p)
      : q(Widen(p.q)),
        k(Widen(p.k)),
        v(Widen(p.v)),
        position(Widen(p.position)),
        time(Widen(p.time)),
        action(Widen(p.action)) {}
  RabInputs<double> inputs(int64_t d) const {
    return {q.data(), k.data(), v.data(), d, d, position.data(), time.data(), action.data()};
  }
  std::vector<double> q, k, v, position, time, action;
};

struct Outputs {
  std::vector<double> out, log_sum;
};

Outputs Reference(const RandomRab& p) {
  const Wide wide(p);
  Outputs o{std::vector<double>(p.q.size()),
            std::vector<double>(static_cast<size_t>(p.shape.queries * p.shape.heads))};
  RabAttentionForward<double>(p.shape, p.visibility(), wide.inputs(p.d()), 0, p.shape.heads,
                              o.out.data(), o.log_sum.data());
  return o;
}

struct FloatOutputs {
  std::vector<float> out, log_sum;
};

FloatOutputs Simd(const RandomRab& p) {
  FloatOutputs o{
      std::vector<float>(p.q.size(), std::nanf("")),
      std::vector<float>(static_cast<size_t>(p.shape.queries * p.shape.heads), std::nanf(""))};
  PoisonedScratch scratch(RabForwardScratchBytes(p.shape, p.segment_keys_max()));
  RabForward(p.problem(), 0, static_cast<int64_t>(p.segments.size()), 0, p.shape.heads,
             o.out.data(), o.log_sum.data(), scratch.data());
  return o;
}

template <class T>
struct Gradients {
  explicit Gradients(const RandomRab& p)
      : q(p.q.size()),
        k(p.k.size()),
        v(p.v.size()),
        position(p.position.size()),
        time(p.time.size()),
        action(p.action.size()) {}
  RabGradients<T> to() {
    return {q.data(), k.data(), v.data(), position.data(), time.data(), action.data()};
  }
  std::vector<T> q, k, v, position, time, action;
};

std::vector<RabProblemOptions> Problems() {
  std::vector<RabProblemOptions> problems;
  for (const int64_t width : {1, 3, 4, 8, 15, 16, 17, 32, 33, 64, 80}) {
    RabProblemOptions o;
    o.head_width = width;
    o.partial = {0, 1, 5, 70};
    o.full = {2, 0, 1, 9};
    problems.push_back(o);
  }
  for (const int64_t partial : {23, 24, 25, 63, 64, 65, 127, 129, 300}) {
    RabProblemOptions o;
    o.partial = {partial, 7};
    o.full = {partial / 3 + 1, 2};
    o.head_width = 16;
    problems.push_back(o);
    o.full_only = true;
    problems.push_back(o);
  }
  for (const int64_t buckets : {2, 3, 4, 9, 33, 100}) {
    RabProblemOptions o;
    o.partial = {90};
    o.full = {30};
    o.position_buckets = buckets;
    o.time_buckets = buckets == 33 ? 2 : buckets;
    problems.push_back(o);
  }
  for (const int64_t window : {1, 2, 17, 64, 100}) {
    for (const double window_time_s : {0.0, 700.0}) {
      RabProblemOptions o;
      o.partial = {200, 30};
      o.full = {40, 11};
      o.heads = 3;
      o.window_len = window;
      o.window_time_s = window_time_s;
      problems.push_back(o);
    }
  }
  return problems;
}

std::string Describe(const RabProblemOptions& o, uint64_t seed) {
  return absl::StrCat("seed ", seed, ", target ", SimdTarget(), ", first segment ", o.partial[0],
                      " + ", o.full[0], " rows, head width ", o.head_width, ", buckets ",
                      o.position_buckets, " ", o.time_buckets, ", window ", o.window_len, " ",
                      o.window_time_s, o.full_only ? ", full rows only" : "");
}

// Runs `check` for every problem on every target.
void ForAll(const std::function<void(const RandomRab&, const Outputs&)>& check) {
  uint64_t seed = 0;
  for (const RabProblemOptions& options : Problems()) {
    const RandomRab p = MakeRab(options, ++seed);
    const Outputs expected = Reference(p);
    for (const std::string& target : [] {
           EXPECT_TRUE(ForceSimdTarget("").ok());
           return SimdTargets();
         }()) {
      ASSERT_TRUE(ForceSimdTarget(target).ok());
      SCOPED_TRACE(Describe(options, seed));
      check(p, expected);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  ASSERT_TRUE(ForceSimdTarget("").ok());
}

TEST(RabSimd, ForwardEqualsTheReference) {
  ForAll([](const RandomRab& p, const Outputs& expected) {
    const FloatOutputs o = Simd(p);
    for (size_t i = 0; i < o.out.size(); ++i) {
      ASSERT_NEAR(o.out[i], expected.out[i], 1e-5 * (1 + std::abs(expected.out[i]))) << i;
    }
    for (size_t i = 0; i < o.log_sum.size(); ++i) {
      ASSERT_NEAR(o.log_sum[i], expected.log_sum[i], 1e-5 * (1 + std::abs(expected.log_sum[i])));
    }
  });
}

void ExpectGradient(const char* name, const std::vector<float>& values,
                    const std::vector<double>& expected) {
  double largest = 1.0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(values[i], expected[i], 2e-5 * largest) << name << " " << i;
  }
}

TEST(RabSimd, BackwardEqualsTheReference) {
  ForAll([](const RandomRab& p, const Outputs& expected) {
    Rng rng(7);
    const std::vector<float> d_out = testing::RandomFloats(rng, p.shape.queries * p.d(), 1.0);
    const std::vector<double> wide_d_out = Widen(d_out);
    const Wide wide(p);
    Gradients<double> reference(p);
    RabAttentionBackward<double>(p.shape, p.visibility(), wide.inputs(p.d()), 0, p.shape.heads,
                                 expected.out.data(), expected.log_sum.data(), wide_d_out.data(),
                                 reference.to());
    const FloatOutputs o = Simd(p);
    Gradients<float> simd(p);
    PoisonedScratch scratch(RabBackwardScratchBytes(p.shape, p.segment_keys_max()));
    RabBackward(p.problem(), 0, static_cast<int64_t>(p.segments.size()), 0, p.shape.heads,
                o.out.data(), o.log_sum.data(), d_out.data(), simd.to(), scratch.data());
    ExpectGradient("q", simd.q, reference.q);
    ExpectGradient("k", simd.k, reference.k);
    ExpectGradient("v", simd.v, reference.v);
    ExpectGradient("position", simd.position, reference.position);
    ExpectGradient("time", simd.time, reference.time);
    ExpectGradient("action", simd.action, reference.action);
  });
}

// Threads split segments and heads outside: pieces must write what the whole writes, to the bit.
TEST(RabSimd, PiecesEqualTheWhole) {
  RabProblemOptions options;
  options.partial = {100, 3, 70};
  options.full = {20, 4, 33};
  options.heads = 3;
  const RandomRab p = MakeRab(options, 5);
  const FloatOutputs whole = Simd(p);
  FloatOutputs pieces = whole;
  std::fill(pieces.out.begin(), pieces.out.end(), 0.0f);
  std::fill(pieces.log_sum.begin(), pieces.log_sum.end(), 0.0f);
  PoisonedScratch scratch(RabForwardScratchBytes(p.shape, p.segment_keys_max()));
  for (int64_t s = 2; s >= 0; --s) {
    for (int64_t h = 2; h >= 0; --h) {
      RabForward(p.problem(), s, s + 1, h, h + 1, pieces.out.data(), pieces.log_sum.data(),
                 scratch.data());
    }
  }
  EXPECT_EQ(pieces.out, whole.out);
  EXPECT_EQ(pieces.log_sum, whole.log_sum);
}

// Large logits: the online softmax must not overflow, nor lose the largest key.
TEST(RabSimd, LargeLogitsStayFinite) {
  RabProblemOptions options;
  options.partial = {200};
  options.full = {30};
  RandomRab p = MakeRab(options, 11);
  for (float& value : p.q) value *= 60.0f;  // logits up to about 500
  const Outputs expected = Reference(p);
  const FloatOutputs o = Simd(p);
  // An error of 6e-8 of a logit of 500 is 3e-5 in a weight.
  for (size_t i = 0; i < o.out.size(); ++i) ASSERT_NEAR(o.out[i], expected.out[i], 1e-3) << i;
}

TEST(RabSimd, VisiblePairsAreCounted) {
  const RandomRab p =
      MakeRab({}, 3);  // 10 partial rows and 3 full rows that see 0, 5 and 10 of them
  EXPECT_EQ(RabVisiblePairs(p.visibility(), p.segments[0]), 10 + 45 + 3 + 15);
}

}  // namespace
}  // namespace grab
