// Timing by turns, quantiles, ratios, and the count of floating-point operations, against numbers
// worked out by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "bench/attention_problem.h"
#include "bench/cases.h"
#include "bench/flops.h"
#include "bench/sweep.h"
#include "bench/world.h"

namespace grab::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Interleave, SidesTakeTurnsAndShortCallsAreRepeated) {
  std::string calls;
  const auto side = [&](char name, double seconds) {
    return Side{std::string(1, name), ProcessSettings{}, [&calls, name, seconds] {
                  calls += name;
                  return seconds;
                }};
  };
  // Two calls to warm up, or one long one; then per round one untimed call, unless calls are long,
  // and as many as fill the turn.
  const auto seconds = Interleave({side('a', 0.6), side('b', 2.0)}, {3, 1, 1e9, 1.0});
  EXPECT_EQ(calls, "aabaaabaaabaaab");
  EXPECT_THAT(seconds[0], ElementsAre(0.6, 0.6, 0.6));
  EXPECT_THAT(seconds[1], ElementsAre(2.0, 2.0, 2.0));
}

TEST(Summarise, InterpolatesQuantiles) {
  const Spread spread = Summarise({4, 1, 3, 2});
  EXPECT_EQ(spread.min, 1);
  EXPECT_EQ(spread.max, 4);
  EXPECT_DOUBLE_EQ(spread.median, 2.5);
  EXPECT_DOUBLE_EQ(spread.p25, 1.75);
  EXPECT_DOUBLE_EQ(spread.p75, 3.25);
}

TEST(Figure, RatioKeepsItsSides) {
  const Figure figure =
      Ratio("speedup", Milliseconds("peer", {2, 4, 6}), Milliseconds("ours", {1, 1, 2}));
  EXPECT_DOUBLE_EQ(figure.value, 4.0);
  EXPECT_DOUBLE_EQ(figure.spread.min, 2.0);
  EXPECT_DOUBLE_EQ(figure.spread.max, 4.0);
  const nlohmann::json json = figure.ToJson();
  EXPECT_EQ(json["name"], "speedup");
  EXPECT_EQ(json["unit"], "ratio");
  EXPECT_EQ(json["numerator"]["value"], 4000.0);
  EXPECT_EQ(json["numerator"]["unit"], "ms");
  EXPECT_EQ(json["denominator"]["value"], 1000.0);
}

TEST(FindBest, TakesTheFastestOfEachChoice) {
  Choices choices = Choices::TwoThreads();
  choices.users = {1, 4};
  const Found found = FindBest("peer", choices, [](const Choice& choice) {
    return (choice.process.allocator == Allocator::kHeap ? 2.0 : 3.0) /
           (choice.process.threads * (choice.process.blas_threads == 1 ? 2 : 1)) /
           (choice.users == 4 ? 2 : 1);
  });
  EXPECT_EQ(found.best.process.allocator, Allocator::kHeap);
  EXPECT_EQ(found.best.process.threads, 2);
  EXPECT_EQ(found.best.process.blas_threads, 1);
  EXPECT_EQ(found.best.users, 4);
  EXPECT_THAT(found.summary, HasSubstr("peer: torch threads 2, OpenBLAS threads 1"));
}

TEST(Cases, AreFoundByNameAndByFigure) {
  const Case one = {"train_step", {"train_step_peak_fraction", "length_train_"}, nullptr};
  EXPECT_TRUE(Picks("train", one));
  EXPECT_TRUE(Picks("train_step_peak_fraction", one));
  EXPECT_TRUE(Picks("length_train_128_all_us_per_token", one));
  EXPECT_FALSE(Picks("train_step_speedup", one));
  EXPECT_FALSE(Picks("rank", one));
}

// One user of 3 events, each a P and an F token: the P row of the last event is seen by nobody and
// so not in the batch.
TEST(Flops, OfASmallModel) {
  const auto world = MakeWorld(Sizes::Quick(), 1, 100);
  const Batch batch = PackUsers(world->spec, MakeUsers(*world, {3}, 1));
  const Work work = WorkOf(batch);
  ASSERT_EQ(work.channels.size(), 1u);
  EXPECT_EQ(work.full_rows, 3);
  EXPECT_EQ(work.channels[0].partial_rows, 2);
  EXPECT_EQ(work.channels[0].partial_pairs, 1 + 2);
  EXPECT_EQ(work.channels[0].full_pairs, 1 + 2 + 3);
  const Flops flops = CountFlops(world->spec, work);
  // Two layers; P rows ask in the first only. 4 heads of 16.
  EXPECT_EQ(flops.attention_forward, 4.0 * 64 * ((3 + 6) + 6));
  EXPECT_EQ(flops.attention_backward, 10.0 * 64 * ((3 + 6) + 6));
  const double tokens =
      2.0 * (2 * (9 * 16 * (32 + 64) + 32 * 64) + 3 * (10 * 16 * (32 + 64) + 32 * 64));
  const double keys = 2.0 * 2 * 5 * 64 * 128;                         // both layers, all rows
  const double asking = 2.0 * (5 + 3) * (2 * 64 * 64 + 2 * 64 * 96);  // q, out, ffn
  const double head = 2.0 * 3 * (64 * 16 + 16);
  EXPECT_EQ(flops.dense, tokens + keys + asking + head);
  EXPECT_EQ(flops.Training(), 3 * flops.dense + flops.attention_forward + flops.attention_backward);
}

TEST(MixedLengths, AreLongTailedAndHoldTheLongest) {
  const Sizes sizes = Sizes::Full();
  const std::vector<int64_t> lengths = MixedLengths(sizes, kSeed);
  EXPECT_EQ(static_cast<int64_t>(lengths.size()), sizes.mix_segments);
  EXPECT_EQ(*std::max_element(lengths.begin(), lengths.end()), sizes.mix_longest);
  for (const int64_t length : lengths) EXPECT_EQ(length % 2, 0);
}

}  // namespace
}  // namespace grab::bench
