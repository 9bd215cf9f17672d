// CheckConfig: from a config that passes, one change per rule that must not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "config/config.h"

namespace grab {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

FieldConfig Field(const char* name, const char* kind) {
  FieldConfig field;
  field.name = name;
  field.kind = kind;
  return field;
}

// One field of every kind, two actions, two tasks, two channels.
Config Good() {
  Config config;
  config.name = "good";
  config.sources.resize(2);
  config.sources[0].name = "log";
  config.sources[1].name = "items";
  config.events.resize(1);
  config.events[0].name = "impressions";
  config.events[0].from = "log";
  config.events[0].user = "user";
  config.events[0].request_time_ms = "time_ms";
  config.events[0].fields = {{"ad", "x"}};
  config.fields = {Field("ad", "id"),       Field("tags", "ids"),         Field("price", "number"),
                   Field("image", "dense"), Field("ad_x_price", "cross"), Field("dwell", "number")};
  config.fields[1].weights = "w";
  config.fields[2].boundaries = {1.0, 2.0};
  config.fields[3].width = 4;
  config.fields[4].of = {"ad", "price"};
  config.fields[5].role = "behaviour";
  config.fields[5].boundaries = {1.0};
  config.actions = {{"buy", ""}, {"click", ""}};
  config.tasks.resize(2);
  config.tasks[0].name = "click";
  config.tasks[1].name = "buy";
  config.split = {"2022-04-25T00:00:00Z", "2022-05-05T00:00:00Z", "2022-05-06T00:00:00Z",
                  "2022-05-09T00:00:00Z"};
  config.grab.model.channels.resize(2);
  config.grab.model.channels[0].name = "all";
  config.grab.model.channels[1].name = "positive";
  config.grab.model.channels[1].actions = {"click", "buy"};
  config.eval.slices = {"ad", "price"};
  return config;
}

TEST(CheckConfig, AcceptsTheGoodOne) { EXPECT_EQ(CheckConfig(Good()), absl::OkStatus()); }

TEST(CheckConfig, AcceptsTheDefaults) { EXPECT_EQ(CheckConfig(Config()), absl::OkStatus()); }

// A log of positives only: history without targets.
TEST(CheckConfig, AcceptsEventsWithoutTargets) {
  Config config = Good();
  config.split = {};
  config.tasks.clear();
  EXPECT_EQ(CheckConfig(config), absl::OkStatus());
}

TEST(CheckConfig, AcceptsTheLimits) {
  Config config = Good();
  for (int i = 0; config.actions.size() < 31; ++i)
    config.actions.push_back({absl::StrCat("a", i), ""});
  while (config.tasks.size() < 31) {
    config.tasks.emplace_back().name = absl::StrCat("t", config.tasks.size());
  }
  while (config.fields.size() < 1024) {
    config.fields.push_back(Field(absl::StrCat("f", config.fields.size()).c_str(), "id"));
  }
  config.grab.train.window_train = config.grab.train.window_size;
  config.grab.train.tables = {{"ad"}, {"@actions"}};
  config.grab.train.tables[0].admission_count = 255;
  config.grab.train.tables[0].frequency_min = 254.0;
  config.grab.train.tables[0].frequency_half_life_s = 1.0;
  EXPECT_EQ(CheckConfig(config), absl::OkStatus());
}

struct BadConfig {
  const char* what;
  std::function<void(Config&)> change;
  const char* key;
  const char* part;
};

class BadConfigTest : public testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigTest, NamesTheKey) {
  Config config = Good();
  GetParam().change(config);
  const Status status = CheckConfig(config);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), StartsWith(std::string(GetParam().key) + ": "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().part));
}

void FillFields(Config& c) {
  while (c.fields.size() < 1025) {
    c.fields.push_back(Field(absl::StrCat("f", c.fields.size()).c_str(), "id"));
  }
}

