// The profile of hand-made shards: two users of history, one new user, two items of which one is
// new.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_format.h"
#include "base/file.h"
#include "cli/report_profile.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kHourMs = 3'600'000;

struct Event {
  int64_t request_h;
  int64_t known_h;
  Split split;
  uint64_t item;
  int label;  // -1: unknown
  bool history = true;
};

Schema MakeSchema() {
  Schema schema;
  schema.fields = {{"item", FieldKind::kId, false, 0}, {"price", FieldKind::kNumber, false, 0}};
  schema.actions = {"click"};
  schema.tasks = {"click"};
  return schema;
}

void AddUser(const std::string& id, const std::vector<Event>& events, UserBlock& block) {
  block.user_id.push_back(id);
  EventColumns& columns = block.events;
  for (const Event& event : events) {
    columns.event_id.push_back(columns.size() + 1);
    columns.request_time_ms.push_back(event.request_h * kHourMs);
    columns.known_time_ms.push_back(event.known_h * kHourMs);
    columns.page_id.push_back(0);
    columns.session_id.push_back(0);
    columns.split.push_back(event.split);
    columns.history.push_back(event.history ? 1 : 0);
    columns.actions.push_back(0);
    columns.actions_known.push_back(0);
    columns.labels.push_back(event.label == 1 ? 1 : 0);
    columns.labels_known.push_back(event.label >= 0 ? 1 : 0);
    columns.fields[0].ids.push_back(event.item);
    columns.fields[1].numbers.push_back(1.0f);
  }
  block.user_offsets.push_back(static_cast<uint32_t>(columns.size()));
}

// One user per block, so that what is kept must outlive a block.
StatusOr<std::unique_ptr<ShardSet>> WriteShards(const std::string& dir,
                                                const std::vector<std::vector<Event>>& users) {
  GRAB_ASSIGN_OR_RETURN(auto writer,
                        ShardWriter::Create(dir + "/shard-0000.grab", MakeSchema(), 1));
  for (size_t u = 0; u < users.size(); ++u) {
    UserBlock block;
    block.user_offsets = {0};
    block.events = MakeColumns(MakeSchema());
    AddUser(absl::StrCat("user", u), users[u], block);
    GRAB_RETURN_IF_ERROR(writer->Append(block));
  }
  GRAB_RETURN_IF_ERROR(writer->Finish());
  GRAB_RETURN_IF_ERROR(WriteFileDurably(
      JoinPath(dir, kManifestName),
      absl::StrFormat(
          R"({"rows_hash":"0","shards":[{"file":"shard-0000.grab","checksum":"%016x"}]})",
          writer->checksum())));
  return ShardSet::Open(dir);
}

TEST(ProfileData, CountsByHand) {
  const TempDir dir;
  // The test begins in hour 20. Item 8 is first seen in hour 20, item 0 is missing.
  const auto shards = WriteShards(
      dir.path(),
      {{{0, 0, Split::kContext, 7, 1}, {1, 1, Split::kTrain, 7, 1}, {21, 21, Split::kTest, 8, 0}},
       {{20, 22, Split::kTest, 8, 1}, {21, 23, Split::kTest, 7, -1}},
       {{1, 2, Split::kTrain, 7, 0}},
       {{19, 21, Split::kContext, 0, -1}, {20, 22, Split::kTest, 0, 1}}});
  ASSERT_TRUE(shards.ok()) << shards.status();
  const auto profile = ProfileData(**shards, {"item"}, NoProgress());
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->users, 4u);
  EXPECT_EQ(profile->events, 8u);
  EXPECT_THAT(profile->targets, ElementsAre(2, 2, 0, 4));
  // One user of one event; three of two or three.
  EXPECT_THAT(profile->users_by_events, ElementsAre(1, 3));
  EXPECT_EQ(profile->test_from_ms, 20 * kHourMs);
  // Rows of the second user, whose first event is the first of the test.
  EXPECT_EQ(profile->new_user_rows, 2u);
  // Those, and that of the last user: what was requested in hour 19 is known in hour 21 only.
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
  const auto shards =
      WriteShards(dir.path(), {{{0, 0, Split::kTrain, 7, 0, false}, {20, 20, Split::kTest, 8, 1}},
                               {{0, 0, Split::kTrain, 7, 0, false},
                                {1, 1, Split::kTrain, 7, 1},
                                {20, 20, Split::kTest, 8, 1}}});
  ASSERT_TRUE(shards.ok()) << shards.status();
  const auto profile = ProfileData(**shards, {"item"}, NoProgress());
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->no_history_rows, 1u);
}

TEST(ProfileData, WithoutTestRowsNothingIsNew) {
  const TempDir dir;
  const auto shards = WriteShards(dir.path(), {{{1, 2, Split::kTrain, 7, 0}}});
  ASSERT_TRUE(shards.ok()) << shards.status();
  const auto profile = ProfileData(**shards, {"item"}, NoProgress());
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->test_from_ms, std::nullopt);
  EXPECT_EQ(profile->new_user_rows, 0u);
}

TEST(ProfileData, NamesAFieldThatIsNoId) {
  const TempDir dir;
  const auto shards = WriteShards(dir.path(), {{{1, 2, Split::kTrain, 7, 0}}});
  ASSERT_TRUE(shards.ok()) << shards.status();
  for (const char* name : {"price", "colour"}) {
    const Status status = ProfileData(**shards, {name}, NoProgress()).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("id field '", name, "'")));
  }
}

}  // namespace
}  // namespace grab
