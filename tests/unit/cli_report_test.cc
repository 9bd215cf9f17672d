// From the folder of a comparison to the data of its report and the page, with values computed by
// hand, holes in the folder, damaged files and hostile texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/report_attention.h"
#include "cli/report_data.h"
#include "cli/report_page.h"
#include "cli/report_runs.h"
#include "cli/report_training.h"
#include "support/base_temp_dir.h"

namespace grab {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// ---- the log of a run

std::string StepLine(int step, double rows, double loss, const char* stage = "joint") {
  return json({{"event", "step"},
               {"step", step},
               {"targets", rows},
               {"loss", loss},
               {"stage", stage}})
             .dump() +
         "\n";
}

TEST(ParseRunLog, TakesTheLastLineOfAStepAndLeavesTablesOut) {
  const std::string log = R"({"event":"start","step":0})"
                          "\n" +
                          StepLine(10, 100, 0.7) + StepLine(20, 200, 0.6) +
                          StepLine(25, 200, 9.0, "sparse") + StepLine(20, 200, 0.5) +
                          R"({"event":"validation","step":20,"targets":200,)"
                          R"("metrics":{"tasks":[{"auc":0.75}]}})"
                          "\n"
                          R"({"event":"validation","step":30,"targets":300,)"
                          R"("metrics":{"tasks":[{"auc":null}]}})"
                          "\n";
  const auto curves = ParseRunLog(log, "log.jsonl");
  ASSERT_TRUE(curves.ok()) << curves.status();
  ASSERT_EQ(curves->loss.size(), 2u);
  EXPECT_EQ(curves->loss[1].rows, 200);
  EXPECT_EQ(curves->loss[1].value, 0.5);
  ASSERT_EQ(curves->valid_auc.size(), 1u);
  EXPECT_EQ(curves->valid_auc[0].value, 0.75);
  EXPECT_EQ(curves->table_steps, 1u);
}

TEST(ParseRunLog, ThinsByMeansOfRuns) {
  std::string log;
  for (int i = 1; i <= 300; ++i) log += StepLine(i, i * 10, i % 2);
  const auto curves = ParseRunLog(log, "log.jsonl");
  ASSERT_TRUE(curves.ok()) << curves.status();
  ASSERT_EQ(curves->loss.size(), kTrainingPointsMax);
  EXPECT_EQ(curves->loss[0].rows, 20);
  EXPECT_EQ(curves->loss.back().rows, 3000);
  for (const TrainingPoint& point : curves->loss) EXPECT_EQ(point.value, 0.5);
}

TEST(ParseRunLog, NamesTheLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"\n{\"event\":", "log.jsonl:2: expected JSON"},
      {"{}", "log.jsonl:1: 'event' is missing"},
      {R"({"event":"step","step":1,"stage":"joint","targets":"x"})",
       "log.jsonl:1: 'targets': expected a number"}};
  for (const auto& [log, message] : cases) {
    const Status status = ParseRunLog(log, "log.jsonl").status();
    EXPECT_TRUE(absl::IsDataLoss(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(MeanOverRuns, IsUndefinedWhereOneIs) {
  const OptionalSeries runs[] = {{0.5, std::nullopt, 0.25}, {1.0, 0.5, 0.75}};
  EXPECT_THAT(MeanOverRuns(runs), ElementsAre(0.75, std::nullopt, 0.5));
}

// ---- a folder

json Slices(double auc, double pcoc) {
  return json::array(
      {{{"field", "history_len"},
        {"slices",
         json::array({{{"value", "0"}, {"rows", 3}, {"auc", auc}, {"pcoc", pcoc}},
                      {{"value", ">0"}, {"rows", 1}, {"auc", nullptr}, {"pcoc", 1.0}}})}}});
}

// Two models of two seeds, without config and shards. The hour of the test has four rows.
class ReportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    json models = json::array();
    for (const char* name : {"dlrm", "grab"}) {
      models.push_back({{"model", name},
                        {"auc", 0.75},
                        {"gauc", nullptr},
                        {"gauc_by", "user"},
                        {"logloss", 0.5},
                        {"pcoc", 1.0},
                        {"train_rows", 10},
                        {"test_rows", 4},
                        {"wall_seconds", 1.5},
                        {"scores_per_second", 8.0},
                        {"dense_weights", 5},
                        {"table_bytes", 6},
                        {"seeds", {1, 2}}});
    }
    comparison_ = {{"reference", "grab"},
                   {"rows_hash", "00ff"},
                   {"models", models},
                   {"failed", json::array()},
                   {"hardware", {{"cpu", ""}, {"threads", 2}}}};
    Write("comparison.json", comparison_.dump());
    for (const char* name : {"dlrm", "grab"}) {
      for (const int seed : {1, 2}) WriteRun(absl::StrCat(name, "-seed", seed), seed);
    }
  }

  // Of seed s: AUC .5 s and PCOC 2 s of the first slice; predictions .2 s on one row.
  void WriteRun(const std::string& run, int seed) {
    ASSERT_TRUE(MakeDirectories(dir_.File(run)).ok());
    Write(run + "/metrics.json",
          json({{"test", {{"fields", Slices(0.5 * seed, 2.0 * seed)}}}}).dump());
    Write(run + "/log.jsonl", StepLine(10, 100, 0.7));
    Write(run + "/test_scores.csv",
          absl::StrCat(
              "event_id,user_key,page_id,request_time_ms,history_len,split,label:click,p:click\n"
              "1,1,0,3600000,0,test,0,",
              0.2 * seed,
              "\n"
              "2,1,0,3600001,0,test,1,0.75\n"
              "3,1,0,3600002,0,test,1,0.5\n"
              "4,1,0,3600003,0,test,,0.875\n"));
  }

  void Write(const std::string& name, const std::string& content) {
    ASSERT_TRUE(WriteFileDurably(dir_.File(name), content).ok());
  }
  StatusOr<json> Read() { return ReadReport(dir_.path(), NoProgress()); }
  std::string Error() {
    const auto report = Read();
    EXPECT_FALSE(report.ok());
    return std::string(report.status().message());
  }

  TempDir dir_;
  json comparison_;
};

TEST_F(ReportTest, MeansOverSeeds) {
  const auto report = Read();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ((*report)["comparison"], comparison_);
  EXPECT_EQ((*report)["task"], "click");
  const json& history = (*report)["history"];
  EXPECT_EQ(history["labels"], json({"0", ">0"}));
  EXPECT_EQ(history["rows"], json({3, 1}));
  EXPECT_EQ(history["series"][1]["model"], "grab");
  EXPECT_EQ(history["series"][1]["values"], json({0.75, nullptr}));
  EXPECT_EQ((*report)["pcoc"][0]["series"][0]["values"], json({3.0, 1.0}));
  // Three labelled rows: .2 and .4 (0), .5 (1), .75 (1).
  const json& points = (*report)["calibration"][0]["points"];
  ASSERT_EQ(points.size(), 3u);
  EXPECT_NEAR(points[0]["p"].get<double>(), 0.3, 1e-7);  // scores are 32-bit floats
  EXPECT_EQ(points[0]["rate"], 0.0);
  EXPECT_EQ(points[2]["p"], 0.75);
  EXPECT_EQ(points[2]["rows"], 1);
  EXPECT_EQ((*report)["over_time"]["begin_ms"], json({3600000}));
  EXPECT_EQ((*report)["over_time"]["rows"], json({3}));
  // Fewer than kTestClassRowsMin of each class.
  EXPECT_EQ((*report)["over_time"]["series"][0]["values"], json({nullptr}));
  ASSERT_EQ((*report)["training"].size(), 4u);
  EXPECT_EQ((*report)["training"][3]["loss"], json({{100.0, 0.7}}));
}

// ---- where GRAB looks

// `layers` numbers of mass.
json Bucket(double keys, size_t layers) {
  return {{"keys", keys}, {"uniform", 0.125}, {"mass", std::vector<double>(layers, 0.25)}};
}

// One channel: 40 distances, of which the second is not seen, and one action.
json Attention(size_t layers) {
  json position = json::array();
  for (int distance = 1; distance <= 40; ++distance) {
    json& bucket = position.emplace_back(Bucket(distance == 2 ? 0.0 : 2.0, layers));
    bucket["from"] = bucket["to"] = distance;
  }
  json last = Bucket(1.0, layers), click = Bucket(1.0, layers);
  last.update({{"from", 3600.0}, {"to", nullptr}});
  click["action"] = "click";
  return {{"rows_hash", "00ff"},
          {"seed", 1},
          {"targets", 4},
          {"sampled", 3},
          {"channels", json::array({{{"name", "all"},
                                     {"queries", 2},
                                     {"self", Bucket(1.0, layers)},
                                     {"position", position},
                                     {"time", json::array({last})},
                                     {"action", json::array({click})}}})}};
}

// 39 seen distances in runs of 2; the last one alone.
TEST_F(ReportTest, AttentionIsReducedToWhatIsShown) {
  Write(kAttentionFile, Attention(2).dump());
  const auto report = Read();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT((*report)["notes"].dump(), Not(HasSubstr("attention")));
  const json& attention = (*report)["attention"];
  EXPECT_EQ(attention["sampled"], 3);
  const json& channel = attention["channels"][0];
  ASSERT_EQ(channel["position"].size(), 20u);
  EXPECT_EQ(channel["position"][0]["from"], 1);
  EXPECT_EQ(channel["position"][0]["to"], 3);
  EXPECT_EQ(channel["position"][0]["mass"], json({0.5, 0.5}));
  EXPECT_EQ(channel["position"][19]["from"], 40);
  EXPECT_EQ(channel["time"][0]["to"], nullptr);
  EXPECT_EQ(channel["action"][0]["action"], "click");
}

TEST_F(ReportTest, AttentionOfManyLayersIsCut) {
  Write(kAttentionFile, Attention(kAttentionLayersShownMax + 1).dump());
  const auto report = Read();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT((*report)["notes"].dump(), HasSubstr("the first 4 channels and 6 layers"));
  EXPECT_EQ((*report)["attention"]["channels"][0]["self"]["mass"].size(), kAttentionLayersShownMax);
}

TEST_F(ReportTest, DamagedAttentionIsNamed) {
  json attention = Attention(2);
  attention["channels"][0]["time"][0]["mass"] = {0.5};
  Write(kAttentionFile, attention.dump());
  EXPECT_THAT(Error(), HasSubstr("attention.json: 'channels[0].time[0].mass': expected as many"));
  attention = Attention(2);
  attention["channels"][0].erase("self");
  Write(kAttentionFile, attention.dump());
  EXPECT_THAT(Error(), HasSubstr("attention.json: 'channels[0].self' is missing"));
  attention = Attention(2);
  attention["rows_hash"] = "11";
  Write(kAttentionFile, attention.dump());
  EXPECT_THAT(Error(), HasSubstr("'rows_hash': expected 00ff as in comparison.json, got 11"));
}

TEST_F(ReportTest, SaysWhatIsMissing) {
  for (const char* name : {"metrics.json", "test_scores.csv", "log.jsonl"}) {
    ASSERT_TRUE(RemoveAll(dir_.File(absl::StrCat("dlrm-seed2/", name))).ok());
  }
  const auto report = Read();
  ASSERT_TRUE(report.ok()) << report.status();
  const std::string notes = (*report)["notes"].dump();
  EXPECT_THAT(notes, AllOf(HasSubstr("dlrm-seed2/metrics.json is not there"),
                           HasSubstr("dlrm-seed2/test_scores.csv is not there"),
                           HasSubstr("dlrm-seed2/log.jsonl is not there"),
                           HasSubstr("config.toml is not there"), HasSubstr("shards is not there"),
                           HasSubstr("attention.json is not there")));
  EXPECT_FALSE(report->contains("data"));
  EXPECT_EQ((*report)["history"]["series"][0]["values"], json({0.5, nullptr}));  // of seed 1
}

TEST_F(ReportTest, WithoutRunsIsTheTableAlone) {
  for (const char* run : {"dlrm-seed1", "dlrm-seed2", "grab-seed1", "grab-seed2"}) {
    ASSERT_TRUE(RemoveAll(dir_.File(run)).ok());
  }
  const auto report = Read();
  ASSERT_TRUE(report.ok()) << report.status();
  for (const char* section :
       {"history", "pcoc", "calibration", "over_time", "attention", "training", "data"}) {
    EXPECT_FALSE(report->contains(section)) << section;
  }
  EXPECT_EQ((*report)["notes"].size(), 4u * 3u + 3u);
}

TEST_F(ReportTest, ScalingIsThereWithItsFile) {
  EXPECT_FALSE(Read().value().contains("scale"));
  const json point = {
      {"value", 8}, {"auc_mean", 0.75}, {"auc_sd", nullptr}, {"seeds", {4}}, {"wall_seconds", 2.0}};
  json scale = {{"along", "history"},
                {"series", {{{"model", "grab"}, {"points", json::array({point})}}}}};
  Write("scale.json", scale.dump());
  const json expected = {
      {"along", "history"},
      {"series",
       {{{"model", "grab"},
         {"points",
          json::array({{{"value", 8.0}, {"auc", 0.75}, {"sd", nullptr}, {"seeds", 1}}})}}}}};
  EXPECT_EQ(Read().value()["scale"], expected);
  scale["series"][0]["points"][0].erase("auc_mean");
  Write("scale.json", scale.dump());
  EXPECT_THAT(Error(), HasSubstr("scale.json: 'series[0].points[0].auc_mean' is missing"));
}

// A config of another version costs the names of its fields only.
TEST_F(ReportTest, ConfigThatCannotBeReadIsANote) {
  Write("config.toml", "colour = 1\n");
  const auto report = Read();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT((*report)["notes"].dump(), HasSubstr("config.toml:1:1: colour"));
}

TEST_F(ReportTest, NamesTheFileAndWhatIsWrongInIt) {
  EXPECT_TRUE(absl::IsNotFound(ReadReport(dir_.File("none"), NoProgress()).status()));
  json others = Slices(0.5, 1.0);
  others[0]["slices"][0]["rows"] = 4;
  Write("grab-seed2/metrics.json", json({{"test", {{"fields", others}}}}).dump());
  EXPECT_THAT(Error(), AllOf(HasSubstr("grab-seed2/metrics.json"), HasSubstr("of the other runs")));
  Write("grab-seed2/metrics.json", "{");
  EXPECT_THAT(Error(), HasSubstr("grab-seed2/metrics.json: expected a JSON object"));
  WriteRun("grab-seed2", 2);
  Write("grab-seed2/test_scores.csv",
        "event_id,user_key,page_id,request_time_ms,history_len,split,label:click,p:click\n"
        "1,1,0,3600000,0,test,0,0.5\n");
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("grab-seed2/test_scores.csv"), HasSubstr("of the other runs")));
  Write("grab-seed2/test_scores.csv",
        "event_id,user_key,page_id,request_time_ms,history_len,split,label:click,p:click\n"
        "17,1,0,99999999,0,test,0,0.5\n");
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("grab-seed2/test_scores.csv: event 17"), HasSubstr("99999999")));
  comparison_["models"][1].erase("dense_weights");
  Write("comparison.json", comparison_.dump());
  EXPECT_THAT(Error(), HasSubstr("comparison.json: 'models[1].dense_weights' is missing"));
}

// ---- the page

TEST(RenderReportPage, NoTextBecomesMarkup) {
  const std::string hostile = "</script><img src=x onerror=f()><!--<script>@PAGE_JS@ @DATA@ \xff";
  const std::string page = RenderReportPage({{"model", hostile}, {hostile, 1}});
  const std::string empty = RenderReportPage(json::object());
  // The page has as many tags and comments as without it.
  EXPECT_EQ(std::count(page.begin(), page.end(), '<'), std::count(empty.begin(), empty.end(), '<'));
  EXPECT_THAT(page, AllOf(HasSubstr("\\u003c/script>\\u003cimg"),
                          HasSubstr("@PAGE_JS@ @DATA@ \xEF\xBF\xBD"), Not(HasSubstr("<img"))));
}

TEST(RenderReportPage, NeedsNothingElse) {
  const std::string page = RenderReportPage(json::object());
  EXPECT_THAT(page, AllOf(HasSubstr("Chart.js"), HasSubstr("Permission is hereby granted"),
                          HasSubstr("default-src 'none'"), Not(HasSubstr(" src=")),
                          Not(HasSubstr("<link")), Not(HasSubstr("@CSS@"))));
}

}  // namespace
}  // namespace grab
