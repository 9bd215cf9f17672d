// Cold rows of shards made by hand: what is new when the test begins, in hour 20.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "eval/cold_rows.h"
#include "support/base_temp_dir.h"
#include "support/hand_made_shards.h"

namespace grab {
namespace {

using testing::HandMadeShards;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kHourMs;
using ::testing::UnorderedElementsAre;

ColdRows::Row Row(const std::string& user, uint64_t event_id) { return {HashId(user), event_id}; }

// Event ids repeat from user to user, so that a row is known by both. Item 0 is missing.
std::unique_ptr<ShardSet> Shards(const TempDir& dir) {
  return HandMadeShards(dir.path(),
                        {{// Known and warm; item 8 is new, and stays so when seen again.
                          {0, 0, Split::kContext, 7, 1},
                          {21, 21, Split::kTest, 8, 0},
                          {22, 22, Split::kTest, 7, 0}},
                         // New.
                         {{20, 22, Split::kTest, 8, 1}, {21, 23, Split::kTest, 7, -1}},
                         // Requested before the test, but known only after it began.
                         {{19, 20, Split::kContext, 9, -1},
                          {20, 22, Split::kTest, 0, 1},
                          {21, 23, Split::kTest, 9, 1}},
                         // Known in the hour before.
                         {{18, 19, Split::kTrain, 7, 0}, {20, 20, Split::kTest, 7, 0}},
                         // Without test rows; item 8 is requested as the test begins.
                         {{20, 20, Split::kContext, 8, 0}},
                         // Of whom only a candidate that is no history was known.
                         {{10, 10, Split::kContext, 7, -1, false}, {20, 20, Split::kTest, 7, 0}}});
}

TEST(FindColdRows, UsersByWhatIsKnownAndItemsByWhatWasRequested) {
  const TempDir dir;
  const auto shards = Shards(dir);
  const auto cold = FindColdRows(*shards, Split::kTest, {"item"});
  ASSERT_TRUE(cold.ok()) << cold.status();
  EXPECT_EQ(cold->from_ms, 20 * kHourMs);
  EXPECT_THAT(cold->of_new_users,
              UnorderedElementsAre(Row("user1", 1), Row("user1", 2), Row("user2", 2),
                                   Row("user2", 3), Row("user5", 2)));
  ASSERT_EQ(cold->of_new_values.size(), 1u);
  ASSERT_TRUE(cold->of_new_values[0].has_value());
  EXPECT_THAT(*cold->of_new_values[0], UnorderedElementsAre(Row("user0", 2), Row("user1", 1)));
}

TEST(FindColdRows, OfTheSplitAskedFor) {
  const TempDir dir;
  const auto shards = Shards(dir);
  // Training begins in hour 18 with one row of a user without history; item 7 is known.
  const auto train = FindColdRows(*shards, Split::kTrain, {"item"});
  ASSERT_TRUE(train.ok()) << train.status();
  EXPECT_EQ(train->from_ms, 18 * kHourMs);
  EXPECT_THAT(train->of_new_users, UnorderedElementsAre(Row("user3", 1)));
  EXPECT_THAT(*train->of_new_values[0], IsEmpty());
  const auto valid = FindColdRows(*shards, Split::kValid, {"item"});
  ASSERT_TRUE(valid.ok()) << valid.status();
  EXPECT_EQ(valid->from_ms, std::nullopt);
  EXPECT_THAT(valid->of_new_users, IsEmpty());
}

// Items of test rows are 7, 8 and 9.
TEST(FindColdRows, AboveTheBoundValuesAreNotCounted) {
  const TempDir dir;
  const auto shards = Shards(dir);
  EXPECT_TRUE(FindColdRows(*shards, Split::kTest, {"item"}, 3)->of_new_values[0].has_value());
  const auto bounded = FindColdRows(*shards, Split::kTest, {"item"}, 2);
  ASSERT_TRUE(bounded.ok()) << bounded.status();
  EXPECT_FALSE(bounded->of_new_values[0].has_value());
  EXPECT_EQ(bounded->of_new_users.size(), 5u);
}

TEST(FindColdRows, NamesAFieldThatIsNoId) {
  const TempDir dir;
  const auto shards = Shards(dir);
  for (const char* name : {"price", "colour"}) {
    const Status status = FindColdRows(*shards, Split::kTest, {name}).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("id field '", name, "'")));
  }
}

}  // namespace
}  // namespace grab
