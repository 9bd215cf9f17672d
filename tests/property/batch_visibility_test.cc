// The ranges of batch/visibility.h and the rows of a packed batch against the mask of DESIGN 3.1
// written pair by pair.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "batch/builder.h"
#include "batch/visibility.h"
#include "support/random_world.h"

namespace grab {
namespace {

// Channel positions that a query sees, straight from the definition. `position` < 0: a full token;
// otherwise the query is that partial token of the channel (itself left out).
std::set<uint32_t> SeenByDefinition(const ChannelPlan& plan, const std::vector<int64_t>& known_ms,
                                    int64_t query_ms, int64_t position, int64_t until_ms) {
  std::vector<uint32_t> before;
  for (uint32_t j = 0; j < known_ms.size(); ++j) {
    const bool visible = position >= 0 ? static_cast<int64_t>(j) < position
                                       : known_ms[j] < std::min(query_ms, until_ms);
    if (visible) before.push_back(j);
  }
  size_t keep = static_cast<size_t>(plan.window_len);
  if (position >= 0 && keep > 0) --keep;  // a partial token counts itself
  if (before.size() > keep)
    before.erase(before.begin(), before.end() - static_cast<ptrdiff_t>(keep));
  std::set<uint32_t> seen;
  for (const uint32_t j : before) {
    if (plan.window_time_ms == 0 || query_ms - known_ms[j] <= plan.window_time_ms) seen.insert(j);
  }
  return seen;
}

std::set<uint32_t> Elements(KeyRange range) {
  std::set<uint32_t> elements;
  for (uint32_t j = range.begin; j < range.end; ++j) elements.insert(j);
  return elements;
}

TEST(Visibility, RangesEqualTheMaskPairByPair) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Rng rng(seed);
    ChannelPlan plan;
    plan.window_len = static_cast<int64_t>(rng.Below(7));
    plan.window_time_ms = rng.Bernoulli(0.5) ? 0 : 1 + static_cast<int64_t>(rng.Below(8));
    ChannelTimeline timeline;
    for (uint64_t i = 0, n = rng.Below(12); i < n; ++i) {
      timeline.events.push_back(static_cast<uint32_t>(i));
      timeline.known_time_ms.push_back(static_cast<int64_t>(rng.Below(10)));
    }
    std::sort(timeline.known_time_ms.begin(), timeline.known_time_ms.end());
    for (uint32_t i = 0; i < timeline.events.size(); ++i) {
      EXPECT_EQ(Elements(PartialHistory(plan, timeline, i)),
                SeenByDefinition(plan, timeline.known_time_ms, timeline.known_time_ms[i], i, 1000));
    }
    for (int64_t request_ms = -1; request_ms <= 12; ++request_ms) {
      for (const int64_t until_ms : {int64_t{4}, int64_t{1000}}) {
        EXPECT_EQ(Elements(FullHistory(plan, timeline, request_ms, until_ms)),
                  SeenByDefinition(plan, timeline.known_time_ms, request_ms, -1, until_ms))
            << "request " << request_ms << " until " << until_ms;
      }
    }
  }
}

TEST(Builder, FullRowsSeeTheirUsersHistoryWhateverTheBudget) {
  const Config config = testing::MakeConfig();
  const Schema schema = *Schema::FromConfig(config);
  const TokenSpec spec = *TokenSpec::FromConfig(config, schema, 4);
  PackPlan plan;
  plan.channels = {{0, 4, 0}, {3, 3, 60000}};
  plan.layers = 2;
  const BatchBuilder builder = *BatchBuilder::Create(spec, plan);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const UserBlock block = testing::MakeBlock(schema, seed, 4, 25);
    for (const uint64_t tokens_max : {uint64_t{1}, uint64_t{30}, uint64_t{100000}}) {
      Batch batch = builder.Empty();
      for (uint32_t user = 0; user < block.users(); ++user) {
        std::vector<uint32_t> targets;
        for (uint32_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
          if (block.events.split[i] == Split::kTrain) targets.push_back(i);
        }
        std::vector<TargetGroup> groups;
        builder.Plan(block, user, block.user_offsets[user], block.user_offsets[user + 1], targets,
                     tokens_max, groups);
        size_t planned = 0;
        for (const TargetGroup& group : groups) {
          planned += group.targets.size();
          const uint64_t before = batch.tokens();
          builder.Append(block, group, batch);
          EXPECT_EQ(batch.tokens() - before, group.tokens);
          EXPECT_TRUE(group.tokens <= tokens_max || group.targets.size() == 1);
        }
        EXPECT_EQ(planned, targets.size());
      }
      for (size_t c = 0; c < plan.channels.size(); ++c) {
        const ChannelBatch& rows = batch.channels[c];
        for (uint32_t f = 0; f < batch.full.rows; ++f) {
          // The event of this row, its user and what the definition lets it see.
          const auto at = std::find(block.events.event_id.begin(), block.events.event_id.end(),
                                    batch.event_id[f]);
          const auto event = static_cast<uint32_t>(at - block.events.event_id.begin());
          const auto next =
              std::upper_bound(block.user_offsets.begin(), block.user_offsets.end(), event);
          const uint32_t begin = *(next - 1);
          uint32_t history_len = 0;
          for (uint32_t i = begin; i < *next; ++i) {
            history_len += block.events.history[i] != 0 &&
                           block.events.known_time_ms[i] < block.events.request_time_ms[event];
          }
          EXPECT_EQ(batch.history_len[f], history_len);
          std::vector<int64_t> known_ms;
          for (uint32_t i = begin; i < *next; ++i) {
            const uint32_t wanted = plan.channels[c].actions;
            if (block.events.history[i] != 0 &&
                (wanted == 0 || (block.events.actions[i] & wanted) != 0)) {
              known_ms.push_back(block.events.known_time_ms[i]);
            }
          }
          std::vector<int64_t> expected;
          for (const uint32_t j :
               SeenByDefinition(plan.channels[c], known_ms, block.events.request_time_ms[event], -1,
                                std::numeric_limits<int64_t>::max())) {
            expected.push_back(known_ms[j]);
          }
          std::vector<int64_t> seen;
          for (int32_t j = rows.full_begin[f]; j < rows.full_end[f]; ++j) {
            seen.push_back(rows.key_time_ms[static_cast<size_t>(j)]);
          }
          EXPECT_EQ(seen, expected) << "channel " << c << " row " << f << " budget " << tokens_max;
        }
      }
    }
  }
}

}  // namespace
}  // namespace grab
