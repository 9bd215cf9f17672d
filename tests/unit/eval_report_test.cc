// Reports against tables small enough to work out by hand.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "eval/report.h"
#include "support/eval_table.h"

namespace grab {
namespace {

struct Row {
  uint64_t user, page;
  uint32_t history_len;
  int label;  // -1: unknown
  float p;
  uint64_t slice;
};

ScoreTable MakeTable(const std::vector<Row>& rows) {
  ScoreTable table;
  table.tasks = {"click"};
  table.slices = {"tab"};
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    table.event_id.push_back(i + 1);
    table.user_key.push_back(row.user);
    table.page_id.push_back(row.page);
    table.request_time_ms.push_back(0);
    table.history_len.push_back(row.history_len);
    table.split.push_back(Split::kTest);
    table.labels.push_back(row.label == 1);
    table.labels_known.push_back(row.label >= 0);
    table.p.push_back(row.p);
    table.slice_values.push_back(row.slice);
  }
  return table;
}

EvalConfig Edges(std::vector<int64_t> edges, int64_t values_max = 20) {
  EvalConfig config;
  config.history_edges = std::move(edges);
  config.slice_values_max = values_max;
  return config;
}

const FieldReport& Field(const TaskReport& task, const std::string& name) {
  for (const FieldReport& field : task.fields) {
    if (field.field == name) return field;
  }
  ADD_FAILURE() << "no field " << name;
  return task.fields.front();
}

std::vector<std::pair<std::string, uint64_t>> RowsPerSlice(const FieldReport& field) {
  std::vector<std::pair<std::string, uint64_t>> rows;
  for (const SliceReport& slice : field.slices) rows.push_back({slice.value, slice.metrics.rows});
  return rows;
}

using SliceRows = std::vector<std::pair<std::string, uint64_t>>;

TEST(Report, GaucIsByPageWhenPagesHaveBothClasses) {
  // User 1's two pages are each in order; across them the user is not (.6 of a 0 beats .5 of a 1).
  const ScoreTable table = MakeTable({{1, 10, 0, 1, 0.5f, 0},
                                      {1, 10, 0, 0, 0.4f, 0},
                                      {1, 11, 0, 1, 0.7f, 0},
                                      {1, 11, 0, 0, 0.6f, 0}});
  const auto report = Evaluate(table, Edges({0}));
  ASSERT_TRUE(report.ok()) << report.status();
  const TaskReport& task = report->tasks[0];
  EXPECT_EQ(task.gauc_by, "page");
  EXPECT_EQ(task.gauc().gauc.value(), 1.0);
  EXPECT_EQ(task.gauc_user.gauc.value(), 0.75);
}

// 20 rows of one page-less user, of which `paged` rows (both classes) are given a page. The limit
// is 10 %: 2 rows.
TEST(Report, GaucFallsBackToUsersBelowTheShareOfPagedRows) {
  for (const size_t paged : {0, 1, 2}) {
    std::vector<Row> rows;
    for (size_t i = 0; i < 20; ++i) {
      rows.push_back({1, i < paged ? uint64_t{9} : 0, 0, static_cast<int>(i % 2),
                      static_cast<float>(i) / 20, 0});
    }
    const auto report = Evaluate(MakeTable(rows), Edges({0}));
    ASSERT_TRUE(report.ok());
    EXPECT_EQ(report->tasks[0].gauc_by, paged == 2 ? "page" : "user") << paged;
    EXPECT_EQ(report->tasks[0].gauc_page.rows_ungrouped, 20 - paged);
    rows.resize(rows.size() + 1, {2, 0, 0, 0, 0.5f, 0});
    const auto more = Evaluate(MakeTable(rows), Edges({0}));
    ASSERT_TRUE(more.ok());
    EXPECT_EQ(more->tasks[0].gauc_by, "user") << "2 of 21 rows is less than the limit";
  }
}

TEST(Report, HistorySlicesCloseAtTheirEdges) {
  std::vector<Row> rows;
  for (const uint32_t length : {0u, 0u, 1u, 5u, 6u, 10u, 11u, 4000000000u}) {
    rows.push_back({1, 0, length, static_cast<int>(length % 2), 0.5f, 0});
  }
  const auto report = Evaluate(MakeTable(rows), Edges({0, 5, 6, 10}));
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(RowsPerSlice(Field(report->tasks[0], "history_len")),
            (SliceRows{{"0", 2}, {"1-5", 2}, {"6", 1}, {"7-10", 1}, {">10", 2}}));
  const auto whole = Evaluate(MakeTable(rows), Edges({}));
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(RowsPerSlice(Field(whole->tasks[0], "history_len")), (SliceRows{{"all", 8}}));
}

TEST(Report, SliceColumnsKeepTheMostFrequentValues) {
  std::vector<Row> rows;
  for (const uint64_t value : {7, 7, 7, 0, 0, 5, 5, 3, 9}) {
    rows.push_back({1, 0, 0, static_cast<int>(rows.size() % 2), 0.5f, value});
  }
  rows.push_back({1, 0, 0, -1, 0.5f, 9});  // without a label: counts nowhere
  const auto report = Evaluate(MakeTable(rows), Edges({0}, 3));
  ASSERT_TRUE(report.ok());
  const TaskReport& task = report->tasks[0];
  EXPECT_EQ(task.rows_unlabelled, 1u);
  EXPECT_EQ(task.metrics.rows, 9u);
  EXPECT_EQ(RowsPerSlice(Field(task, "tab")),
            (SliceRows{{"7", 3}, {"missing", 2}, {"5", 2}, {"rest (2 values)", 2}}));
  const auto all = Evaluate(MakeTable(rows), Edges({0}, 5));
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(Field(all->tasks[0], "tab").slices.size(), 5u);  // no "rest"
}

TEST(Report, SlicesHaveTheMetricsOfTheirRowsAlone) {
  // Tab 1 is ranked right and tab 2 wrong; together half of the pairs.
  const ScoreTable table = MakeTable(
      {{1, 0, 0, 1, 0.9f, 1}, {1, 0, 0, 0, 0.1f, 1}, {2, 0, 0, 1, 0.1f, 2}, {2, 0, 0, 0, 0.9f, 2}});
  const auto report = Evaluate(table, Edges({0}));
  ASSERT_TRUE(report.ok());
  const FieldReport& tab = Field(report->tasks[0], "tab");
  ASSERT_EQ(tab.slices.size(), 2u);
  EXPECT_EQ(tab.slices[0].metrics.auc.value(), 1.0);
  EXPECT_EQ(tab.slices[0].gauc.gauc.value(), 1.0);
  EXPECT_EQ(tab.slices[1].metrics.auc.value(), 0.0);
  EXPECT_EQ(report->tasks[0].metrics.auc.value(), 0.5);
  EXPECT_NEAR(tab.slices[0].metrics.pcoc.value(), 1.0, 1e-7);  // p are floats
}

TEST(Report, SplitsAreSlicesWhenThereAreSeveral) {
  ScoreTable table = MakeTable({{1, 0, 0, 1, 0.9f, 1}, {1, 0, 0, 0, 0.1f, 1}});
  EXPECT_EQ(Evaluate(table, Edges({0}))->tasks[0].fields.size(), 2u);
  table.split[0] = Split::kValid;
  const auto report = Evaluate(table, Edges({0}));
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(RowsPerSlice(Field(report->tasks[0], "split")),
            (SliceRows{{"context", 0}, {"train", 0}, {"valid", 1}, {"test", 1}}));
}

// Every slicing of a random table covers its labelled rows exactly once. Sizes 0 to 2000, 3 tasks.
// Users 1 and 2, items apart: rows are known by user and event, so the same event id of another
// user is warm.
TEST(Report, ColdUsersAndItemsAreSlices) {
  ScoreTable table = MakeTable({{1, 0, 0, 1, 0.5f, 0},
                                {1, 0, 0, 0, 0.6f, 0},
                                {2, 0, 0, 1, 0.7f, 0},
                                {2, 0, 0, 0, 0.2f, 0},
                                {2, 0, 0, -1, 0.2f, 0}});
  ColdRows cold;
  cold.of_new_users = {{1, 1}, {1, 2}, {1, 3}};
  cold.of_new_values.push_back(absl::flat_hash_set<ColdRows::Row>{{2, 3}});
  const auto report = Evaluate(table, Edges({0}), &cold);
  ASSERT_TRUE(report.ok()) << report.status();
  const FieldReport& users = Field(report->tasks[0], "user at start");
  EXPECT_EQ(RowsPerSlice(users), (SliceRows{{"cold", 2}, {"warm", 2}}));
  EXPECT_EQ(users.slices[0].metrics.auc, 0.0);
  EXPECT_EQ(users.slices[1].metrics.auc, 1.0);
  const FieldReport& items = Field(report->tasks[0], "item at start");
  EXPECT_EQ(RowsPerSlice(items), (SliceRows{{"cold", 1}, {"warm", 3}}));
  EXPECT_EQ(items.slices[0].metrics.auc, std::nullopt);

  // Too many items, or none asked for.
  for (const bool asked : {false, true}) {
    cold.of_new_values.assign(asked ? 1 : 0, std::nullopt);
    const auto without = Evaluate(table, Edges({0}), &cold);
    ASSERT_TRUE(without.ok()) << without.status();
    EXPECT_EQ(without->tasks[0].fields.back().field, "user at start");
  }
}

TEST(Report, SlicesCoverAllRows) {
  for (const size_t rows : {0, 1, 2, 100, 2000}) {
    SCOPED_TRACE(::testing::Message() << rows << " rows, seed 11");
    const ScoreTable table = RandomScoreTable(rows, 3, 2, 11);
    const auto report = Evaluate(table, Edges({0, 5, 10, 20, 50, 100}, 2));
    ASSERT_TRUE(report.ok());
    ASSERT_EQ(report->tasks.size(), 3u);
    for (const TaskReport& task : report->tasks) {
      EXPECT_EQ(task.rows_unlabelled + task.metrics.rows, rows);
      for (const FieldReport& field : task.fields) {
        uint64_t covered = 0;
        uint64_t positives = 0;
        for (const SliceReport& slice : field.slices) {
          covered += slice.metrics.rows;
          positives += slice.metrics.positives;
        }
        EXPECT_EQ(covered, task.metrics.rows) << field.field;
        EXPECT_EQ(positives, task.metrics.positives) << field.field;
      }
    }
  }
}

TEST(Report, WrongConfigsAndProbabilitiesAreErrors) {
  ScoreTable table = MakeTable({{1, 0, 0, 1, 0.9f, 1}});
  for (const std::vector<int64_t>& edges : {std::vector<int64_t>{5, 5}, {5, 0}, {-1, 5}}) {
    EXPECT_EQ(Evaluate(table, Edges(edges)).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EvalConfig config;
  config.slices = {"tab"};
  EXPECT_TRUE(Evaluate(table, config).ok());
  config.slices = {"tab", "author"};
  EXPECT_EQ(Evaluate(table, config).status().code(), absl::StatusCode::kInvalidArgument);
  table.p[0] = 2.0f;
  const Status status = Evaluate(table, EvalConfig()).status();
  EXPECT_NE(status.ToString().find("task click: row 0"), std::string::npos) << status;
}

TEST(Report, JsonHasNullWhereUndefinedAndTextADash) {
  const auto report = Evaluate(MakeTable({{1, 0, 0, 1, 0.5f, 1}}), Edges({0}));
  ASSERT_TRUE(report.ok());
  const nlohmann::json json = ToJson(*report);
  const nlohmann::json& task = json["tasks"][0];
  EXPECT_EQ(task["task"], "click");
  EXPECT_EQ(task["rows"], 1);
  EXPECT_TRUE(task["auc"].is_null());
  EXPECT_TRUE(task["gauc"].is_null());
  EXPECT_TRUE(task["ne"].is_null());
  EXPECT_EQ(task["pcoc"], 0.5);
  EXPECT_EQ(task["gauc_by"], "user");
  EXPECT_EQ(task["fields"][0]["field"], "history_len");
  EXPECT_EQ(task["fields"][0]["slices"][0]["value"], "0");
  const std::string text = ToText(*report);
  EXPECT_NE(text.find("click (gauc by user)"), std::string::npos) << text;
  EXPECT_NE(text.find(" - "), std::string::npos) << text;
  EXPECT_NE(text.find("0.50000"), std::string::npos) << text;
}

}  // namespace
}  // namespace grab
