// Schemas and columns in memory: what a config declares, JSON and back, and every way in which a
// block can be invalid.
#include <gtest/gtest.h>

#include <functional>

#include "data/schema.h"
#include "support/data_blocks.h"

namespace grab {
namespace {

TEST(Schema, StoresAllFieldsOfAConfigButCrosses) {
  Config config;
  config.fields.resize(4);
  config.fields[0].name = "item";
  config.fields[1].name = "tags";
  config.fields[1].kind = "ids";
  config.fields[1].weights = "tag_weights";
  config.fields[2].name = "cross";
  config.fields[2].kind = "cross";
  config.fields[3].name = "text";
  config.fields[3].kind = "dense";
  config.fields[3].width = 7;
  config.actions = {{"like", ""}, {"click", ""}};
  config.tasks.resize(1);
  config.tasks[0].name = "ctr";
  const auto schema = Schema::FromConfig(config);
  ASSERT_TRUE(schema.ok()) << schema.status();
  const std::vector<FieldSchema> expected = {{"item", FieldKind::kId, false, 0},
                                             {"tags", FieldKind::kIds, true, 0},
                                             {"text", FieldKind::kDense, false, 7}};
  EXPECT_EQ(schema->fields, expected);
  EXPECT_EQ(schema->actions, (std::vector<std::string>{"like", "click"}));
  EXPECT_EQ(schema->tasks, std::vector<std::string>{"ctr"});
  EXPECT_EQ(schema->FieldIndex("text"), 2);
  EXPECT_EQ(schema->FieldIndex("cross"), -1);
}

TEST(Schema, RefusesConfigsThatNoShardCanHold) {
  const std::function<void(Config&)> mistakes[] = {
      [](Config& c) { c.fields[1].name = c.fields[0].name; },
      [](Config& c) { c.fields[0].name = ""; },
      [](Config& c) { c.fields[0].kind = "dense"; },
      [](Config& c) { c.fields[0].width = 3; },
      [](Config& c) { c.fields[0].weights = "w"; },
      [](Config& c) { c.fields[0].kind = "word"; },
      [](Config& c) { c.actions.resize(kActionsMax + 1); },
      [](Config& c) { c.tasks.resize(kTasksMax + 1); },
      [](Config& c) { c.fields.resize(kFieldsMax + 1); },
  };
  for (size_t i = 0; i < std::size(mistakes); ++i) {
    Config config;
    config.fields.resize(2);
    config.fields[0].name = "a";
    config.fields[1].name = "b";
    ASSERT_TRUE(Schema::FromConfig(config).ok());
    mistakes[i](config);
    EXPECT_EQ(Schema::FromConfig(config).status().code(), absl::StatusCode::kInvalidArgument)
        << "mistake " << i;
  }
}

TEST(Schema, SurvivesJsonAndRefusesOtherJson) {
  const Schema schema = AllKindsSchema();
  const auto back = Schema::FromJson(schema.ToJson());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, schema);
  for (const char* text :
       {"", "[]", "{}", "{\"fields\":1,\"actions\":[],\"tasks\":[]}",
        "{\"fields\":[],\"actions\":[1],\"tasks\":[]}",
        "{\"fields\":[{}],\"actions\":[],\"tasks\":[]}",
        "{\"fields\":[{\"name\":\"a\",\"kind\":\"x\",\"weighted\":false,\"width\":0}],\"actions\":["
        "],"
        "\"tasks\":[]}",
        "{\"fields\":[{\"name\":\"a\",\"kind\":\"dense\",\"weighted\":false,\"width\":4294967297}],"
        "\"actions\":[],\"tasks\":[]}"}) {
    EXPECT_EQ(Schema::FromJson(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

// AppendEvent of every event of a block must rebuild its columns; 1, 2 and 40 users cover empty
// lists and long ones.
TEST(Timeline, AppendEventRebuildsColumns) {
  const Schema schema = AllKindsSchema();
  for (const size_t users : {1, 2, 40}) {
    const UserBlock block = RandomBlock(schema, users, users, 20, true);
    UserBlock copy = block;
    copy.events = MakeColumns(schema);
    for (size_t i = 0; i < block.events.size(); ++i) {
      AppendEvent(schema, block.events, i, copy.events);
    }
    EXPECT_TRUE(SameBlocks(block, copy)) << users << " users";
  }
}

TEST(Timeline, ValidateNamesEveryDefect) {
  const Schema schema = AllKindsSchema();
  const UserBlock good = RandomBlock(schema, 7, 20, 20, false);
  ASSERT_TRUE(Validate(schema, good).ok()) << Validate(schema, good);
  ASSERT_GT(good.user_offsets[1], 1u) << "the first user needs two events for the defects below";
  const std::function<void(UserBlock&)> defects[] = {
      [](UserBlock& b) { b.events.event_id.pop_back(); },
      [](UserBlock& b) { b.events.page_id.pop_back(); },
      [](UserBlock& b) { b.events.labels_known.pop_back(); },
      [](UserBlock& b) { b.events.known_time_ms[0] = b.events.request_time_ms[0] - 1; },
      [](UserBlock& b) {
        b.events.known_time_ms[1] = b.events.known_time_ms[0] - 1;
        b.events.request_time_ms[1] = b.events.known_time_ms[1];
      },
      [](UserBlock& b) { b.events.split[0] = static_cast<Split>(4); },
      [](UserBlock& b) { b.events.history.pop_back(); },
      [](UserBlock& b) { b.events.history[0] = 2; },
      [](UserBlock& b) { b.events.actions_known[0] = 4; },
      [](UserBlock& b) {
        b.events.labels[0] = 1;
        b.events.labels_known[0] = 0;
      },
      [](UserBlock& b) { b.user_id[0].clear(); },
      [](UserBlock& b) { b.user_id[0].assign(kUserIdBytesMax + 1, 'u'); },
      [](UserBlock& b) { b.user_offsets[0] = 1; },
      [](UserBlock& b) { b.user_offsets.back() += 1; },
      [](UserBlock& b) { std::swap(b.user_offsets[0], b.user_offsets[1]); },
      [](UserBlock& b) { b.events.fields[0].ids.pop_back(); },
      [](UserBlock& b) { b.events.fields[4].offsets.back() += 1; },
      [](UserBlock& b) { b.events.fields[4].ids[0] = 0; },
      [](UserBlock& b) { GiveIds(b.events, 4, kFieldValuesMax + 1); },
      [](UserBlock& b) { b.events.fields[5].numbers.pop_back(); },
      [](UserBlock& b) { b.events.fields[8].numbers.pop_back(); },
      [](UserBlock& b) { b.events.fields.pop_back(); },
  };
  for (size_t i = 0; i < std::size(defects); ++i) {
    UserBlock bad = good;
    defects[i](bad);
    EXPECT_EQ(Validate(schema, bad).code(), absl::StatusCode::kInvalidArgument) << "defect " << i;
  }
}

}  // namespace
}  // namespace grab