const BadConfig kBadConfigs[] = {
    {"source_twice", [](Config& c) { c.sources[1].name = "log"; }, "source.1.name", "two named"},
    {"source_unnamed", [](Config& c) { c.sources[0].name = ""; }, "source.0.name", "got ''"},
    {"events_twice", [](Config& c) { c.events.push_back(c.events[0]); }, "events.1.name", "two"},
    {"no_user", [](Config& c) { c.events[0].user = ""; }, "events.0.user", "is missing"},
    {"no_from", [](Config& c) { c.events[0].from = ""; }, "events.0.from", "is missing"},
    {"no_time", [](Config& c) { c.events[0].request_time_ms = ""; }, "events.0.request_time_ms",
     "is missing"},
    {"unknown_field_of_events", [](Config& c) { c.events[0].fields["tagz"] = "x"; },
     "events.0.fields.tagz", "did you mean 'tags'?"},
    {"cross_of_events", [](Config& c) { c.events[0].fields["ad_x_price"] = "x"; },
     "events.0.fields.ad_x_price", "no stored field"},
    {"empty_expression", [](Config& c) { c.events[0].fields["ad"] = ""; }, "events.0.fields.ad",
     "NULL stands for missing"},
    {"unknown_action_of_events", [](Config& c) { c.events[0].actions["clik"] = "x"; },
     "events.0.actions.clik", "'click'"},
    {"unknown_label_of_events", [](Config& c) { c.events[0].labels["clik"] = "x"; },
     "events.0.labels.clik", "'click'"},
    {"field_twice", [](Config& c) { c.fields[1].name = "ad"; }, "field.1.name", "two named 'ad'"},
    {"field_name_with_dot", [](Config& c) { c.fields[0].name = "a.b"; }, "field.0.name", "'a.b'"},
    {"field_name_is_index", [](Config& c) { c.fields[0].name = "0"; }, "field.0.name", "got '0'"},
    {"too_many_fields", FillFields, "field", "at most 1024, got 1025"},
    {"no_fields",
     [](Config& c) {
       c.fields.clear();
       c.events[0].fields.clear();
     },
     "field", "at least one"},
    {"no_tasks", [](Config& c) { c.tasks.clear(); }, "task", "at least one"},
    {"no_tasks_with_expression",
     [](Config& c) {
       c.tasks.clear();
       c.split = {};
       c.events[0].split = "'train'";
     },
     "task", "at least one"},
    {"action_twice", [](Config& c) { c.actions[1].name = "buy"; }, "action.1.name", "two named"},
    {"task_twice", [](Config& c) { c.tasks[1].name = "click"; }, "task.1.name", "two named"},
    {"too_many_actions",
     [](Config& c) {
       for (int i = 0; i < 30; ++i) c.actions.push_back({absl::StrCat("a", i), ""});
     },
     "action", "at most 31, got 32"},
    {"too_many_tasks",
     [](Config& c) {
       for (int i = 0; i < 30; ++i) c.tasks.emplace_back().name = absl::StrCat("t", i);
     },
     "task", "at most 31, got 32"},
    {"number_without_boundaries", [](Config& c) { c.fields[2].boundaries = {}; },
     "field.2.boundaries", "needed by kind = \"number\""},
    {"boundaries_descend",
     [](Config& c) {
       c.fields[2].boundaries = {1, 3, 2};
     },
     "field.2.boundaries.2", "got 2 after 3"},
    {"boundaries_equal",
     [](Config& c) {
       c.fields[2].boundaries = {1, 1};
     },
     "field.2.boundaries.1", "strictly"},
    {"boundaries_of_id", [](Config& c) { c.fields[0].boundaries = {1}; }, "field.0.boundaries",
     "does not apply to kind = \"id\""},
    {"dense_without_width", [](Config& c) { c.fields[3].width = 0; }, "field.3.width", "needed"},
    {"width_of_id", [](Config& c) { c.fields[0].width = 2; }, "field.0.width", "does not apply"},
    {"weights_of_id", [](Config& c) { c.fields[0].weights = "w"; }, "field.0.weights",
     "does not apply"},
    {"expr_of_cross", [](Config& c) { c.fields[4].expr = "x"; }, "field.4.expr", "does not apply"},
    {"of_of_id", [](Config& c) { c.fields[0].of = {"price"}; }, "field.0.of", "does not apply"},
    {"table_of_dense", [](Config& c) { c.fields[3].table = "t"; }, "field.3.table",
     "does not apply"},
    {"dim_of_dense", [](Config& c) { c.fields[3].dim = 8; }, "field.3.dim", "does not apply"},
    {"cross_of_one", [](Config& c) { c.fields[4].of = {"ad"}; }, "field.4.of", "two or more"},
    {"cross_of_none", [](Config& c) { c.fields[4].of = {}; }, "field.4.of", "needed"},
    {"cross_of_unknown",
     [](Config& c) {
       c.fields[4].of = {"ad", "prize"};
     },
     "field.4.of.1", "'price'"},
    {"cross_of_ids",
     [](Config& c) {
       c.fields[4].of = {"ad", "tags"};
     },
     "field.4.of.1", "no id or number field 'tags'"},
    {"cross_of_cross",
     [](Config& c) {
       c.fields[4].of = {"ad", "ad_x_price"};
     },
     "field.4.of.1", "no id or number field"},
    {"cross_of_same",
     [](Config& c) {
       c.fields[4].of = {"ad", "ad"};
     },
     "field.4.of.1", "twice"},
    {"cross_leaks",
     [](Config& c) {
       c.fields[4].of = {"ad", "dwell"};
     },
     "field.4.of.1", "leak the label"},
    {"behaviour_leaks", [](Config& c) { c.fields[5].full = "yes"; }, "field.5.full",
     "leak the label"},
    {"shared_table_dims",
     [](Config& c) {
       c.fields[1].table = "ad";
       c.fields[1].dim = 8;
     },
     "field.1.dim", "share the table 'ad'"},
    {"shared_table_of_ids_and_numbers", [](Config& c) { c.fields[2].table = "ad"; },
     "field.2.table", "both ids ('ad') and buckets ('price')"},
    {"table_name", [](Config& c) { c.fields[0].table = "a b"; }, "field.0.table", "'a b'"},
    {"auxiliary_first", [](Config& c) { c.tasks[0].auxiliary = true; }, "task.0.auxiliary",
     "is the first"},
    {"auxiliary_between",
     [](Config& c) {
       c.tasks.resize(3);
       c.tasks[1] = {"helps", "clk"};
       c.tasks[1].auxiliary = true;
       c.tasks[2] = {"last", "clk"};
     },
     "task.1.auxiliary", "is before 'last'"},
    {"split_missing", [](Config& c) { c.split.test_from = ""; }, "split.test_from", "all four"},
    {"split_garbage", [](Config& c) { c.split.end = "9 May"; }, "split.end", "'9 May'"},
    {"split_descends", [](Config& c) { c.split.end = "2022-05-05T12:00:00Z"; }, "split.end",
     "before"},
    {"follow_garbage", [](Config& c) { c.follow.from = "today"; }, "follow.from", "'today'"},
    {"follow_without_event_id", [](Config& c) { c.follow.from = "2022-05-05T00:00:00Z"; },
     "events.0.event_id", "no identity"},
    {"follow_without_tasks",
     [](Config& c) {
       c.follow.from = "2022-05-05T00:00:00Z";
       c.tasks.clear();
       c.split = {};
     },
     "task", "at least one"},
    {"window_train_dlrm", [](Config& c) { c.dlrm.train.window_train = 4096; },
     "dlrm.train.window_train", "at most window_size = 2048, got 4096"},
    {"train_table_unknown", [](Config& c) { c.grab.train.tables = {{"adz"}}; },
     "grab.train.table.0.name", "did you mean 'ad'?"},
    {"recency_prior_dlrm", [](Config& c) { c.dlrm.train.recency_prior = 1.0; },
     "dlrm.train.recency_prior", "DLRM has no history"},
    {"recency_prior_hstu", [](Config& c) { c.hstu.train.recency_prior = 1.0; },
     "hstu.train.recency_prior", "only GRAB"},
    {"train_table_of_dense", [](Config& c) { c.dlrm.train.tables = {{"image"}}; },
     "dlrm.train.table.0.name", "no embedding table 'image'"},
    {"train_table_twice",
     [](Config& c) {
       c.grab.train.tables = {{"@actions"}, {"@actions"}};
     },
     "grab.train.table.1.name", "two named '@actions'"},
    {"train_table_frequency_without_half_life",
     [](Config& c) {
       c.grab.train.tables = {{"ad"}};
       c.grab.train.tables[0].frequency_min = 0.5;
     },
     "grab.train.table.0.frequency_half_life_s", "needed by frequency_min"},
    {"train_table_frequency_above_admission",
     [](Config& c) {
       c.grab.train.tables = {{"ad"}};
       c.grab.train.tables[0].admission_count = 3;
       c.grab.train.tables[0].frequency_min = 3.0;
       c.grab.train.tables[0].frequency_half_life_s = 60.0;
     },
     "grab.train.table.0.frequency_min", "less than admission_count = 3, got 3"},
    {"window_train_grab", [](Config& c) { c.grab.train.window_size = 1000; },
     "grab.train.window_train", "at most window_size = 1000, got 1024"},
    {"heads", [](Config& c) { c.grab.model.heads = 5; }, "grab.model.heads", "divide d_model = 64"},
    {"channel_twice", [](Config& c) { c.grab.model.channels[1].name = "all"; },
     "grab.model.channel.1.name", "two named"},
    {"channel_action", [](Config& c) { c.grab.model.channels[1].actions[1] = "buyy"; },
     "grab.model.channel.1.actions.1", "'buy'"},
    {"grab_impressions", [](Config& c) { c.grab.train.batch = "impressions"; }, "grab.train.batch",
     "packed"},
    {"trees_action", [](Config& c) { c.trees.actions = {"buyy"}; }, "trees.actions.0", "'buy'"},
    {"trees_action_twice",
     [](Config& c) {
       c.trees.actions = {"buy", "buy"};
     },
     "trees.actions.0", "twice"},
    {"slice_unknown",
     [](Config& c) {
       c.eval.slices = {"ad", "pric"};
     },
     "eval.slices.1", "'price'"},
    {"slice_dense", [](Config& c) { c.eval.slices = {"image"}; }, "eval.slices.0",
     "no id or number field"},
    {"slice_twice",
     [](Config& c) {
       c.eval.slices = {"ad", "ad"};
     },
     "eval.slices.0", "twice"},
    {"item_unknown", [](Config& c) { c.eval.item = "a"; }, "eval.item", "no id field 'a'"},
    {"item_number", [](Config& c) { c.eval.item = "price"; }, "eval.item", "no id field 'price'"},
    {"edges",
     [](Config& c) {
       c.eval.history_edges = {5, 5};
     },
     "eval.history_edges.1", "got 5 after 5"},
};

INSTANTIATE_TEST_SUITE_P(Rules, BadConfigTest, testing::ValuesIn(kBadConfigs),
                         [](const auto& test) { return test.param.what; });

TEST(CheckConfig, FollowsALogWhoseEventsHaveIds) {
  Config config = Good();
  config.follow.from = "2022-05-05T00:00:00Z";
  config.events[0].event_id = "id";
  EXPECT_EQ(CheckConfig(config), absl::OkStatus());
}

// Shuffled single impressions are DLRM's usual batches.
TEST(CheckConfig, DlrmMayTrainOnImpressions) {
  Config config = Good();
  config.dlrm.train.batch = "impressions";
  EXPECT_EQ(CheckConfig(config), absl::OkStatus());
}

// What a behaviour field is crossed into stays in the history.
TEST(CheckConfig, BehaviourCrossesMayBeHistory) {
  Config config = Good();
  config.fields[4].of = {"ad", "dwell"};
  config.fields[4].role = "behaviour";
  EXPECT_EQ(CheckConfig(config), absl::OkStatus());
}

}  // namespace
}  // namespace grab
