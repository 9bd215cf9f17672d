// The profile of hand-made shards: two users of history, one new user, two items of which one is
// new.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/report_profile.h"
#include "support/base_temp_dir.h"
#include "support/hand_made_shards.h"

namespace grab {
namespace {

using ::testing::ElementsAre;
using testing::HandMadeShards;
using ::testing::HasSubstr;
using testing::kHourMs;

TEST(ProfileData, CountsByHand) {
  const TempDir dir;
  // The test begins in hour 20. Item 8 is first seen in hour 20, item 0 is missing.
  const auto shards = HandMadeShards(
      dir.path(),
      {{{0, 0, Split::kContext, 7, 1}, {1, 1, Split::kTrain, 7, 1}, {21, 21, Split::kTest, 8, 0}},
       {{20, 22, Split::kTest, 8, 1}, {21, 23, Split::kTest, 7, -1}},
       {{1, 2, Split::kTrain, 7, 0}},
       {{19, 21, Split::kContext, 0, -1}, {20, 22, Split::kTest, 0, 1}}});
  const auto profile = ProfileData(*shards, {"item"}, NoProgress());
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->users, 4u);
  EXPECT_EQ(profile->events, 8u);
  EXPECT_THAT(profile->targets, ElementsAre(2, 2, 0, 4));
  // One user of one event; three of two or three.
  EXPECT_THAT(profile->users_by_events, ElementsAre(1, 3));
  EXPECT_EQ(profile->test_from_ms, 20 * kHourMs);
  // Those of the second user, whose first event is the first of the test, and that of the last:
  // what was requested in hour 19 is known in hour 21 only.
  EXPECT_EQ(profile->new_user_rows, 3u);
  // The same: the first user's request in hour 21 has history.
  EXPECT_EQ(profile->no_history_rows, 3u);
  ASSERT_EQ(profile->fields.size(), 1u);
  EXPECT_EQ(profile->fields[0].cold_rows, 2u);
  // 22 hours in half hours, of at most 60.
  EXPECT_EQ(profile->time.width_ms, kHourMs / 2);
  ASSERT_EQ(profile->tasks.size(), 1u);
  const std::vector<LabelCounts>& bins = profile->tasks[0].bins;
  ASSERT_EQ(bins.size(), 43u);
  EXPECT_EQ(bins[0].rows, 0u);  // of context only
  EXPECT_EQ(bins[2].rows, 2u);
  EXPECT_EQ(bins[2].positives, 1u);
  EXPECT_EQ(bins[40].rows, 2u);
  EXPECT_EQ(bins[40].positives, 2u);
  EXPECT_EQ(bins[42].rows, 1u);
  EXPECT_EQ(bins[42].positives, 0u);
}

// A candidate only, known long before, is no history of the user.
TEST(ProfileData, CandidatesOnlyAreNoHistory) {
  const TempDir dir;
  const auto shards = HandMadeShards(
      dir.path(), {{{0, 0, Split::kTrain, 7, 0, false}, {20, 20, Split::kTest, 8, 1}},
                   {{0, 0, Split::kTrain, 7, 0, false},
                    {1, 1, Split::kTrain, 7, 1},
                    {20, 20, Split::kTest, 8, 1}}});
  const auto profile = ProfileData(*shards, {"item"}, NoProgress());
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->no_history_rows, 1u);
}

TEST(ProfileData, WithoutTestRowsNothingIsNew) {
  const TempDir dir;
  const auto shards = HandMadeShards(dir.path(), {{{1, 2, Split::kTrain, 7, 0}}});
  const auto profile = ProfileData(*shards, {"item"}, NoProgress());
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->test_from_ms, std::nullopt);
  EXPECT_EQ(profile->new_user_rows, 0u);
}

TEST(ProfileData, NamesAFieldThatIsNoId) {
  const TempDir dir;
  const auto shards = HandMadeShards(dir.path(), {{{1, 2, Split::kTrain, 7, 0}}});
  for (const char* name : {"price", "colour"}) {
    const Status status = ProfileData(*shards, {name}, NoProgress()).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("id field '", name, "'")));
  }
}

}  // namespace
}  // namespace grab
