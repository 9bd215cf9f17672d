// The check of what targets see (eval/history_check.h): it passes what src/batch packs, and finds
// each way in which a batch could show too much.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/history_check.h"
#include "support/base_temp_dir.h"
#include "support/random_world.h"
#include "support/shard_folder.h"

namespace grab {
namespace {

using ::testing::HasSubstr;

class HistoryCheckTest : public ::testing::Test {
 protected:
  HistoryCheckTest() {
    PackPlan plan;
    plan.channels = {{0, 4, 0}, {3, 3, 60000}};
    plan.layers = 2;
    builder_.emplace(*BatchBuilder::Create(spec_, plan));
  }

  // One segment per user with all its training targets.
  Batch Pack(const UserBlock& block) const {
    Batch batch = builder_->Empty();
    for (uint32_t user = 0; user < block.users(); ++user) {
      std::vector<uint32_t> targets;
      for (uint32_t i = block.user_offsets[user]; i < block.user_offsets[user + 1]; ++i) {
        if (block.events.split[i] == Split::kTrain) targets.push_back(i);
      }
      std::vector<TargetGroup> groups;
      builder_->Plan(block, user, block.user_offsets[user], block.user_offsets[user + 1], targets,
                     1 << 20, groups);
      for (const TargetGroup& group : groups) builder_->Append(block, group, batch);
    }
    return batch;
  }

  static HistoryCheck CheckAll(const Batch& batch, const KnownTimes& known) {
    HistoryCheck check;
    for (size_t s = 0; s + 1 < batch.full_offsets.size(); ++s) {
      CheckSegment(batch, s, known, check);
    }
    return check;
  }

  const Config config_ = testing::MakeConfig();
  const Schema schema_ = *Schema::FromConfig(config_);
  const TokenSpec spec_ = *TokenSpec::FromConfig(config_, schema_, 4);
  std::optional<BatchBuilder> builder_;
};

// Whole timelines and the windows of training, blocks of several users.
TEST_F(HistoryCheckTest, PassesWhatIsPacked) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const TempDir dir;
    const auto shards = testing::WriteShards(
        schema_,
        {testing::MakeBlock(schema_, seed, 3, 30), testing::MakeBlock(schema_, seed + 100, 4, 30)},
        dir.path());
    for (const uint32_t window : {0u, 8u}) {
      StreamOptions options;
      options.batch_tokens = 40;
      options.window_size = window;
      options.window_train = window / 2;
      const auto check = CheckHistory(*shards, *builder_, options, 1 << 20);
      ASSERT_TRUE(check.ok()) << check.status();
      EXPECT_EQ(check->targets, CountTargets(*shards, Split::kTrain));
      EXPECT_GT(check->rows, 0u);
      EXPECT_EQ(check->bad_targets, 0u) << check->example;
    }
  }
}

// Every row of the other rows of its channel that a target does not see is shown to it, one at a
// time: the check must find each of them that lies ahead of the request or is another user's.
TEST_F(HistoryCheckTest, FindsEveryRowFromTheFutureOrOfAnotherUser) {
  uint64_t shown = 0;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    const UserBlock block = testing::MakeBlock(schema_, seed, 3, 12);
    const Batch clean = Pack(block);
    const KnownTimes known(block);
    ASSERT_EQ(CheckAll(clean, known).bad_targets, 0u);
    for (size_t c = 0; c < clean.channels.size(); ++c) {
      const ChannelBatch& rows = clean.channels[c];
      for (size_t s = 0; s + 1 < clean.full_offsets.size(); ++s) {
        for (uint32_t f = clean.full_offsets[s]; f < clean.full_offsets[s + 1]; ++f) {
          for (size_t key = 0; key < rows.key_time_ms.size(); ++key) {
            const bool own = key >= rows.segment_offsets[s] && key < rows.segment_offsets[s + 1];
            if (own && rows.key_time_ms[key] < clean.request_time_ms[f]) continue;
            Batch batch = clean;
            batch.channels[c].full_begin[f] = static_cast<int32_t>(key);
            batch.channels[c].full_end[f] = static_cast<int32_t>(key) + 1;
            EXPECT_EQ(CheckAll(batch, known).bad_targets, 1u)
                << "channel " << c << " row " << f << " key " << key;
            ++shown;
          }
        }
      }
    }
  }
  EXPECT_GT(shown, 500u);
}

// A target that sees one row of history, and what is wrong with it.
TEST_F(HistoryCheckTest, SaysWhatIsWrong) {
  const UserBlock block = testing::MakeBlock(schema_, 3, 3, 12);
  const KnownTimes known(block);
  const Batch clean = Pack(block);
  const ChannelBatch& rows = clean.channels[0];
  size_t target = 0;
  while (rows.full_end[target] - rows.full_begin[target] < 2) ++target;
  const auto last = static_cast<size_t>(rows.full_end[target]) - 1;

  Batch batch = clean;
  batch.channels[0].key_time_ms[last] += 1;  // no event was known then
  EXPECT_THAT(CheckAll(batch, known).example, HasSubstr("no event of the user was known at"));
  batch = clean;
  batch.channels[0].partial_begin[last] = static_cast<int32_t>(last) + 1;
  EXPECT_THAT(CheckAll(batch, known).example, HasSubstr("sees a row that sees later ones"));
  batch = clean;
  batch.event_id[target] = 1;
  EXPECT_THAT(CheckAll(batch, known).example, HasSubstr("no such event of this user"));
  // The batch's own word for the time of the request is not taken.
  batch = clean;
  batch.channels[0].full_end[target] = static_cast<int32_t>(rows.segment_offsets[1]);
  for (int64_t& time_ms : batch.request_time_ms) time_ms += 1'000'000'000;
  UserBlock earlier = block;
  for (int64_t& time_ms : earlier.events.request_time_ms) time_ms -= 1'000'000'000;
  EXPECT_GT(CheckAll(batch, KnownTimes(earlier)).bad_targets, 0u);
}

// Candidates that never become history are none, whenever they were known.
TEST_F(HistoryCheckTest, CandidatesOnlyAreNoHistory) {
  UserBlock block = testing::MakeBlock(schema_, 5, 3, 12);
  const Batch batch = Pack(block);
  std::fill(block.events.history.begin(), block.events.history.end(), uint8_t{0});
  const HistoryCheck check = CheckAll(batch, KnownTimes(block));
  EXPECT_GT(check.bad_targets, 0u);
  EXPECT_THAT(check.example, HasSubstr("no event of the user was known at"));
}

}  // namespace
}  // namespace grab
