// Which events an inspection names, and that the parts it gives are those that made the shares.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/hash.h"
#include "server/inspector.h"
#include "support/random_model.h"

namespace grab {
namespace {

using testing::MakeBlock;
using testing::MakeConfig;
using testing::MakeModel;

struct Asked {
  EventColumns history, candidates;
};

// The user's events, and three candidates after all of them.
Asked AskedOf(const Schema& schema, uint64_t seed) {
  const UserBlock block = MakeBlock(schema, seed, 1, 60);
  Asked asked{MakeColumns(schema), MakeColumns(schema)};
  for (size_t row = 0; row < block.events.size(); ++row) {
    AppendEvent(schema, block.events, row, asked.history);
  }
  for (size_t row = 0; row < std::min<size_t>(3, block.events.size()); ++row) {
    AppendEvent(schema, block.events, row, asked.candidates);
    asked.candidates.request_time_ms.back() = block.events.known_time_ms.back() + 1;
    asked.candidates.known_time_ms.back() = asked.candidates.request_time_ms.back();
  }
  return asked;
}

TEST(InspectorTest, NamesTheEventsThatAChannelSees) {
  const Model model = MakeModel(MakeConfig(), ModelKind::kGrab, 1);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    const Asked asked = AskedOf(model.spec.tokens.schema, seed);
    const auto inspection = Inspect(model, asked.history, asked.candidates);
    ASSERT_TRUE(inspection.ok()) << inspection.status();
    for (const std::vector<EventShare>& shares : inspection->shares) {
      std::vector<std::set<uint32_t>> seen(2);
      std::vector<float> sums(2, 0.0f);
      for (const EventShare& share : shares) {
        EXPECT_TRUE(seen[share.channel].insert(share.event).second);
        sums[share.channel] += share.share;
      }
      for (const float sum : sums) EXPECT_LE(sum, 1.0f + 1e-5f);
      // Channel 0: the newest four that are history at all (support/random_world.h).
      std::set<uint32_t> newest;
      for (size_t i = asked.history.size(); i-- > 0 && newest.size() < 4;) {
        if (asked.history.history[i] != 0) newest.insert(static_cast<uint32_t>(i));
      }
      EXPECT_EQ(seen[0], newest);
      for (const uint32_t event : seen[1]) {
        EXPECT_NE(asked.history.actions[event] & 3u, 0u);
        EXPECT_GE(asked.history.known_time_ms[event], asked.candidates.request_time_ms[0] - 60'000);
      }
    }
  }
}

// With one head shares are the softmax of the parts' sums: exp(difference) between any two.
TEST(InspectorTest, PartsMakeTheShares) {
  Config config = MakeConfig();
  config.grab.model.heads = 1;
  const Model model = MakeModel(config, ModelKind::kGrab, 2);
  size_t compared = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Asked asked = AskedOf(model.spec.tokens.schema, seed);
    const auto inspection = Inspect(model, asked.history, asked.candidates);
    ASSERT_TRUE(inspection.ok()) << inspection.status();
    const auto logit = [](const EventShare& s) {
      return double(s.content) + s.position + s.time + s.action;
    };
    for (const std::vector<EventShare>& shares : inspection->shares) {
      for (size_t i = 1; i < shares.size(); ++i) {
        if (shares[i].channel != shares[0].channel) continue;
        EXPECT_NEAR(std::log(double(shares[0].share) / shares[i].share),
                    logit(shares[0]) - logit(shares[i]), 1e-3);
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 50u);
}

TEST(InspectorTest, ScoresAsTheForwardDoes) {
  const Model model = MakeModel(MakeConfig(), ModelKind::kGrab, 3);
  const UserBlock block = MakeBlock(model.spec.tokens.schema, 9, 1, 60);
  auto expected = testing::ScoreAll(model, block);
  for (size_t row = 0; row < block.events.size(); ++row) {
    if (block.events.split[row] != Split::kTrain) continue;
    EventColumns candidate = MakeColumns(model.spec.tokens.schema);
    AppendEvent(model.spec.tokens.schema, block.events, row, candidate);
    const auto inspection = Inspect(model, block.events, candidate);
    ASSERT_TRUE(inspection.ok()) << inspection.status();
    const std::vector<float>& logits = expected[block.events.event_id[row]];
    for (size_t t = 0; t < logits.size(); ++t) {
      EXPECT_NEAR(inspection->probabilities[t], 1.0 / (1.0 + std::exp(-double(logits[t]))), 1e-5);
    }
  }
}

}  // namespace
}  // namespace grab
