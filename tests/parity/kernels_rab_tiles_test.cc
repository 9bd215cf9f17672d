// RAB attention over cached tiles against the slow f64 reference on the same rows: every format,
// with and without dot-product instructions, on every SIMD target; tiles written a few keys at a
// time.
//
// Tolerance: f32 as in kernels_rab_simd_test (1e-5). bf16 keeps 8 bits of a value: products of
// order-1 numbers err by 2^-9 of their size each, at random, so a logit of order 1 errs by a few
// 1e-3; outputs of order 1 must agree to 3e-2, and to 6e-3 on average. 8-bit integers with a scale
// per key: 1/254 of the largest element, four times coarser than bf16 near 1: 1e-1, and 2e-2 on
// average.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/aligned_buffer.h"
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

std::vector<double> Reference(const RandomRab& p) {
  const std::vector<double> q = Widen(p.q), k = Widen(p.k), v = Widen(p.v),
                            position = Widen(p.position), time = Widen(p.time),
                            action = Widen(p.action);
  std::vector<double> out(p.q.size());
  RabAttentionForward<double>(
      p.shape, p.visibility(),
      {q.data(), k.data(), v.data(), p.d(), p.d(), position.data(), time.data(), action.data()}, 0,
      p.shape.heads, out.data(), nullptr);
  return out;
}

// The history of the only segment in tiles, `step` keys at a time.
class Tiles {
 public:
  Tiles(const RandomRab& p, Precision format, int64_t step)
      : bytes_(RabTileBytes(p.shape, format)) {
    const int64_t keys = p.segments[0].key_end;
    for (int64_t begin = 0; begin < keys; begin += kTileKeys) {
      tiles_.emplace_back(bytes_);
      std::memset(tiles_.back().data(), 0, bytes_);
      pointers_.push_back(tiles_.back().data());
    }
    for (int64_t j = 0; j < keys;) {
      const int64_t rows = std::min({step, keys - j, kTileKeys - j % kTileKeys});
      WriteRabTile(p.shape, format, p.k.data() + j * p.d(), p.v.data() + j * p.d(), p.d(),
                   p.key_action.data() + j, p.action.data(), j % kTileKeys, rows,
                   tiles_[static_cast<size_t>(j / kTileKeys)].data());
      j += rows;
    }
  }
  const void* const* pointers() const { return pointers_.data(); }

 private:
  size_t bytes_;
  std::vector<AlignedBuffer> tiles_;
  std::vector<const void*> pointers_;
};

std::vector<float> Tiled(const RandomRab& p, Precision format, int64_t step,
                         int64_t queries_at_once) {
  const Tiles tiles(p, format, step);
  RabTiledProblem problem;
  problem.shape = p.shape;
  problem.format = format;
  problem.tiles = tiles.pointers();
  problem.key_begin = p.key_begin.data();
  problem.key_end = p.key_end.data();
  problem.runs = p.runs();
  problem.q = p.q.data();
  const int64_t first = p.self_key[0] * p.d();  // own keys stand in the order of the queries
  problem.self_k = p.k.data() + first;
  problem.self_v = p.v.data() + first;
  problem.q_stride = problem.self_stride = p.d();
  problem.codebooks = p.codebooks.data();
  std::vector<float> out(p.q.size(), std::nanf(""));
  PoisonedScratch scratch(RabTiledScratchBytes(p.shape, format));
  for (int64_t i = 0; i < p.shape.queries; i += queries_at_once) {
    RabTiledForward(problem, i, std::min(p.shape.queries, i + queries_at_once), 0, p.shape.heads,
                    out.data(), p.d(), scratch.data());
  }
  return out;
}

std::vector<RabProblemOptions> Problems() {
  std::vector<RabProblemOptions> problems;
  for (const int64_t partial : {0, 1, 3, 63, 64, 65, 150}) {
    for (const int64_t width : {3, 16, 32, 64}) {
      RabProblemOptions o;
      o.partial = {partial};
      o.full = {partial % 2 == 0 ? 5 : 30};
      o.head_width = width;
      o.full_only = partial % 3 != 0;
      problems.push_back(o);
    }
  }
  RabProblemOptions windows;
  windows.partial = {300};
  windows.full = {40};
  windows.window_len = 100;
  windows.window_time_s = 2500;
  problems.push_back(windows);
  return problems;
}

