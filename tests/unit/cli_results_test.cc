// From metrics.json to the table and results.json, with values computed by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/results.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

json Metrics() {
  return {{"model", "grab"},
          {"train_rows", 1000},
          {"test_rows", 200},
          {"tokens_per_second", 5000.5},
          {"wall_seconds", 61.0},
          {"scores_per_second", 250.0},
          {"dense_weights", 77},
          {"tables", {{"rows", 30}, {"bytes", 4000}}},
          {"test",
           {{"auc", 0.75},
            {"gauc", 0.625},
            {"gauc_by", "user"},
            {"logloss", 0.5},
            {"ne", 0.875},
            {"pcoc", 1.25},
            {"rows", 200}}}};
}

StatusOr<RunMetrics> Read(const json& metrics) {
  const TempDir dir;
  EXPECT_TRUE(WriteFileDurably(dir.File("metrics.json"), metrics.dump()).ok());
  return ReadRunMetrics(dir.File("metrics.json"));
}

TEST(ReadRunMetrics, ReadsEverything) {
  json metrics = Metrics();
  metrics["test_frozen"] = {{"auc", 0.7}, {"gauc", nullptr}};
  metrics["test_streaming"] = {{"auc", 0.8}};
  const StatusOr<RunMetrics> run = Read(metrics);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->model, "grab");
  EXPECT_EQ(run->auc, 0.75);
  EXPECT_EQ(run->gauc, 0.625);
  EXPECT_EQ(run->gauc_by, "user");
  EXPECT_EQ(run->logloss, 0.5);
  EXPECT_EQ(run->ne, 0.875);
  EXPECT_EQ(run->pcoc, 1.25);
  EXPECT_EQ(run->auc_frozen, 0.7);
  EXPECT_EQ(run->auc_streaming, 0.8);
  EXPECT_EQ(run->gauc_frozen, std::nullopt);
  EXPECT_EQ(run->train_rows, 1000u);
  EXPECT_EQ(run->test_rows, 200u);
  EXPECT_EQ(run->tokens_per_second, 5000.5);
  EXPECT_EQ(run->wall_seconds, 61.0);
  EXPECT_EQ(run->scores_per_second, 250.0);
  EXPECT_EQ(run->dense_weights, 77u);
  EXPECT_EQ(run->table_rows, 30u);
  EXPECT_EQ(run->table_bytes, 4000u);
}

json ColdField(const std::string& field, const json& cold_auc, const json& warm_auc) {
  return {{"field", field},
          {"slices",
           {{{"value", "cold"}, {"rows", 20}, {"auc", cold_auc}},
            {{"value", "warm"}, {"rows", 180}, {"auc", warm_auc}}}}};
}

// .6 and .7 for the cold, .8 and none for the warm.
TEST(MeanOverSeeds, ColdAndWarmRows) {
  json metrics = Metrics();
  metrics["test"]["fields"] = {{{"field", "history_len"}, {"slices", json::array()}},
                               ColdField("user at start", 0.6, 0.8)};
  const StatusOr<RunMetrics> first = Read(metrics);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->items.has_value());
  metrics["test"]["fields"] = {ColdField("user at start", 0.7, nullptr),
                               ColdField("item at start", 0.5, 0.5)};
  const StatusOr<RunMetrics> second = Read(metrics);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->items->cold.auc, 0.5);
  const StatusOr<ModelResult> mean = MeanOverSeeds({1, 2}, {*first, *second});
  ASSERT_TRUE(mean.ok()) << mean.status();
  ASSERT_TRUE(mean->mean.users.has_value());
  EXPECT_EQ(mean->mean.users->cold.rows, 20u);
  EXPECT_EQ(mean->mean.users->warm.rows, 180u);
  EXPECT_DOUBLE_EQ(mean->mean.users->cold.auc.value(), 0.65);
  EXPECT_EQ(mean->mean.users->warm.auc, std::nullopt);
  EXPECT_FALSE(mean->mean.items.has_value());  // one run does not tell
  const json object = ToJson(*mean);
  EXPECT_EQ(object["users"]["warm"], (json{{"rows", 180}, {"auc", nullptr}}));
  EXPECT_FALSE(object.contains("items"));
}

TEST(ReadRunMetrics, NullIsUndefinedAndFrozenMayLack) {
  json metrics = Metrics();
  metrics["test"]["auc"] = nullptr;
  const StatusOr<RunMetrics> run = Read(metrics);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->auc, std::nullopt);
  EXPECT_EQ(run->auc_frozen, std::nullopt);
}

// Whatever is missing or of another type is named; nothing is taken as zero.
TEST(ReadRunMetrics, NamesWhatIsWrong) {
  for (const char* key : {"model", "train_rows", "test_rows", "tokens_per_second", "wall_seconds",
                          "scores_per_second", "dense_weights", "tables", "test"}) {
    for (const bool remove : {true, false}) {
      json metrics = Metrics();
      if (remove) {
        metrics.erase(key);
      } else {
        metrics[key] = json::array();
      }
      const StatusOr<RunMetrics> run = Read(metrics);
      ASSERT_FALSE(run.ok()) << key;
      EXPECT_THAT(std::string(run.status().message()),
                  AllOf(HasSubstr("metrics.json"), HasSubstr(std::string("'") + key + "'")));
    }
  }
  for (const char* key : {"auc", "gauc", "gauc_by", "logloss", "ne", "pcoc"}) {
    json metrics = Metrics();
    metrics["test"].erase(key);
    EXPECT_THAT(std::string(Read(metrics).status().message()),
                HasSubstr(std::string("'test.") + key + "' is missing"));
  }
  EXPECT_FALSE(Read(json::array()).ok());
  EXPECT_FALSE(ReadRunMetrics("no/such/metrics.json").ok());
}

TEST(MeanOverSeeds, MeansAndDeviationByHand) {
  RunMetrics a = Read(Metrics()).value();
  RunMetrics b = a, c = a;
  a.auc = 0.70;
  b.auc = 0.72;
  c.auc = 0.77;
  b.pcoc = 0.95;
  c.pcoc = 1.1;
  b.ne = std::nullopt;
  c.wall_seconds = 91.0;
  const StatusOr<ModelResult> result = MeanOverSeeds({1, 2, 3}, {a, b, c});
  ASSERT_TRUE(result.ok()) << result.status();
  // Sums of a few doubles near one: the mean is off by less than 1e-15.
  EXPECT_NEAR(*result->mean.auc, 0.73, 1e-14);
  EXPECT_NEAR(*result->mean.pcoc, 1.1, 1e-14);
  EXPECT_EQ(result->mean.ne, std::nullopt);
  EXPECT_NEAR(result->mean.wall_seconds, 71.0, 1e-12);
  // Squares .0009 + .0001 + .0016 over n - 1 = 2.
  EXPECT_NEAR(*result->auc_sd, std::sqrt(0.0013), 1e-14);
  EXPECT_EQ(MeanOverSeeds({1}, {a})->auc_sd, std::nullopt);
  EXPECT_EQ(*MeanOverSeeds({1}, {a})->mean.auc, 0.70);
}

TEST(MeanOverSeeds, RefusesOtherRows) {
  const RunMetrics a = Read(Metrics()).value();
  RunMetrics b = a;
  b.test_rows = 201;
  EXPECT_FALSE(MeanOverSeeds({1, 2}, {a, b}).ok());
  b = a;
  b.model = "dlrm";
  EXPECT_FALSE(MeanOverSeeds({1, 2}, {a, b}).ok());
}

Results TwoModels() {
  RunMetrics grab = Read(Metrics()).value();
  RunMetrics dlrm = grab;
  dlrm.model = "dlrm";
  dlrm.auc = std::nullopt;
  Results results;
  results.models = {MeanOverSeeds({1}, {dlrm}).value(),
                    MeanOverSeeds({1, 2}, {grab, grab}).value()};
  results.score_parity_max_abs_diff = 3e-7;
  results.cpu = "cpu";
  results.threads = 2;
  results.rows_hash = "00ff";
  return results;
}

// The keys that others read.
TEST(ToJson, HasTheAgreedKeys) {
  Results results = TwoModels();
  json object = ToJson(results);
  ASSERT_EQ(object["models"].size(), 2u);
  const json& grab = object["models"][1];
  EXPECT_EQ(grab["model"], "grab");
  EXPECT_EQ(grab["auc"], 0.75);
  EXPECT_EQ(grab["gauc"], 0.625);
  EXPECT_EQ(grab["logloss"], 0.5);
  EXPECT_EQ(grab["ne"], 0.875);
  EXPECT_EQ(grab["pcoc"], 1.25);
  EXPECT_EQ(grab["train_rows"], 1000);
  EXPECT_EQ(grab["test_rows"], 200);
  EXPECT_EQ(grab["tokens_per_second"], 5000.5);
  EXPECT_EQ(grab["wall_seconds"], 61.0);
  EXPECT_EQ(grab["seeds"], (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(grab["auc_sd"], 0.0);
  EXPECT_TRUE(object["models"][0]["auc"].is_null());
  EXPECT_FALSE(object["models"][0].contains("auc_sd"));
  EXPECT_EQ(object["score_parity_max_abs_diff"], 3e-7);
  EXPECT_EQ(object["rows_hash"], "00ff");
  EXPECT_EQ(object["hardware"]["threads"], 2);
  EXPECT_FALSE(object.contains("true_auc"));
  EXPECT_FALSE(object.contains("commit"));
  results.true_auc = 0.8;
  results.commit = "abc";
  object = ToJson(results);
  EXPECT_EQ(object["true_auc"], 0.8);
  EXPECT_EQ(object["commit"], "abc");
}

TEST(ToText, ShowsEveryModelAndTheTruth) {
  Results results = TwoModels();
  results.true_auc = 0.81234;
  const std::string text = ToText(results);
  for (const char* part : {"dlrm", "grab", "0.75000", "0.62500", "0.50000", "0.87500", "1.2500",
                           "true probability", "0.81234", "GAUC by user", "3e-07"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  results.true_auc = std::nullopt;
  EXPECT_EQ(ToText(results).find("true probability"), std::string::npos);
}

}  // namespace
}  // namespace grab