struct Bound {
  Precision format;
  double largest;
  double mean;
};

TEST(RabTiles, EveryFormatIsNearTheReference) {
  uint64_t seed = 100;
  for (const RabProblemOptions& options : Problems()) {
    const RandomRab p = MakeRab(options, ++seed);
    const std::vector<double> expected = Reference(p);
    ASSERT_TRUE(ForceSimdTarget("").ok());
    for (const std::string& target : SimdTargets()) {
      for (const bool dot : {true, false}) {
        ASSERT_TRUE(ForceSimdTarget(target, dot).ok());
        for (const Bound bound :
             {Bound{Precision::kF32, 1e-5, 1e-5}, Bound{Precision::kBf16, 3e-2, 6e-3},
              Bound{Precision::kInt8, 1e-1, 2e-2}}) {
          SCOPED_TRACE(::testing::Message()
                       << "seed " << seed << " target " << target << " dot " << dot << " format "
                       << static_cast<int>(bound.format) << " keys " << options.partial[0]
                       << " head width " << options.head_width);
          const std::vector<float> out = Tiled(p, bound.format, 7, 1000);
          double sum = 0.0;
          for (size_t i = 0; i < out.size(); ++i) {
            ASSERT_NEAR(out[i], expected[i], bound.largest * (1 + std::abs(expected[i]))) << i;
            sum += std::abs(out[i] - expected[i]);
          }
          ASSERT_LE(sum / static_cast<double>(out.size()), bound.mean);
        }
      }
    }
  }
  ASSERT_TRUE(ForceSimdTarget("").ok());
}

// A candidate scores as if it were alone, and a tile does not remember how it was written.
TEST(RabTiles, ResultsDoNotDependOnWhatIsComputedTogether) {
  RabProblemOptions options;
  options.partial = {130};
  options.full = {60};
  options.head_width = 32;
  const RandomRab p = MakeRab(options, 8);
  for (const Precision format : {Precision::kF32, Precision::kBf16, Precision::kInt8}) {
    const std::vector<float> together = Tiled(p, format, 64, 1000);
    EXPECT_EQ(Tiled(p, format, 1, 1), together);
    EXPECT_EQ(Tiled(p, format, 5, 7), together);
  }
}

TEST(SimdTarget, AForcedTargetIsObeyedOrRefused) {
  for (const std::string& target : SimdTargets()) {
    ASSERT_TRUE(ForceSimdTarget(target).ok());
    EXPECT_EQ(SimdTarget(), target);
    ASSERT_TRUE(ForceSimdTarget("").ok());
  }
  const Status status = ForceSimdTarget("AVX1024");
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(SimdTarget(), SimdTargets().front());
  ASSERT_TRUE(ForceSimdTarget("", false).ok());
  EXPECT_FALSE(HasDotInstructions());
  ASSERT_TRUE(ForceSimdTarget("").ok());
}

TEST(SimdTarget, TheEnvironmentForcesOne) {
  ASSERT_EQ(setenv("GRAB_SIMD", SimdTargets().back().c_str(), 1), 0);
  ASSERT_TRUE(ForceSimdTargetOfEnvironment().ok());
  EXPECT_EQ(SimdTarget(), SimdTargets().back());
  ASSERT_EQ(setenv("GRAB_SIMD", "AVX1024", 1), 0);
  EXPECT_THAT(std::string(ForceSimdTargetOfEnvironment().message()),
              ::testing::StartsWith("GRAB_SIMD: "));
  ASSERT_EQ(unsetenv("GRAB_SIMD"), 0);
  ASSERT_TRUE(ForceSimdTarget("").ok());
  ASSERT_TRUE(ForceSimdTargetOfEnvironment().ok());
  EXPECT_EQ(SimdTarget(), SimdTargets().front());
}

}  // namespace
}  // namespace grab
